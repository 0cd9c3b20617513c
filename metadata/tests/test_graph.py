"""The lineage graph in a browser: found, by columns, grown hop by hop, with the keyboard alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Page, sync_playwright

pytestmark = pytest.mark.integration
LENGTH = 6  # datasets in a row: t0 → t1 → … with a column each


@pytest.fixture
def browser_page() -> Iterator[Page]:
    """A page of a browser that reports its errors."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on PATH")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
        assert errors == []


def titles(page: Page) -> set[str]:
    return set(page.locator(".node.dataset:not(.missed) .title").all_text_contents())


def test_the_graph_is_searched_grown_and_shown_by_columns(
    api: TestClient, address: str, browser_page: Page, event: Callable[..., dict[str, Any]]
) -> None:
    page = browser_page
    events = []
    for number in range(LENGTH - 1):
        source = {"namespace": "db", "name": f"w.s.t{number}", "field": "a"}
        facet = {"columnLineage": {"fields": {"b" if number == 0 else "a": {"inputFields": [source]}}}}
        target = {"namespace": "db", "name": f"w.s.t{number + 1}", "facets": facet}
        events.append(event(run=f"r{number}", job=f"j{number}", inputs=[f"w.s.t{number}"], outputs=[target]))
    assert api.post("/api/v1/lineage/batch", json=events).json()["summary"]["failed"] == 0
    listed = api.get("/datasets", params={"namespace": "db", "name": "w.s.t0"}).json()

    page.goto(f"{address}/ui/datasets/{listed['items'][0]['id']}")
    page.locator(".graph[data-drawn]").wait_for()
    assert titles(page) == {f"s.t{number}" for number in range(4)}
    page.locator(".more").focus()
    page.keyboard.press("Enter")
    page.locator(".node.dataset").nth(4).wait_for()
    assert titles(page) == {f"s.t{number}" for number in range(5)}

    page.locator("[data-graph=find]").fill("T3")
    assert titles(page) == {"s.t3"}
    page.locator("[data-graph=find]").fill("")
    page.locator("[data-graph=columns]").check()
    assert sorted(page.locator(".row text").all_text_contents()) == ["a"] * 5 + ["b"]
    assert page.locator(".flow").count() == 4  # t1.b is made of t0.a and flows no further
    page.locator(".node", has_text="s.t4").locator(".row").hover()
    assert page.locator(".flow.lit").count() == 3

    before = page.locator(".graph svg > g").get_attribute("transform")
    page.locator(".graph svg").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".graph svg > g").get_attribute("transform") != before


def test_what_was_deleted_keeps_its_place_without_a_link(
    api: TestClient, address: str, browser_page: Page, event: Callable[..., dict[str, Any]]
) -> None:
    api.post("/api/v1/lineage", json=event(inputs=["w.s.t0"], outputs=["w.s.t1"]))
    ids = {item["name"]: item["id"] for item in api.get("/datasets").json()["items"]}
    api.delete(f"/datasets/{ids['w.s.t1']}")
    browser_page.goto(f"{address}/ui/datasets/{ids['w.s.t0']}")
    browser_page.locator(".graph[data-drawn]").wait_for()
    assert browser_page.locator(".node.deleted .title").all_text_contents() == ["s.t1"]
    assert browser_page.locator(".node.deleted a").count() == 0
    assert browser_page.locator(".node:not(.deleted) a").count() == 2
