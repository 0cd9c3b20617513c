"""`python -m metadata_service`: wait for the database, migrate it, serve."""

from __future__ import annotations

import gc
import signal
import sys

import structlog
import uvicorn
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from metadata_service.app import create_app
from metadata_service.database import make_engine, migrate, wait_until_ready
from metadata_service.logs import configure_logging
from metadata_service.protocol import lean_protocol
from metadata_service.settings import load_settings, say_faults

log = structlog.get_logger("metadata_service")


def main() -> int:
    """Run the service until it is told to stop; return 2 for unusable settings, 1 without a database or rights."""
    try:
        settings = load_settings()
    except ValidationError as error:
        sys.stderr.write(say_faults("metadata_service", error))
        return 2
    configure_logging(settings.log_level)
    engine = make_engine(settings)
    try:
        wait_until_ready(engine, settings.database_wait_seconds)
        migrate(engine)
    except OperationalError as error:
        log.error("database_unavailable", reason=str(error.orig).strip())
        return 1
    except PermissionError as error:
        log.error("database_rights", reason=str(error))
        return 1
    app = create_app(settings, engine)
    # The projector's thread gives way to requests sooner than after Python's 5 ms; and what is loaded by now is not
    # looked through again whenever events have made some hundreds of objects.
    sys.setswitchinterval(0.001)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    # uvicorn shuts down in order and then raises the signal again: that, too, is a clean end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    log.info("serving", host=settings.host, port=settings.port)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=lean_protocol(app),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
