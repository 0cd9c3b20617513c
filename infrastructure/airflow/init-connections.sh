#!/usr/bin/env bash
# Bring Airflow's database to what this checkout says: its tables, the connections and pools of
# pipelines/config/connections.yaml, and the administrator's log-in. Safe to repeat. Runs inside Airflow's environment;
# the local stack calls the same program.
set -euo pipefail
exec python "$(dirname "$0")/initialise.py"
