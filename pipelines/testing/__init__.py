"""A small kit for tests of DAGs: read a file as Airflow does, check it, run it on real services, read back what it did.

    def test_it_keeps_the_rules(assert_good_dag):
        assert_good_dag(FILE)

    @pytest.mark.integration
    def test_it_runs(load_dag, run_dag):
        done = run_dag(load_dag(FILE), day="2026-01-01")
        assert done.state == "success", done.errors
        assert done.result("count") == 3

The fixtures are in `pipelines.testing.plugin`, which pytest finds by itself. Airflow is imported when one is used: it
reads its environment at its first import, so a test module imports it, and what imports it, inside its tests only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.testing.loading import load_dag, load_dags
    from pipelines.testing.running import Run, run

__all__ = ["Run", "load_dag", "load_dags", "run"]

_MODULES = {"Run": "running", "run": "running", "load_dag": "loading", "load_dags": "loading"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
