"""Write `.env` from `.env.example`, filling in what must not be the same on two machines."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from dataplatform_cli.errors import PlatformError


def _token() -> str:
    return secrets.token_urlsafe(32)


def _long_token() -> str:
    return secrets.token_urlsafe(64)


def _password() -> str:
    return secrets.token_urlsafe(18)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


MACHINE_SECRETS: dict[str, Callable[[], str]] = {
    "METADATA_API_KEY": _token,
    "AIRFLOW_FERNET_KEY": _fernet_key,
    "AIRFLOW_JWT_SECRET": _long_token,  # signs with SHA-512, which wants 64 bytes
    "SUPERSET_SECRET_KEY": _token,
}
"""Generated always: nobody types them."""


PRODUCTION_VALUES: dict[str, Callable[[], str]] = {
    "MINIO_PLATFORM_USER": lambda: "platform",
    "MINIO_PLATFORM_PASSWORD": _password,
}
"""Blank in development, where the pipelines use the root pair: not every stand-in for MinIO has accounts."""


def write_env(root: Path, production: bool) -> Path:
    """Write `.env` (mode 0600) unless it is there.

    Args:
        root: The repository.
        production: Generate the passwords too. Otherwise they are the development defaults of `.env.example`.

    Raises:
        PlatformError: there is a `.env` already; it is never overwritten, since the data are made with its passwords.
    """
    path = root / ".env"
    if path.exists():
        raise PlatformError(f"{path} is there already", "edit it, or move it away and run setup again")
    _write(path, [_filled_in(line, production) for line in (root / ".env.example").read_text().splitlines()])
    return path


def complete_env(root: Path) -> list[str]:
    """Fill in the machine secrets that an existing `.env` leaves blank, and return their names. The rest stays."""
    path = root / ".env"
    lines = path.read_text().splitlines()
    blank = [name for name in MACHINE_SECRETS if f"{name}=" in lines]
    if blank:
        _write(path, [_filled_in(line, False) if line[:-1] in blank else line for line in lines])
    return blank


def replace_values(root: Path, values: Mapping[str, str]) -> None:
    """Set variables in `.env`; those that it does not name are added. The one before it is kept as `.env.before`."""
    path = root / ".env"
    lines = path.read_text().splitlines() if path.exists() else []
    missing = dict(values)
    for number, line in enumerate(lines):
        name = line.partition("=")[0]
        if name in missing:
            lines[number] = f"{name}={missing.pop(name)}"
    if path.exists():
        path.replace(path.with_name(".env.before"))
    _write(path, [*lines, *(f"{name}={value}" for name, value in missing.items())])


def _write(path: Path, lines: list[str]) -> None:
    half = path.with_name(".env.new")
    half.touch(mode=0o600)
    half.write_text("\n".join(lines) + "\n")
    half.rename(path)


def unset_variables(root: Path) -> list[str]:
    """Return the variables of `.env.example` that `.env` does not name, as one written by an older version does not."""
    named = [
        {line.partition("=")[0] for line in (root / file).read_text().splitlines() if "=" in line and line[0] != "#"}
        for file in (".env", ".env.example")
    ]
    return sorted(named[1] - named[0])


def _filled_in(line: str, production: bool) -> str:
    name, is_setting, value = line.partition("=")
    if not is_setting or line.startswith("#"):
        return line
    if production and name in PRODUCTION_VALUES:
        return f"{name}={PRODUCTION_VALUES[name]()}"
    if name in MACHINE_SECRETS:
        return f"{name}={MACHINE_SECRETS[name]()}"
    if production and name.endswith("_PASSWORD") and value:  # one without a default is somebody else's
        return f"{name}={_password()}"
    return line
