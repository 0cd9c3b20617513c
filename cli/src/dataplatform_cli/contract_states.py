"""The contracts as they are, and as they were: in a folder, or at a revision of the repository."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from data_quality.contract import ContractSet, load_contracts
from data_quality.contract.loader import SUFFIX


@contextmanager
def earlier(against: str, folder: Path) -> Iterator[ContractSet]:
    """Give the contracts to compare with.

    Args:
        against: A folder of contracts, else a git revision: a tag, a branch, a commit.
        folder: The contracts as they are now; at the revision they are taken from the same place.

    Raises:
        typer.BadParameter: there is no such folder or revision, or the contracts are not in a git repository.
    """
    if Path(against).is_dir():
        yield load_contracts(against)
        return
    with tempfile.TemporaryDirectory(prefix="dp-contracts-") as scratch:
        _check_out(against, folder.resolve(), Path(scratch))
        yield load_contracts(scratch)


def _check_out(revision: str, folder: Path, target: Path) -> None:
    """Write the contracts of a folder as they are at a revision to another one, the tree of folders kept."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        raise typer.BadParameter(f"{folder} is in no git repository: give a folder as --against")
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise typer.BadParameter(f"there is no folder and no git revision {revision!r} (a shallow clone has few)")
    listed = _git(folder, "ls-tree", "-r", "-z", "--name-only", commit.strip(), "--", ".") or ""
    for name in filter(None, listed.split("\0")):
        if not name.endswith(SUFFIX):
            continue
        text = _git(folder, "show", f"{commit.strip()}:./{name}")
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or "", encoding="utf-8")


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, None where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],  # noqa: S607  git of the PATH, as everybody's
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
