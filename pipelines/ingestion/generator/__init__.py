"""Synthetic datasets with dirt in known amounts, and what ingestion must make of every file.

`write_sample` writes the files and returns the manifest; `python -m pipelines.ingestion.generator --out DIR` does it
from the command line. Everything depends on (days, seed, end) alone.
"""

from __future__ import annotations

from pipelines.ingestion.generator.manifest import ExpectedFile, Manifest
from pipelines.ingestion.generator.sample import DATASETS, write_sample

__all__ = ["DATASETS", "ExpectedFile", "Manifest", "write_sample"]
