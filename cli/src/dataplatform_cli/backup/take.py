"""Take a backup of the stack that is up, while it goes on working.

All databases are seen as they were at one moment. Buckets are read after it, so they hold at least what the ledger
knew then; a file that was loaded in between is packed as if it still lay in `incoming/`, where the restored platform
takes it in, or finds that it has it.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path

from dataplatform_cli.backup import buckets, databases, manifest
from dataplatform_cli.backup.manifest import Manifest, Tell
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.setup import MACHINE_SECRETS
from dataplatform_cli.stack import kinds, s3


def take(settings: StackSettings, folder: Path | None = None, tell: Tell = lambda _: None) -> tuple[Path, Manifest]:
    """Write a backup and return its folder and what it holds.

    Args:
        settings: The stack, which has to be up.
        folder: Where to; `backups/<time>` of the repository where left out.
        tell: Told of each part that is done.

    Raises:
        PlatformError: no stack is up, the folder is there already, or there is no room. What was written is removed.
    """
    stack = kinds.running(settings)
    now = dt.datetime.now(dt.UTC)
    target = folder or settings.root / "backups" / now.strftime("%Y-%m-%dT%H-%M-%SZ")
    if target.exists():
        raise PlatformError(f"{target} is there already", "name another folder, or none")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)  # it holds keys and personal data
    try:
        done = _write(settings, stack.kind, now, partial, tell)
        manifest.write(done, partial)
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise PlatformError(f"the backup can't be written: {error}", "name a folder with more room") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target, done


def _write(settings: StackSettings, kind: str, now: dt.datetime, folder: Path, tell: Tell) -> Manifest:
    client = s3.client(settings)
    before = {name: buckets.keys(client, name) for name in s3.BUCKETS}
    with databases.snapshots(settings) as snapshots:
        dumped = []
        for connection in snapshots.values():
            dumped.append(databases.dump(settings, connection, folder))
            tell(f"database {dumped[-1].name}: {sum(dumped[-1].rows.values()):,} rows")
        postgres = databases.server_major(snapshots["warehouse"])
    packed = []
    for name in s3.BUCKETS:
        packed.append(buckets.pack(client, name, folder, before[name]))
        tell(f"bucket {name}: {packed[-1].objects:,} objects, {packed[-1].object_bytes / 1e6:,.1f} MB")
    keys = {name: _secret(settings, name) for name in MACHINE_SECRETS}
    (folder / manifest.KEYS).write_text(json.dumps(keys, indent=2) + "\n")
    digest = manifest.digest(folder / manifest.KEYS)
    return Manifest(now.isoformat(timespec="seconds"), kind, postgres, digest, tuple(dumped), tuple(packed))


def _secret(settings: StackSettings, name: str) -> str:
    value: str = getattr(settings, name.lower()).get_secret_value()
    return value
