#!/usr/bin/env bash
# Run the tests that need a Docker engine: the platform on Compose, in a project and on ports of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! docker compose version >/dev/null 2>&1 || ! docker version >/dev/null 2>&1; then
  echo "SKIPPED: there is no Docker engine with the Compose plugin here" >&2
  exit 0
fi
DP_TEST_COMPOSE=1 exec .venv/bin/python -m pytest tests/compose "$@"
