"""The sample taken from bucket to dashboard: by `dp demo`, which starts the stack, and by `dp test-pipeline`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dataplatform_cli.demo import facts, follow, sample
from dataplatform_cli.display import err, start_display
from dataplatform_cli.doctor import machine, print_findings, stop_if_hopeless
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import lifecycle
from dataplatform_cli.stack.kinds import Stack, find
from dataplatform_cli.stack.local import LocalStack
from dataplatform_cli.stack.supervisor import Supervisor

if TYPE_CHECKING:
    from pipelines.ingestion.generator import Manifest


def run_demo(settings: StackSettings) -> dict[str, Any]:
    """Run the demo and return its facts; `ok` says whether all of it came out as the sample's manifest says.

    Where the Compose stack is up, it is the one that takes the sample; else the local stack is started.

    Raises:
        PlatformError: something kept it from coming to an end.
        KeyboardInterrupt: passed on after a stack that this call started has been stopped.
    """
    began = time.monotonic()
    found = find(settings)
    if found and found.kind != LocalStack.kind:
        return run_pipeline(settings, found)
    err.print("[bold]The machine[/]")
    findings = machine.examine(settings)
    print_findings(findings, err)
    stop_if_hopeless(findings)

    err.print("\n[bold]The services[/]")
    was_running = Supervisor(settings).is_running()
    with start_display() as watch:
        services = lifecycle.up(settings, (), watch)
    try:
        told = run_pipeline(settings, LocalStack(settings))
    except KeyboardInterrupt:
        if not was_running:
            with lifecycle.deaf_to_interrupts():
                err.print("[yellow]stopping what this demo started …[/]")
                lifecycle.down(settings)
        raise
    return {
        **told,
        "services": [{"name": item.service.name, "seconds": round(item.seconds or 0, 1)} for item in services],
        "seconds": round(time.monotonic() - began, 1),
    }


def run_pipeline(settings: StackSettings, stack: Stack) -> dict[str, Any]:
    """Give the sample to a stack that is up, follow it to the checks, and return the facts.

    Raises:
        PlatformError: something kept it from coming to an end.
    """
    began = time.monotonic()
    err.print("\n[bold]The files[/]")
    manifest = put_sample(settings)
    follow.until_published(settings, manifest)
    found = facts.gather(settings, manifest)
    return {**found, "stack": stack.kind, "services": [], "seconds": round(time.monotonic() - began, 1)}


def put_sample(settings: StackSettings) -> Manifest:
    """Put the sample's files into the bucket, as far as the platform has not had them, and return its manifest."""
    manifest = sample.ensure(settings)
    uploaded = sample.upload(settings, manifest)
    datasets = ", ".join(manifest.tables)
    err.print(f"  {len(uploaded)} of {len(manifest.files)} sample files put into the bucket raw: {datasets}")
    return manifest
