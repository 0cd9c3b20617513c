"""Become a program of the local stack: `python -m dataplatform_cli.stack.launch FILE`.

FILE is JSON {"command": [...], "environment": {...}, "user": name or null, "folder": path}, readable by its owner
only. supervisord's own configuration can carry neither quotes in values nor secrets safely, so it starts this, and
this replaces itself by the program: the process keeps its id.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from pathlib import Path


def main() -> None:
    """Read the file named by the first argument and become its program."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    if spec["user"]:
        entry = pwd.getpwnam(spec["user"])
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    os.chdir(spec["folder"])
    os.execve(spec["command"][0], spec["command"], spec["environment"])  # noqa: S606


if __name__ == "__main__":
    main()
