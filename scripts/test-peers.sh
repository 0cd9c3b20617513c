#!/usr/bin/env bash
# Run the object store's contract and the ingestion core's tests against the real MinIO instead of rclone.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v minio >/dev/null; then
  if ! scripts/install-peers.sh; then
    echo "SKIPPED: there is no MinIO here, and none could be built (see above)" >&2
    exit 0
  fi
  export PATH=$PWD/.peers/bin:$PATH
fi
echo "against $(minio --version | head -1)" >&2
tests=pipelines/tests
DP_TEST_S3=minio exec .venv/bin/python -m pytest "$tests/ingestion/test_store.py" "$tests/ingestion/test_arrivals.py" \
  "$tests/ingestion/test_core.py" "$tests/ingestion/test_write_modes.py" "$tests/ingestion/test_crashes.py" \
  "$tests/test_triggers.py" "$@"
