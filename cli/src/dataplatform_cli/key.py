"""`dp key`: keys of the metadata service, each with a role and perhaps bound to namespaces."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from dataplatform_cli.command import Json, reported
from dataplatform_cli.display import err, out
from dataplatform_cli.metadata_api import ask

app = typer.Typer(help="Keys of the metadata service: who may read, write or administrate.", no_args_is_help=True)


@app.command()
@reported
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; it stands in the trail of writes.")],
    role: Annotated[Literal["reader", "writer", "admin"], typer.Option(help="What it may do.")] = "writer",
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="It writes and reads there only; may be given again. `team.*` means a beginning."),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="After so many days it is no longer valid.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    expires = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None
    body = {"name": name, "role": role, "namespaces": namespace or None, "expires_at": expires}
    made = ask("POST", "/keys", json=body)
    if as_json:
        sys.stdout.write(json.dumps(made) + "\n")
        return
    bound = f", bound to {', '.join(made['namespaces'])}" if made["namespaces"] else ""
    err.print(f"made the {made['role']}'s key {made['name']}{bound}. It is shown only now:")
    sys.stdout.write(made["key"] + "\n")


@app.command("list")
@reported
def list_keys(as_json: Json = False) -> None:
    """Show all keys, those in force first."""
    keys: list[dict[str, Any]] = []
    while True:
        page = ask("GET", "/keys", params={"limit": 500, "offset": len(keys)})
        keys += page["items"]
        if not page["items"] or len(keys) >= page["total"]:
            break
    if as_json:
        sys.stdout.write(json.dumps(keys) + "\n")
        return
    if not keys:
        out.print("there are no keys but METADATA_API_KEY of .env; `dp key create NAME` makes one")
        return
    table = Table(box=None)
    for title in ("name", "role", "namespaces", "begins", "made", "last used", "state"):
        table.add_column(title)
    for key in keys:
        bound = ", ".join(key["namespaces"]) if key["namespaces"] else "all"
        times = [(key[name] or "never")[:16].replace("T", " ") for name in ("created_at", "last_used_at")]
        table.add_row(key["name"], key["role"], bound, key["hint"] + "…", *times, _state(key))
    out.print(table)


@app.command()
@reported
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Make a key invalid, within seconds."""
    ask("DELETE", f"/keys/{name}")
    out.print(f"revoked {name}")


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return "[dim]revoked[/]"
    expires = key["expires_at"]
    if expires is None:
        return "valid"
    over = datetime.fromisoformat(expires) <= datetime.now(UTC)
    return f"[dim]expired {expires[:10]}[/]" if over else f"valid until {expires[:10]}"
