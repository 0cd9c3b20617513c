"""From a place in a contract, such as `schema[0].properties[3].name`, to the line of its file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


class Lines:
    """Where in a file the place `schema[0].properties[3].name` stands; the nearest place above it that exists."""

    def __init__(self, path: Path) -> None:
        import yaml

        self._root: Any = None
        try:
            self._root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return

    def of(self, where: str) -> int:
        """Return the line, counted from 1; 0 for the file as a whole."""
        told = re.match(r"line (\d+)", where)
        if told or not where or self._root is None:
            return int(told[1]) if told else 0
        node, line = self._root, 0
        for step in re.findall(r"[^.\[\]]+", where):
            found = self._step(node, step)
            if found is None:
                break
            line, node = found
        return line

    @staticmethod
    def _step(node: Any, step: str) -> tuple[int, Any] | None:
        if isinstance(node.value, str):
            return None
        for index, child in enumerate(node.value):
            if isinstance(child, tuple):
                if child[0].value == step:
                    return child[0].start_mark.line + 1, child[1]
            elif step == str(index):
                return child.start_mark.line + 1, child
        return None
