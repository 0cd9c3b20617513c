#!/usr/bin/env bash
# Run tests against real servers that no package index has: the object store's contract and the ingestion core against
# MinIO instead of rclone, the hub against Kafka instead of librdkafka's brokers, exported marts read by Spark. What can't
# be had is announced.
set -euo pipefail
cd "$(dirname "$0")/.."
pytest() { .venv/bin/python -m pytest "$@"; }
status=0

if command -v minio >/dev/null || scripts/install-peers.sh; then
  export PATH=$PATH:$PWD/.peers/bin
  echo "against $(minio --version | head -1)" >&2
  core=pipelines/tests/ingestion
  export DP_TEST_S3=minio
  pytest "$core/test_store.py" "$core/test_arrivals.py" "$core/test_core.py" "$core/test_write_modes.py" \
    "$core/test_crashes.py" pipelines/tests/test_triggers.py "$@" || status=1
else
  echo "SKIPPED: there is no MinIO here, and none could be built (see above)" >&2
fi

if command -v java >/dev/null && command -v mvn >/dev/null; then
  DP_TEST_PEERS=1 pytest tests/peers "$@" || status=1
else
  echo "SKIPPED: there is no Kafka and no Spark here, as Java 17 and Maven are missing" >&2
fi
exit $status
