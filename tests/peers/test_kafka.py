"""The hub's streaming tests, on a real Kafka instead of librdkafka's brokers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataplatform_cli.bench.kafka import Broker


@pytest.mark.integration
def test_streaming_works_with_a_real_kafka(kafka: Broker, repository: Path) -> None:
    tests = repository / "metadata" / "tests" / "test_streaming.py"
    environment = os.environ | {"DP_TEST_KAFKA": kafka.address}
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", str(tests)]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
