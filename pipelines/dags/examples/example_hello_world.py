"""The smallest DAG that does something: two tasks, a parameter, one order. Start it by hand.

What to learn here:

- a DAG is a function under `@dag`, called once at the end of the file; its name is the DAG's id
- `schedule=None` says that it is started by hand only
- `params` are asked for by Airflow's form, and given with `dp dag run FILE --conf '{"name": "you"}'`
- owner and tags are what people find it by; retries and alerts need no word, they come by themselves
"""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param, dag, task


@dag(
    schedule=None,
    tags=["example"],
    default_args={"owner": "data-platform"},
    params={"name": Param("world", type="string", minLength=1, description="Whom to greet.")},
    doc_md=__doc__,
)
def example_hello_world() -> None:
    @task
    def greet(params: dict[str, str]) -> str:
        """What a task returns is kept, and shown in Airflow under XCom."""
        return f"Hello, {params['name']}!"

    # A classic operator takes the same value by a template, and runs after `greet` because of the arrow.
    # The value is handed over as a variable: put into the command itself, a quote in it would end the command.
    shout = BashOperator(
        task_id="shout",
        bash_command='echo "$GREETING" | tr "[:lower:]" "[:upper:]"',
        env={"GREETING": "{{ ti.xcom_pull(task_ids='greet') }}"},
        append_env=True,
    )
    greet() >> shout


example_hello_world()
