"""`python -m pipelines.dag_checks ANSWER FILE…` imports DAG files and writes what that showed into ANSWER, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipelines.dag_checks.reading import read_files

answer, *files = sys.argv[1:]
Path(answer).write_text(json.dumps([item.to_dict() for item in read_files(map(Path, files))]))
