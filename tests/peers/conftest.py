"""Real servers that come from elsewhere than the package index: `make test-peers` fetches them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataplatform_cli.bench.kafka import Broker


@pytest.fixture(scope="module")
def kafka(new_home: Callable[[], Path]) -> Iterator[Broker]:
    """A real Kafka that tests may kill."""
    if "DP_TEST_PEERS" not in os.environ:
        pytest.skip("`make test-peers` runs it")
    broker = Broker(new_home())
    broker.start()
    yield broker
    broker.kill()
