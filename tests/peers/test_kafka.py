"""The hub's streaming tests and the SDK's, on a real Kafka instead of librdkafka's brokers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataplatform_cli.bench.kafka import Broker


@pytest.mark.integration
@pytest.mark.parametrize("tests", ["metadata/tests/streaming", "sdk/tests/test_transports.py"])
def test_it_works_with_a_real_kafka(kafka: Broker, repository: Path, tests: str) -> None:
    environment = os.environ | {"DP_TEST_KAFKA": kafka.address}
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", str(repository / tests)]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
