"""`dp verify`: run the commands of submission.yml against a running metadata service."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dataplatform_cli.errors import PlatformError

SECONDS = 60


@dataclass(frozen=True)
class Check:
    """A command, what it must print, and the names under which parts of that are kept."""

    name: str
    run: str
    answers: Any
    keep: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """A check that was run; `fault` says what was wrong with what it printed."""

    name: str
    fault: str | None


def load_checks(path: Path) -> list[Check]:
    """Read the checks.

    Raises:
        PlatformError: the file is not there or not of this shape.
    """
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))["checks"]
        return [Check(item["name"], item["run"], item["answers"], item.get("keep") or {}) for item in listed]
    except FileNotFoundError:
        raise PlatformError(f"there is no {path}") from None
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise PlatformError(
            f"{path.name} can't be read: {error}", "each of its `checks` has `name`, `run` and `answers`"
        ) from error


def run_check(check: Check, variables: dict[str, str]) -> Outcome:
    """Run a check; what it keeps is added to the variables."""
    try:
        done = subprocess.run(
            ["bash", "-c", check.run],  # noqa: S607
            env={**os.environ, **variables}, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome(check.name, f"did not end within {SECONDS} s")
    printed = done.stdout.strip()
    if done.returncode:
        return Outcome(check.name, f"ended with {done.returncode}: {(done.stderr or printed).strip()[:300]}")
    if isinstance(check.answers, str):
        fault = None if printed == check.answers else f"printed {printed[:300]!r} instead of {check.answers!r}"
        return Outcome(check.name, fault)
    try:
        answer = json.loads(printed)
    except ValueError:
        return Outcome(check.name, f"printed no JSON: {printed[:300]!r}")
    missing = lacking(answer, check.answers)
    if missing is None:
        variables |= {name: str(answer[key]) for name, key in check.keep.items()}
    return Outcome(check.name, missing)


def lacking(answer: Any, wanted: Any, place: str = "") -> str | None:
    """Return what of the wanted is not in an answer; None if all is. Of a list, each wanted item has to be in it."""
    if isinstance(wanted, dict):
        if not isinstance(answer, dict):
            return f"{place or 'the answer'} is {answer!r}, no object"
        for key, value in wanted.items():
            if key not in answer:
                return f"has no {f'{place}.{key}'.lstrip('.')}"
            if (fault := lacking(answer[key], value, f"{place}.{key}".lstrip("."))) is not None:
                return fault
        return None
    if isinstance(wanted, list):
        if not isinstance(answer, list):
            return f"{place or 'the answer'} is {answer!r}, no list"
        for value in wanted:
            if all(lacking(item, value) is not None for item in answer):
                return f"{place or 'the list'} has nothing like {value!r}"
        return None
    return None if answer == wanted else f"{place or 'the answer'} is {answer!r} instead of {wanted!r}"
