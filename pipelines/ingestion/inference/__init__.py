"""A contract inferred from sample files: `infer` reads them as ingestion does and explains every guess.

Files → `texts`, all columns text (sources) → a profile of each column's distinct values (profile) → type (types),
personal data (pii), rules (rules), key (keys) → YAML (document) → tried on the same files (verify).
"""

from __future__ import annotations

from pipelines.ingestion.inference.infer import infer
from pipelines.ingestion.inference.model import Inference, Inferred

__all__ = ["Inference", "Inferred", "infer"]
