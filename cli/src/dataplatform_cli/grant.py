"""`dp grant`: what namespaces of the metadata service allow others to see."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from dataplatform_cli.command import Json, reported
from dataplatform_cli.display import out
from dataplatform_cli.metadata_api import ask

app = typer.Typer(help="What teams let each other see in the metadata service.", no_args_is_help=True)


@app.command()
@reported
def create(
    namespace: Annotated[str, typer.Argument(help="What is shown; `team.*` means a beginning.")],
    to: Annotated[str, typer.Option(help="Whose keys see it: their namespace, a beginning, or `*` for everybody.")],
    discover: Annotated[
        bool, typer.Option("--discover", help="Only that things exist, and whom to ask; not all of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let others see what lies in a namespace."""
    body = {"namespace": namespace, "grantee": to, "permission": "discover" if discover else "read"}
    made = ask("POST", "/grants", json=body)
    if as_json:
        sys.stdout.write(json.dumps(made) + "\n")
        return
    who = "everybody" if made["grantee"] == "*" else made["grantee"]
    out.print(f"{who} may {made['permission']} {made['namespace']}; `dp grant revoke {made['id']}` ends it")


@app.command("list")
@reported
def list_grants(as_json: Json = False) -> None:
    """Show what is granted, by namespace."""
    grants: list[dict[str, Any]] = []
    while True:
        page = ask("GET", "/grants", params={"limit": 500, "offset": len(grants)})
        grants += page["items"]
        if not page["items"] or len(grants) >= page["total"]:
            break
    if as_json:
        sys.stdout.write(json.dumps(grants) + "\n")
        return
    if not grants:
        out.print("nothing is granted; `dp grant create NAMESPACE --to TEAM` does it")
        return
    table = Table(box=None)
    for title in ("namespace", "to", "may", "since", "by", "id"):
        table.add_column(title)
    for grant in grants:
        since = grant["created_at"][:16].replace("T", " ")
        table.add_row(
            grant["namespace"], grant["grantee"], grant["permission"], since, grant["created_by"], grant["id"]
        )
    out.print(table)


@app.command()
@reported
def revoke(grant: Annotated[UUID, typer.Argument(help="The grant's id, of `dp grant list`.")]) -> None:
    """Take a grant back, within seconds."""
    ask("DELETE", f"/grants/{grant}")
    out.print(f"revoked {grant}")
