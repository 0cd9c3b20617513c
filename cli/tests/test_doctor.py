"""`dp doctor` on a machine without Docker, and which images it looks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataplatform_cli.doctor.containers import _named_images


@pytest.mark.integration
def test_without_docker_only_the_compose_stack_is_out_of_reach(stack: Any) -> None:
    done = stack.dp("doctor", "--json", PATH="/usr/bin:/bin")
    findings = {item["check"]: item for item in json.loads(done.stdout)["findings"]}
    assert findings["docker"]["level"] == "ok"
    assert "only `make start` needs it" in findings["docker"]["message"]
    assert {"memory", "disk", "versions", "state", "ports"} <= findings.keys()

    done = stack.dp("doctor", PATH="/usr/bin:/bin", STACK="compose")
    assert done.returncode == 1
    assert "Docker is not installed" in done.stdout
    assert "make demo" in done.stdout


def test_images_are_those_that_are_not_made_here() -> None:
    model = {
        "services": {
            "postgres": {"image": "postgres:17"},
            "postgres-init": {"image": "postgres:17"},
            "superset": {"image": "own:local", "build": {"args": {"SUPERSET_IMAGE": "base:1", "PIP_INDEX_URL": "x"}}},
            "superset-init": {"image": "own:local"},
        }
    }
    assert _named_images(model) == {"postgres:17": "POSTGRES_IMAGE", "base:1": "SUPERSET_IMAGE"}
