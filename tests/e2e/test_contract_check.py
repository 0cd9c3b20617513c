"""`dp contract check` on a platform that runs: readers come from the lineage of what ran."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def test_readers_of_a_column_come_from_the_lineage(platform: Any, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(platform.contracts, before)
    file = before / "sales" / "sales.odcs.yaml"
    file.write_text(file.read_text().replace("physicalType: numeric(14,2)", "physicalType: numeric(16,2)"))
    done = platform.dp("contract", "check", "--against", str(before), "--json")
    assert done.returncode == 1, done.stderr
    (sales,) = json.loads(done.stdout)["contracts"]
    assert [(change["kind"], change["column"]) for change in sales["changes"]] == [("type_narrowed", "total_amount")]
    below = sales["downstream"]
    assert below["source"] == "metadata service"
    named = {(item["kind"], item["name"]): item for item in below["items"]}
    assert named["dashboard", "sales"]["owner"] == "sales-analytics"
    assert named["table", "warehouse.curated.fct_sales"]["certain"]
