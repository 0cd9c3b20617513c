"""`dp new`: write a new file from a template."""

from __future__ import annotations

import json
import keyword
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from dataplatform_cli.command import Json, reported
from dataplatform_cli.display import out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import find_root

app = typer.Typer(help="Write something new from a template.", no_args_is_help=True)

TEMPLATES = {
    "taskflow": "Python functions that hand on what they return",
    "extract": "a table of the warehouse into the bucket, every day",
    "quality": "SQL checks on tables, with a severity each",
    "sensor": "wait for files in the bucket, then work on them",
}
LONGEST_NAME = 50


@app.callback()
def new() -> None:
    """Write something new from a template."""


@app.command()
@reported
def dag(
    name: Annotated[str, typer.Argument(help="Name of file and DAG: lower-case letters, digits, _.")],
    template: Annotated[str, typer.Option("--template", "-t", help=f"One of {', '.join(TEMPLATES)}.")] = "taskflow",
    domain: Annotated[str, typer.Option("--domain", "-d", help="Domain: the DAG's tag.")] = "",
    owner: Annotated[
        str, typer.Option("--owner", "-o", help="Team that gets the alerts; the domain's by default.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write a DAG and its test: pipelines/dags/NAME.py and pipelines/tests/dags/test_NAME.py."""
    if template not in TEMPLATES:
        known = "; ".join(f"{known}: {what}" for known, what in TEMPLATES.items())
        raise PlatformError(f"there is no template {template!r}", known)
    check_name(name)
    domain = domain or "data-platform"
    words = {"name": name, "title": name.replace("_", " ").strip().capitalize(), "domain": domain}
    words["owner"] = owner or (domain if domain == "data-platform" else f"{domain}-team")
    for option in ("domain", "owner"):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]*", words[option]):
            raise PlatformError(f"--{option} {words[option]!r} is no name", "letters, digits, spaces and . _ -")
    root = find_root()
    files = {
        root / "pipelines" / "dags" / f"{name}.py": f"{template}.py.txt",
        root / "pipelines" / "tests" / "dags" / f"test_{name}.py": f"test_{template}.py.txt",
    }
    for path in files:
        if path.exists():
            raise PlatformError(f"{path} is there already", "choose another name, or change that file")
    _check_unused(name, root)
    for path, source in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(filled_in((Path(__file__).parent / "templates" / source).read_text(), words))
    written = [str(path.relative_to(root)) for path in files]
    if as_json:
        sys.stdout.write(json.dumps({"dag_id": name, "written": written}) + "\n")
        return
    out.print(f"wrote {written[0]}\n      {written[1]}")
    out.print(
        f"\nnext: dp dag check {written[0]}\n      .venv/bin/python -m pytest {written[1]}\n"
        f"      dp dag run {written[0]}    (on the running stack; Airflow itself has the DAG within a minute)",
        style="dim",
        soft_wrap=True,
    )


def check_name(name: str) -> None:
    """Refuse a name that no Python file, DAG and bucket folder can have, and suggest one.

    Raises:
        PlatformError: with the suggestion.
    """
    problem = ""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        problem = "takes lower-case letters, digits and _, a letter first"
    elif len(name) > LONGEST_NAME:
        problem = f"takes {LONGEST_NAME} characters at most"
    elif name.startswith("dbt_"):
        problem = "may not begin with dbt_: Airflow takes such files for plug-ins of dbt"
    elif keyword.iskeyword(name) or name in ("dag", "task"):
        problem = "may not be a word of Python or of DAG files"
    if problem:
        raise PlatformError(f"a DAG's name {problem}: not {name!r}", f"for example {suggested(name)}")


def suggested(name: str) -> str:
    """Return a name near to the given one that can be used."""
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
    plain = re.sub(r"^(dbt_|[0-9_]+)", "", plain)[:LONGEST_NAME].strip("_")
    return f"{plain or 'my'}_dag" if not plain or keyword.iskeyword(plain) or plain in ("dag", "task") else plain


def filled_in(text: str, words: dict[str, str]) -> str:
    """Return a template with its words [[name]] replaced: braces are Python's and Airflow's."""
    for word, value in words.items():
        text = text.replace(f"[[{word}]]", value)
    return text


def _check_unused(name: str, root: Path) -> None:
    """Refuse the id of another DAG, as far as DAG files say theirs."""
    for path in sorted((root / "pipelines" / "dags").rglob("*.py")):
        if re.search(rf"""dag_id=["']{re.escape(name)}["']|^def {re.escape(name)}\(""", path.read_text(), re.MULTILINE):
            raise PlatformError(f"{path.relative_to(root)} has a DAG {name} already", "choose another name")
