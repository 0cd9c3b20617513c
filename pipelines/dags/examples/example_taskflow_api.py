"""Python functions as tasks: one task for each item of a list, a branch, and a group. Start it by hand.

What to learn here:

- calling one task's function with what another returned sets their order
- `expand` makes a task for each item of a list that is only known when the DAG runs
- a branch skips the ways that are not taken; what joins them again says so with `trigger_rule`
- large libraries are imported inside the task that uses them: the file itself is read every half minute
"""

import datetime as dt

from airflow.sdk import Param, dag, task, task_group


@dag(
    schedule=None,
    tags=["example"],
    default_args={"owner": "data-platform"},
    params={
        "days": Param(3, type="integer", minimum=1, maximum=31, description="How many days."),
        "limit": Param(100.0, type="number", description="Above this total, it is a good week."),
    },
    doc_md=__doc__,
)
def example_taskflow_api() -> None:
    @task
    def days(params: dict[str, int]) -> list[str]:
        """Return the days to work on."""
        first = dt.date(2026, 1, 1)
        return [(first + dt.timedelta(days=number)).isoformat() for number in range(params["days"])]

    @task_group
    def one_day(day: str) -> dict[str, object]:
        """The tasks inside run once for each day."""

        @task
        def fetch(day: str) -> list[float]:
            """Stands for a call to another system: that is what retries with back-off are for."""
            return [float(dt.date.fromisoformat(day).toordinal() % 97), 10.0]

        @task
        def add_up(day: str, amounts: list[float]) -> dict[str, object]:
            return {"day": day, "total": sum(amounts)}

        result: dict[str, object] = add_up(day, fetch(day))
        return result

    @task
    def total(results: list[dict[str, float]]) -> float:
        """Take what all of the days' tasks returned, as one list."""
        return sum(result["total"] for result in results)

    @task.branch
    def judge(amount: float, params: dict[str, float]) -> str:
        """Return the id of the task to go on with."""
        return "celebrate" if amount > params["limit"] else "carry_on"

    @task
    def celebrate() -> str:
        return "a good week"

    @task
    def carry_on() -> str:
        return "a week like others"

    # One of the two was skipped: it is enough that none failed and one came through.
    @task(trigger_rule="none_failed_min_one_success")
    def report(amount: float, good: str | None = None, usual: str | None = None) -> str:
        return f"{amount:.2f}: {good or usual}"

    amount = total(one_day.expand(day=days()))
    good, usual = celebrate(), carry_on()
    judge(amount) >> [good, usual]
    report(amount, good, usual)


example_taskflow_api()
