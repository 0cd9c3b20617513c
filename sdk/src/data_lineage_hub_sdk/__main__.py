"""`python -m data_lineage_hub_sdk`: say what waits for the hub; with `drain`, send it now.

Takes its settings from the environment, as pipelines do. Ends with 1 if something still waits.
"""

from __future__ import annotations

import argparse
import sys

from data_lineage_hub_sdk.settings import get_settings
from data_lineage_hub_sdk.spool import Spool, send_waiting
from data_lineage_hub_sdk.transports import make_transport


def main() -> int:
    """Do what the arguments say and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m data_lineage_hub_sdk", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("status", "drain"), default="status")
    what = parser.parse_args().what
    settings = get_settings()
    spool = Spool(settings.spool_folder, settings.spool_max_bytes)
    if what == "drain" and settings.chosen_transport != "noop":
        result = send_waiting(spool, make_transport(settings))
        reason = f": {result.last.reason}" if result.last is not None and result.last.kind == "retry" else ""
        sys.stdout.write(f"sent {result.sent}, refused {result.rejected}, left {result.left}{reason}\n")
    refused = len(list(spool.rejected.glob("*.json")))
    waiting = spool.pending()
    sys.stdout.write(
        f"{waiting} batches wait in {spool.folder}, {refused} refused items are kept in {spool.rejected}\n"
    )
    return 1 if waiting else 0


if __name__ == "__main__":
    sys.exit(main())
