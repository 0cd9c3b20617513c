"""Whether the Airflow component of this container is alive: `heartbeat.py SchedulerJob`. Exit code 0 if it is.

Alive is what has told the database so in the last half minute, and since the container was started. This asks the
database itself: `airflow jobs check` does so too, but spends ten seconds of a core on importing Airflow.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import psycopg2

QUERY = """
SELECT coalesce(max(latest_heartbeat) > greatest(now() - interval '30 s', to_timestamp(%s)), false)
FROM job WHERE job_type = %s AND hostname = %s AND state = 'running'
"""


def main() -> int:
    """Look up the heartbeat of the job whose type is the first argument."""
    container_started = Path("/proc/1").stat().st_mtime
    url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    with psycopg2.connect(url, connect_timeout=5) as connection, connection.cursor() as cursor:
        cursor.execute(QUERY, (container_started, sys.argv[1], socket.gethostname()))
        (alive,) = cursor.fetchone() or (False,)
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())
