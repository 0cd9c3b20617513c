"""Errors that the command line shows without a traceback."""

from __future__ import annotations


class PlatformError(Exception):
    """Something the user can mend: what is wrong, and the cure."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure
