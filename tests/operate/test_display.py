"""What a notebook and a program show: pages for values, progress while a run goes, and errors without our own lines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headrace.inspect.gates import Held, Rule
from headrace.inspect.warnings import Warned
from headrace.ledger.views.rows import RunView, TaskView
from headrace.operate.notebook.display import (
    plan_html,
    plan_text,
    report_html,
    run_html,
    run_text,
    runs_html,
    table_html,
)
from headrace.operate.notebook.launcher import RunTask
from headrace.spec.plan import Plan, PlannedTask
from headrace.spec.report import Report
from tests.notebooks import play

PIPELINE = """
import datetime as dt
import pyarrow as pa
import headrace as hr
from headrace.spec.report import Report

@hr.stage
def numbers(n: int) -> pa.Table:
    return pa.table({"n": list(range(n))})

@hr.stage
def judge(table: pa.Table) -> Report:
    return Report(title="Looked at", about=f"{table.num_rows} rows")

@hr.pipeline
def flow(n: int, day: dt.date = dt.date(2026, 1, 1)) -> None:
    judge(numbers(n))
"""


def html(outputs: list[dict[str, Any]]) -> list[str]:
    return [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]


def task(name: str, state: str = "succeeded", **other: Any) -> TaskView:
    known = {"stage": name, "kind": "train", "reason": "", "attempts": 1, "seconds": 1.0, "load_s": 0.0, "save_s": 0.0}
    return TaskView(name=name, state=state, **{**known, "usd": 0.0, "pool": "local", "outputs": (), **other})


def run(*tasks: TaskView, state: str = "succeeded") -> RunView:
    return RunView(
        run="3f2a", pipeline="flow", state=state, created=0.0, seconds=2.0, usd=0.0, params={}, why="", tasks=tasks
    )


def test_a_notebook_shows_progress_runs_plans_reports_and_tables(tmp_path: Path) -> None:
    _, ran, planned, report, table, listed, again, printed = play(
        tmp_path,
        PIPELINE,
        "run = flow.run(3)\nrun",
        "flow.plan(n=3)",
        "run['judge'].value()",
        "run['numbers'].value()",
        "hr.runs()",
        "run",
        "print(run); print(flow.plan(n=3)); print(hr.runs()); print(run['judge'].value())",
        is_forked=False,
    )
    [result] = html(ran)  # in the place of the progress, and not once more below
    assert "<progress" not in result
    assert "✓ succeeded" in result
    assert result in html(again)
    text = "".join(output["text"] for output in printed if output.get("name") == "stdout")
    for words in ("succeeded in", "plan of flow", "expected to take", "nothing that determines it", "Looked at\n"):
        assert words in text
    assert "PlannedTask(" not in text
    assert html(planned)[0].count("<table") == 1
    assert "↺ reuse" in html(planned)[0]
    assert "Looked at" in html(report)[0]
    assert "3 rows, 1 column" in html(table)[0]
    assert "flow" in html(listed)[0]


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        ("flow.run()", "pipeline `flow` needs `n`", "give it as `n=3`"),
        ("flow.run(n='many')", "`n` of pipeline `flow` is 'many', which can't be read as `int`", "give it as `n=3`"),
        ("flow.run(3, m=1)", "pipeline `flow` has no parameter `m`", "it has `n`, `day`"),
        ("flow.run(3, n=1)", "`n` of pipeline `flow` is given twice: by position and by name", "leave one"),
        ("flow.run(1, 2, 3)", "pipeline `flow` takes 2 parameters and was given 3", "it has `n`, `day`"),
        ("flow.run(3, day='soon')", "`day` of pipeline `flow` is 'soon'", 'give it as `day="2025-12-31"`'),
        ("flow.plan(n=object())", "`n` of pipeline `flow` is a `object`: parameters are plain values", "in a stage"),
    ],
)
def test_a_wrong_argument_is_told_without_a_line_of_ours(tmp_path: Path, call: str, message: str, hint: str) -> None:
    (tmp_path / "flow.py").write_text(f"{PIPELINE}\nif __name__ == '__main__':\n    {call}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "flow.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert hint in done.stderr
    ours = [line for line in done.stderr.splitlines() if "headrace/" in line and line.startswith("  File")]
    assert len(ours) <= 2  # `run`, and what it hands on to
    assert not (tmp_path / ".headrace").exists()  # nothing was begun


def test_an_error_in_a_notebook_shows_the_cell_and_the_hint_alone(tmp_path: Path) -> None:
    _, wrong, failed = play(
        tmp_path,
        PIPELINE
        + "\n@hr.stage\ndef bad() -> int:\n    return 1 // 0\n\n@hr.pipeline\ndef worse() -> None:\n    bad()\n",
        "flow.run(m=1)",
        "worse.run()",
    )
    *_, told = wrong
    assert "begins" not in str(wrong), "nothing has begun"
    shown = "\n".join(told["traceback"])
    assert "pipeline `flow` has no parameter `m`" in shown
    assert "hint: it has `n`, `day`" in shown
    assert "headrace/" not in shown
    shown = "\n".join(failed[-1]["traceback"])
    assert "RunFailed: run" in shown
    assert "headrace/" not in shown


def test_a_run_in_python_counts_its_tasks_as_the_command_does(tmp_path: Path) -> None:
    (tmp_path / "maps.py").write_text(
        "import headrace as hr\n\n@hr.stage\ndef square(n: int) -> int:\n    return n * n\n\n"
        "@hr.stage\ndef add(ns: list[int]) -> int:\n    return sum(ns)\n\n"
        "@hr.pipeline\ndef maps() -> None:\n    add(square.map([0, 1, 2]))\n\n"
        "if __name__ == '__main__':\n    print(maps.run())\n",
        encoding="utf-8",
    )
    printed = subprocess.run(
        [sys.executable, "maps.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ": 4 succeeded" in printed.stdout
    again = subprocess.run(
        [sys.executable, "-m", "headrace.cli.main", "run", "maps.py:maps"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ": 4 reused" in again.stdout + again.stderr


def test_a_run_in_python_has_what_the_command_says_under_the_same_names(tmp_path: Path) -> None:
    text = """
@hr.stage
def parted(n: int) -> tuple[pa.Table, int]:
    return pa.table({"a": [n], "b": [n]}), n

@hr.pipeline
def parts(n: int = 3) -> None:
    parted(n)

def told(call):
    try:
        return call()
    except Exception as error:
        return f"{error} {getattr(error, 'hint', None)}"

if __name__ == "__main__":
    run = parts.run(n=3)
    task = run["parted"]
    print(json.dumps({
        "run": {name: getattr(run, name) for name in dir(run) if name in sys.argv},
        "task": {name: getattr(task, name) for name in dir(task) if name in sys.argv},
        "part": run["parted.0"].value(columns=["b"]).column_names,
        "no part": told(lambda: run["parted.2"]),
        "no task": told(lambda: run["partde.0"]),
        "no columns": told(lambda: task.value(columns=["b"])),
        "no attribute": told(lambda: task.stat),
        "table": list(pd.DataFrame([{"run": each.id, **each.params} for each in hr.runs()]).columns),
    }, default=list))
"""
    (tmp_path / "flow.py").write_text(f"import json, sys\nimport pandas as pd\n{PIPELINE}\n{text}", encoding="utf-8")
    (tmp_path / "headrace.toml").write_text('[project]\npipelines = ["flow.py"]\n', encoding="utf-8")
    heads = ("pipeline", "params", "created", "state", "seconds", "usd", "why")
    fields = [name for name in TaskView.__struct_fields__ if name != "outputs"]
    assert set(TaskView.__struct_fields__) <= set(re.findall(r"`(\w+)`", RunTask.__doc__ or ""))
    ran, shown = (
        subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        for words in (
            [sys.executable, "flow.py", *heads, *fields],
            [sys.executable, "-m", "headrace.cli.main", "show", "latest", "--json"],
        )
    )
    assert ran.returncode == 0, ran.stderr
    told, known = json.loads(ran.stdout), json.loads(shown.stdout)
    assert told["run"] == {name: known[name] for name in heads}
    assert told["task"] == {name: known["tasks"][0][name] for name in fields}
    assert told["part"] == ["b"]
    assert told["no part"] == "the output of `parted` has no part `2` it has 0, 1"
    assert "did you mean `parted`?" in told["no task"]
    assert told["no columns"].endswith("or a part of it that is a table: `0`")
    assert told["no attribute"].startswith("'RunTask' object has no attribute 'stat'")
    assert told["table"] == ["run", "n"]


def test_a_program_on_a_terminal_shows_progress_and_elsewhere_nothing(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(f"{PIPELINE}\nif __name__ == '__main__':\n    flow.run(3)\n", encoding="utf-8")
    script = "import pty, sys; sys.exit(pty.spawn([sys.executable, 'flow.py']) >> 8)"
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "numbers" in shown.stdout
    plain = subprocess.run(
        [sys.executable, "flow.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (plain.stdout, plain.stderr) == ("", "")


def test_a_run_in_python_and_in_a_notebook_says_the_warnings_and_gates_that_show_says(tmp_path: Path) -> None:
    warned = """
@hr.stage
def odd(table: pa.Table) -> bool:
    hr.log("warning", "a row of `table` is <odd>")
    return False

@hr.stage
def publish(table: pa.Table) -> int:
    return table.num_rows

@hr.pipeline
def doubtful(n: int = 3) -> None:
    table = numbers(n)
    publish(table, when=odd(table))

if __name__ == "__main__":
    run = doubtful.run()
    known = hr.runs()[0]
    (warning,), (gate,) = run.warnings, run.gates
    shown = {"texts": [str(run), str(known)], "pages": [run._repr_html_(), known._repr_html_()]}
    print(json.dumps({**shown, "warning": [warning.task, warning.text], "gate": [gate.gate, gate.tasks]}))
"""
    (tmp_path / "flow.py").write_text(f"import json\n{PIPELINE}\n{warned}", encoding="utf-8")
    (tmp_path / "headrace.toml").write_text('[project]\npipelines = ["flow.py"]\n', encoding="utf-8")
    ran, shown = (
        subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        for words in ([sys.executable, "flow.py"], [sys.executable, "-m", "headrace.cli.main", "show", "latest"])
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["warning"] == ["odd", "a row of `table` is <odd>"]
    assert told["gate"] == ["odd", ["publish"]]
    for words in ("`odd` warns: a row of `table` is <odd>", "`odd` says no: `publish` skipped"):
        assert words in shown.stdout
        assert all(words in text for text in told["texts"])
    for page in told["pages"]:
        assert "<code>odd</code> warns: a row of <code>table</code> is &lt;odd&gt;" in page
        assert "<code>odd</code> says no: <code>publish</code> skipped" in page


def test_of_many_warnings_the_first_are_shown_and_the_rest_counted() -> None:
    warnings = [Warned(task="fit", text=f"row {n} is odd") for n in range(203)]
    for shown in (run_html(run(task("fit")), warnings), run_text(run(task("fit")), warnings)):
        assert "row 199 is odd" in shown
        assert "row 200 is odd" not in shown
        assert "3 more warnings: headrace show 3f2a" in shown


def test_the_rules_of_a_gate_are_shown_with_their_reasons() -> None:
    rule = Rule(task="judge", rule="AUC >= 0.9", holds=False, why="AUC is 0.7")
    gates = [Held(gate="gate", tasks=("publish",), rules=(rule,))]
    for shown in (run_html(run(task("gate")), (), gates), run_text(run(task("gate")), (), gates)):
        assert "AUC is 0.7" in shown
    assert "    fails: AUC >= 0.9 (`judge`)\n      AUC is 0.7" in run_text(run(task("gate")), (), gates)


def test_a_plan_has_the_notes_that_the_command_prints() -> None:
    planned = PlannedTask(name="a", stage="s", kind="train", decision="run", reason="", notes=("its key has `x`",))
    plan = Plan(pipeline="p", tasks=(planned,), expected_s=(1.0, 2.0), expected_usd=(0.0, 0.0), bound_usd=0.0, gap=0.0)
    assert plan_text(plan).endswith("\nnote: its key has `x`")
    assert "note: its key has <code>x</code>" in plan_html(plan)


def test_nothing_that_a_user_names_can_act_in_a_notebook() -> None:
    evil = "<script>alert(1)</script>"
    planned = PlannedTask(name=evil, stage="s", kind="train", decision="run", reason=evil)
    plan = Plan(pipeline=evil, tasks=(planned,), expected_s=(1.0, 2.0), expected_usd=(0.0, 0.0), bound_usd=0.0, gap=0.0)
    rule = Rule(task=evil, rule=evil, holds=None, why=evil)
    for made in (
        run_html(run(task(evil, "failed", reason=evil, pool=evil)), [Warned(task=evil, text=evil, of=evil)]),
        run_html(run(), (), [Held(gate=evil, tasks=(evil,), rules=(rule,))]),
        runs_html([run()]),
        plan_html(plan),
        report_html(Report(title=evil, about=evil)),
        table_html(pa.table({evil: [evil, None]})),
    ):
        assert "<script" not in made


def test_of_many_tasks_those_that_went_wrong_are_shown() -> None:
    shown = run_html(run(*[task(f"fit[{n}]") for n in range(300)], task("last", "failed"), state="failed"))
    assert "last" in shown
    assert "101 more tasks, all well" in shown


def test_a_table_is_shown_by_its_first_rows_and_columns_with_types() -> None:
    wide = pa.table({f"c{n}": [n] * 30 for n in range(25)})
    shown = table_html(wide)
    assert "30 rows, 25 columns; 5 columns aren't shown" in shown
    assert "int64" in shown
    assert shown.count("<tr>") == 11
    assert "no rows, no columns" in table_html(pa.table({}))
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert "1 row, 2 columns" in table_html(twice)
