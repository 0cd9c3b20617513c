"""Run a service's initialisation script, unless nothing that it reads has changed since it last ended well."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.supervisor import clean_environment, tail


def stamp(settings: StackSettings, service: str) -> Path:
    """Return the file that says what a service was last initialised with; without it, it is initialised anew."""
    return settings.home / service / "initialised"


def run_unless_done(
    settings: StackSettings,
    service: str,
    title: str,
    python: Path,
    script: Path,
    environment: Mapping[str, str],
    inputs: Iterable[Path],
) -> None:
    """Run a script, and remember the digest of its inputs in `<home>/<service>/initialised`.

    Args:
        settings: The stack.
        service: Name of the service's folder and of the log.
        title: What the error calls it.
        python: Interpreter of the service's environment.
        script: The script, an input too.
        environment: Variables it reads, inputs too.
        inputs: Files it reads.

    Raises:
        PlatformError: the script failed; the message has the end of its log.
    """
    done_with = stamp(settings, service)
    done_with.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(json.dumps(dict(environment), sort_keys=True).encode())
    for path in sorted({script, *inputs}):
        digest.update(path.read_bytes())
    if done_with.exists() and done_with.read_text() == digest.hexdigest():
        return
    log = settings.home / "logs" / f"{service}-init.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(
            [str(python), str(script)],
            env=clean_environment(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=settings.root,
            check=False,
        )
    if done.returncode != 0:
        raise PlatformError(f"{title} could not be prepared:\n{tail(log, 12)}", f"the whole log: {log}")
    done_with.write_text(digest.hexdigest())
