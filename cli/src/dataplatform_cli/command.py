"""What all commands share: how they report errors, read the settings, and print JSON."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, ParamSpec

import httpx
import psycopg
import pydantic
import typer

from dataplatform_cli.display import err, print_error
from dataplatform_cli.errors import PlatformError, told_by_postgres
from dataplatform_cli.settings import StackSettings, find_root, load_settings
from dataplatform_cli.setup import write_env

P = ParamSpec("P")

Json = Annotated[bool, typer.Option("--json", help="Print JSON alone on standard output.")]


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the errors that users can mend into a message and exit code 1, and Ctrl-C into 130."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            command(*args, **kwargs)
        except PlatformError as error:
            print_error(error)
            raise typer.Exit(1) from None
        except psycopg.OperationalError as error:
            print_error(told_by_postgres(error))
            raise typer.Exit(1) from None
        except httpx.HTTPError as error:
            reason = str(error).strip().splitlines()[-1]
            print_error(
                PlatformError(f"a service did not answer as it should: {reason}", "see `dp status` and `dp logs`")
            )
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            err.print("[yellow]interrupted[/]")
            raise typer.Exit(130) from None

    return run


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def settings_of_repository() -> StackSettings:
    """Read `.env`, making it with development values on first use.

    Raises:
        PlatformError: a value in it can't be used.
    """
    root = find_root()
    if not (root / ".env").exists():
        err.print(f"[dim]no .env yet: wrote {write_env(root, production=False)} with development passwords[/]")
    try:
        return load_settings()
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise PlatformError(f"a setting can't be used: {problems}", "mend it in .env or in the environment") from error
