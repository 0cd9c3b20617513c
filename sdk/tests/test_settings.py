"""Settings: what is wrong in them is told, and importing the package is light."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from data_lineage_hub_sdk import configure, flush, lineage_track
from data_lineage_hub_sdk.settings import from_environment


def test_wrong_variables_are_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    given = {
        "LINEAGE_HUB_URL": "localhost:8000",
        "LINEAGE_HUB_TIMEOUT": "soon",
        "LINEAGE_HUB_QUEUE_SIZE": "0",
        "LINEAGE_HUB_NAMESPACE": "team",
        "LINEAGE_HUB_TRANSPROT": "file",
        "OPENLINEAGE_PARENT_ID": "nonsense",
    }
    settings = from_environment(given)
    assert (settings.url, settings.timeout, settings.queue_size, settings.namespace) == ("", 5.0, 20_000, "team")
    for told in (
        "LINEAGE_HUB_URL is left out: 'localhost:8000' is no address",
        "LINEAGE_HUB_TIMEOUT is left out",
        "LINEAGE_HUB_QUEUE_SIZE is left out: queue_size must be a number from 1",
        "LINEAGE_HUB_TRANSPROT means nothing to the lineage SDK: do you mean LINEAGE_HUB_TRANSPORT?",
        "OPENLINEAGE_PARENT_ID is left out",
    ):
        assert told in caplog.text
    assert from_environment({"LINEAGE_HUB_TRANSPORT": "kafka"}).chosen_transport == "noop"
    assert from_environment({"LINEAGE_HUB_TRANSPORT": "pigeon"}).chosen_transport == "noop"
    assert "secret" not in repr(from_environment({"LINEAGE_HUB_API_KEY": "secret"}))


def test_configure_is_told_where_it_is_called(fresh: None, hub: Any) -> None:
    with pytest.raises(TypeError, match="do you mean 'namespace'"):
        configure(namspace="x")
    with pytest.raises(ValueError, match="there is no transport 'pigeon'"):
        configure(transport="pigeon")
    with pytest.raises(ValueError, match="needs `url`"):
        configure(transport="http")

    @lineage_track("job1")
    def load() -> None: ...

    configure(url=hub.url, transport="http", namespace="before")
    load()
    configure(namespace="after")
    load()
    assert flush(5)
    assert [body["namespace"] for body in hub.bodies] == ["before", "after"]


def test_importing_the_package_is_light() -> None:
    heavy = ("requests", "httpx", "openlineage", "opentelemetry", "attr", "pydantic", "asyncio", "confluent_kafka")
    for code in (
        "import data_lineage_hub_sdk",
        "from data_lineage_hub_sdk import lineage_track, lineage_run, configure, LineageHubClient",
    ):
        check = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
        found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
        assert found.strip() == "[]"
