"""The SDK's three example teams against the stack that is up: each with a key of its own, all in one graph."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from typing import Any

from dataplatform_cli.display import err
from dataplatform_cli.metadata_api import ask
from dataplatform_cli.settings import StackSettings

# In this order: each reads what those before it wrote.
TEAMS = ("orders", "risk", "media")
LAST = {"namespace": "team-media", "name": "audience"}
UPSTREAM = frozenset({"orders", "daily_revenue", "risk_eu"})
_PATIENCE = 60.0  # seconds until what was acknowledged is in the graph; through Kafka it takes a moment


def run_teams(settings: StackSettings) -> dict[str, Any]:
    """Run the examples and return what became of each, and whether the last team's data lead back to the first's.

    Raises:
        PlatformError: the metadata service does not answer.
    """
    err.print("\n[bold]The teams[/]")
    problems = []
    for team in TEAMS:
        told = _run(settings, team)
        err.print(f"  {'✔' if told.returncode == 0 else '✘'} team-{team}", highlight=False)
        if told.returncode != 0:
            problems.append(f"sdk/examples/team_{team}.py: {(told.stderr or told.stdout).strip()[-500:]}")
    found = _upstream() if not problems else set()
    if not problems and not found >= UPSTREAM:
        problems.append(f"the lineage of {LAST['name']} lacks {', '.join(sorted(UPSTREAM - found))}")
    return {"teams": [f"team-{team}" for team in TEAMS], "upstream": sorted(found), "problems": problems}


def _run(settings: StackSettings, team: str) -> subprocess.CompletedProcess[str]:
    """Run a team's example with a key that may write in the team's namespace and is revoked afterwards."""
    name = f"example-{team}-{uuid.uuid4().hex[:8]}"
    made = ask("POST", "/keys", json={"name": name, "role": "writer", "namespaces": [f"team-{team}"]})
    try:
        with tempfile.TemporaryDirectory(prefix="dp-teams-") as spool:
            environment = os.environ | {
                "LINEAGE_HUB_URL": settings.metadata_url,
                "LINEAGE_HUB_API_KEY": made["key"],
                "LINEAGE_HUB_SPOOL_DIR": spool,
            }
            script = settings.root / "sdk" / "examples" / f"team_{team}.py"
            return subprocess.run(
                [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False, timeout=120
            )
    finally:
        ask("DELETE", f"/keys/{name}")


def _upstream() -> set[str]:
    """Return the names of what the last team's data come from, once all of it is there or time is up."""
    found: set[str] = set()
    deadline = time.monotonic() + _PATIENCE
    while not found >= UPSTREAM and time.monotonic() < deadline:
        known = ask("GET", "/datasets", params={"namespace": LAST["namespace"], "q": LAST["name"]})["items"]
        for dataset in known:
            path = f"/datasets/{dataset['id']}/lineage"
            graph = ask("GET", path, params={"direction": "upstream", "depth": 20})
            found |= {node["name"] for node in graph["nodes"]}
        if not found >= UPSTREAM:
            time.sleep(0.5)
    return found
