"""The demo's closing words for people."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from dataplatform_cli.demo.facts import COUNTS
from dataplatform_cli.display import out

HEADINGS = ("read", "rejected", "dedup", "inserted", "updated", "unchanged")


def print_report(facts: dict[str, Any]) -> None:
    """Print each file's outcome, models, checks, lineage, addresses and what to try next."""
    out.print("\n[bold]What became of each file[/]")
    out.print(_file_table(facts["files"]))
    for item in facts["files"]:
        if item.get("error"):
            out.print(f"  [dim]{item['file']} failed at {item['stage']}: {item['error']}[/]", soft_wrap=True)

    models = ", ".join(model["name"] for model in facts["models"] if model["status"] == "success")
    checks = facts["checks"]
    out.print(f"\n[bold]Models built[/]   {models or 'none'}", soft_wrap=True)
    failed = checks["failed"] + checks["errors"]
    out.print(f"[bold]Checks[/]         {checks['passed']} passed, {failed} failed", end="")
    out.print(f" ({len(checks['warnings'])} of them warnings)" if checks["warnings"] else "")
    for warning in checks["warnings"]:
        out.print(f"  [yellow]![/] {warning['name']}: measured {warning['measured']}, expected {warning['expected']}")
    out.print(f"[bold]Lineage[/]        {' → '.join(facts['lineage'])}", soft_wrap=True)
    if "teams" in facts:
        out.print(f"[bold]Teams[/]          {', '.join(facts['teams']['teams'])}, in one graph")
    out.print(f"[bold]Revenue[/]        {facts['dashboard_revenue']:,.2f} euro on the dashboard")

    out.print("\n[bold]Look at it[/]")
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="fold")
    for address in facts["addresses"]:
        table.add_row(address["name"], address["url"], f"[dim]{address['login']}[/]")
    out.print(table)
    _print_next_steps()

    if facts["problems"]:
        out.print("\n[red]Not as it should be:[/]")
        for problem in facts["problems"]:
            out.print("  [red]✘[/] ", end="")
            out.print(problem, markup=False, soft_wrap=True)
    else:
        out.print(f"\n[green]✔ All as the sample says it should be, in {facts['seconds']:.0f} s.[/]")


def _file_table(files: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim")
    table.add_column("file", overflow="fold")
    table.add_column("outcome", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    totals = dict.fromkeys(COUNTS, 0)
    for item in files:
        colour = "green" if item["status"] == "succeeded" else "yellow"
        outcome = f"[{colour}]{item['status']}[/]"
        counts = {name: item.get(name) or 0 for name in COUNTS}
        totals = {name: totals[name] + counts[name] for name in COUNTS}
        table.add_row(item["file"], outcome, *(f"{value:,}" for value in counts.values()))
    table.add_section()
    table.add_row("[bold]all[/]", "", *(f"[bold]{value:,}[/]" for value in totals.values()))
    return table


def _print_next_steps() -> None:
    out.print("\n[bold]Next[/]")
    steps = (
        "look at a rejected row and its reason:  select * from audit.rejected_rows limit 5",
        "bring a dataset of your own:  a contract in data-quality/contracts/, then a file in raw/<dataset>/incoming/",
        "stop with `make stop`; the data stay, and the next start goes on where you were",
    )
    for number, step in enumerate(steps, start=1):
        out.print(f"  {number}. {step}", markup=False, soft_wrap=True)
