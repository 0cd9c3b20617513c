"""What `dp status` calls a service whose programs are in these states."""

from __future__ import annotations

import pytest

from dataplatform_cli.stack.model import Program, Service
from dataplatform_cli.stack.status import _service_status


@pytest.mark.parametrize(
    ("first", "second", "answers", "expected"),
    [
        ("RUNNING", "RUNNING", True, "running"),
        ("RUNNING", "RUNNING", False, "starting"),
        ("BACKOFF", "BACKOFF", False, "starting"),
        ("STOPPED", "STOPPED", False, "stopped"),
        ("RUNNING", "STOPPED", True, "degraded"),
        ("RUNNING", "FATAL", True, "failed"),
        ("FATAL", "FATAL", False, "failed"),
    ],
)
def test_a_service_is_as_its_programs_are(first: str, second: str, answers: bool, expected: str) -> None:
    programs = [Program("a", ["/bin/a"]), Program("b", ["/bin/b"])]
    service = Service("x", "X", programs, url="http://x", ports={}, is_ready=lambda: answers)
    states = {"a": {"statename": first, "pid": 0}, "b": {"statename": second, "pid": 0}}
    assert _service_status(service, states)["state"] == expected
