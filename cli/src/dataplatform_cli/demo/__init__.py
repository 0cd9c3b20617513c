"""`dp demo`: start the stack, give it sample files, follow them to the dashboard, and tell what happened."""

from __future__ import annotations

import time
from typing import Any

from dataplatform_cli.demo import facts, follow, sample
from dataplatform_cli.display import err, start_display
from dataplatform_cli.doctor import examine, print_findings, stop_if_hopeless
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import lifecycle
from dataplatform_cli.stack.supervisor import Supervisor


def run_demo(settings: StackSettings) -> dict[str, Any]:
    """Run the demo and return its facts; `ok` says whether all of it came out as the sample's manifest says.

    Raises:
        PlatformError: something kept it from coming to an end.
        KeyboardInterrupt: passed on after a stack that this call started has been stopped.
    """
    began = time.monotonic()
    err.print("[bold]The machine[/]")
    findings = examine(settings)
    print_findings(findings, err)
    stop_if_hopeless(findings)

    err.print("\n[bold]The services[/]")
    was_running = Supervisor(settings).is_running()
    with start_display() as watch:
        services = lifecycle.up(settings, (), watch)
    try:
        err.print("\n[bold]The files[/]")
        manifest = sample.ensure(settings)
        uploaded = sample.upload(settings, manifest)
        datasets = ", ".join(manifest.tables)
        err.print(f"  {len(uploaded)} of {len(manifest.files)} sample files put into the bucket raw: {datasets}")
        follow.until_checked(settings, manifest)
        found = facts.gather(settings, manifest)
    except KeyboardInterrupt:
        if not was_running:
            with lifecycle.deaf_to_interrupts():
                err.print("[yellow]stopping what this demo started …[/]")
                lifecycle.down(settings)
        raise
    return {
        **found,
        "services": [{"name": item.service.name, "seconds": round(item.seconds or 0, 1)} for item in services],
        "seconds": round(time.monotonic() - began, 1),
    }
