"""Datasets and names as templates over a call's arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from data_lineage_hub_sdk import lineage_track

Recorded = Callable[[], list[dict[str, Any]]]


def names(event: dict[str, Any], side: str) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in event[side]]


def test_names_are_templates_over_the_arguments(recorded: Recorded) -> None:
    class Table:
        def __init__(self, name: str) -> None:
            self.name = name

    @lineage_track(
        "load {table.name}",
        inputs=["s3://raw/{day:%Y-%m-%d}/{kind}/{parts[0]}/{files[0]}/{options[mode]}", "plain{{}}"],
        outputs=[{"name": "{table.name}_{extra}", "namespace": "{where}", "format": "{kind}"}],
    )
    def load(
        day: Any, table: Table, *files: str, kind: str = "csv", parts: Any = (), where: str = "db", **options: str
    ) -> None: ...

    from datetime import date

    load(date(2026, 1, 2), Table("orders"), "f1", parts=["p1"], mode="full", extra="new")
    start, _ = recorded()
    assert start["job"]["name"] == "load orders"
    assert names(start, "inputs") == [("s3://raw", "2026-01-02/csv/p1/f1/full"), ("team", "plain{}")]
    assert names(start, "outputs") == [("db", "orders_new")]
    assert start["outputs"][0]["facets"]["storage"]["fileFormat"] == "csv"


def test_a_template_that_fails_never_breaks_the_call(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    class Hostile:
        def __format__(self, _: str) -> str:
            raise RuntimeError("not me")

    @lineage_track("x {thing.name}", inputs=["s3://raw/{thing.name}", "s3://raw/fine"], outputs=["{other}"])
    def load(thing: object, other: object = "o") -> str:
        return "done"

    for _ in range(3):
        assert load(None, Hostile()) == "done"
    start = recorded()[0]
    assert start["job"]["name"].endswith("test_a_template_that_fails_never_breaks_the_call.load")
    assert names(start, "inputs") == [("s3://raw", "fine")]
    assert names(start, "outputs") == []
    assert caplog.text.count("is left out") == 2  # once for inputs, once for outputs


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"nmae": "x"}, "there is no 'nmae'; do you mean 'name'"),
        ({"name": "x", "colour": "red"}, "known are type, name, format, namespace"),
        ({"type": "table"}, "has no name"),
        ({"name": 7}, "'name' must be text"),
        (7, "not by 7"),
        ("s3://raw/{dya}", "has no argument 'dya'; do you mean {day}"),
        ("s3://raw/{day", "is no template"),
        ("s3://raw/{0}", "has no argument '0'"),
    ],
)
def test_what_is_written_wrongly_is_told_where_it_is_written(spec: Any, message: str) -> None:
    def load(day: str) -> None: ...

    with pytest.raises(ValueError, match=r"dataset|template|argument") as raised:
        lineage_track(inputs=[spec])(load)
    assert message in str(raised.value)
    with pytest.raises(ValueError, match="are lists"):
        lineage_track(outputs=spec if isinstance(spec, str) else {"name": "x"})(load)  # type: ignore[arg-type]
