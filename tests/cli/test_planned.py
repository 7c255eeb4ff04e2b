"""What `plan` expects is what `run` then does, and what `explain` names is what differs."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.cli.conftest import Beginnings, Shell

PIPELINES = """
import headrace as hr


@hr.stage(cache=False)
def rows() -> list[int]:
    return [1, 2]


@hr.stage
def scaled(rows: list[int], x: int) -> list[int]:
    return [each * x for each in rows]


@hr.stage
def total(rows: list[int]) -> int:
    return sum(rows)


@hr.pipeline
def flow(x: int = 1) -> None:
    total(scaled(rows(), x))
"""


def planned(project: Shell, *words: str) -> dict[str, tuple[str, str]]:
    done = project("plan", "flow", "--json", *words)
    assert done.code == 0, done.err
    return {task["name"]: (task["decision"], task["reason"]) for task in done.json["tasks"]}


def ran(project: Shell, *words: str) -> dict[str, str]:
    done = project("run", "flow", "--json", *words)
    assert done.code == 0, done.err
    return {task["name"]: task["state"] for task in done.json["tasks"]}


def test_a_plan_knows_results_of_any_earlier_run_behind_a_stage_that_always_runs(
    project: Shell, begun: Beginnings
) -> None:
    project.write("pipelines.py", PIPELINES)
    begun(project.folder, "run flow")
    assert {task["state"] for task in project("show", "--json").json["tasks"]} == {"succeeded"}
    assert set(ran(project, "--x", "2").values()) == {"succeeded"}
    plan = planned(project, "--x", "1")
    assert plan["scaled"] == ("reuse_if_unchanged", "reused if `rows` gives what it gave before")
    assert plan["total"] == ("reuse_if_unchanged", "reused if `scaled` gives what it gave before")
    assert planned(project, "--x", "3")["scaled"] == ("run", "`x` changed")
    assert ran(project, "--x", "1") == {"rows": "succeeded", "scaled": "reused", "total": "reused"}


def test_a_reason_is_true_of_what_only_another_pipeline_made(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES + "\n\n@hr.pipeline\ndef other() -> None:\n    total(scaled(rows(), 1))\n")
    ran(project)
    tasks = project("plan", "other", "--json").json["tasks"]
    assert tasks[1]["reason"] == "no result in the latest runs of this pipeline"
    assert project("run", "other", "--json").json["tasks"][1]["state"] == "reused"


CHOSEN = """
import headrace as hr


@hr.stage(cache=False)
def rows(which: int) -> int:
    return which


@hr.stage
def checked(rows: int) -> int:
    if rows > 1:
        raise ValueError("more than 1")
    return rows


@hr.stage
def tell(rows: int) -> int:
    return rows


@hr.pipeline
def flow(which: int = 1) -> None:
    tell(checked(rows(which)))
"""


def test_a_plan_says_run_only_of_what_no_earlier_run_can_spare(project: Shell) -> None:
    project.write("pipelines.py", CHOSEN)
    ran(project)
    for which in ("2", "3", "4", "5", "6"):
        assert project("run", "flow", "--which", which).code == 1
    plan = planned(project)
    why = (
        "depends on the output of `rows`: runs if it is the same as in the latest runs, and may be reused if it is not"
    )
    assert plan["checked"] == ("reuse_if_unchanged", why)
    assert plan["tell"] == ("reuse_if_unchanged", "depends on the output of `checked`: the latest runs don't decide it")
    project.write("pipelines.py", CHOSEN.replace("rows > 1", "rows > 2"))
    assert planned(project)["checked"] == ("run", "code changed: `pipelines.checked`")
    project.write("pipelines.py", CHOSEN)
    assert ran(project) == {"rows": "succeeded", "checked": "reused", "tell": "reused"}


def test_a_plan_knows_results_under_another_name_of_the_task(project: Shell, begun: Beginnings) -> None:
    project.write("pipelines.py", PIPELINES)
    begun(project.folder, "run flow")
    renamed = 'flow_scaled = scaled.with_options(name="other")\n\n\n@hr.pipeline'
    project.write(
        "pipelines.py", PIPELINES.replace("@hr.pipeline", renamed).replace("total(scaled(", "total(flow_scaled(")
    )
    assert planned(project)["other"] == ("reuse_if_unchanged", "reused if `rows` gives what it gave before")
    assert ran(project)["other"] == "reused"


NAMED = PIPELINES.replace("@hr.stage\ndef scaled", '@hr.stage(name="scaled")\ndef multiplied')
RETRIED = PIPELINES.replace("total(scaled(", "total(scaled.with_options(retries=1)(")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (NAMED.replace("total(scaled(", "total(multiplied("), "`pipelines.multiplied`, `pipelines.scaled`"),
        (RETRIED.replace("each * x", "each + x"), "`pipelines.scaled`"),
    ],
    ids=["renamed", "with other options"],
)
def test_a_reason_names_what_changed_in_a_stage_that_is_declared_otherwise(
    project: Shell, begun: Beginnings, text: str, changed: str
) -> None:
    project.write("pipelines.py", PIPELINES)
    begun(project.folder, "run flow")
    project.write("pipelines.py", text)
    assert planned(project)["scaled"] == ("run", f"code changed: {changed}")
    done = project("run", "flow", "--json")
    assert {task["name"]: task["reason"] for task in done.json["tasks"]}["scaled"] == f"code changed: {changed}"


def test_a_reason_names_the_file_where_all_of_the_project_counts(project: Shell) -> None:
    project.write("other.py", "def clean(x):\n    return x\n")
    project.write("pipelines.py", PIPELINES.replace("return sum(rows)", "return eval('sum(rows)')"))
    ran(project)
    project.write("other.py", "def clean(x):\n    return -x\n")
    assert planned(project)["total"] == ("run", "code changed: `other.py`")
    ran(project)
    found = project("explain", "latest", "total", "--json").json
    assert found["reason"] == "code changed: `other.py`"
    assert [(each["kind"], each["name"]) for each in found["differences"]] == [("file", "other.py")]
    assert any("return -x" in line for line in found["differences"][0]["diff"])


def test_an_explanation_names_the_platform_only_where_that_differs(project: Shell, begun: Beginnings) -> None:
    project.write("pipelines.py", PIPELINES)
    begun(project.folder, "run flow")
    # declared otherwise, so under another name of the function; and its code changed
    again = PIPELINES.replace("scaled(rows(), x)", "scaled.with_options(retries=1)(rows(), x)")
    project.write("pipelines.py", again.replace("each * x", "each + x"))
    ran(project)
    found = project("explain", "latest", "scaled", "--json").json
    assert [(each["kind"], each["name"]) for each in found["differences"]] == [("function", "pipelines.scaled")]


def test_a_plan_says_where_a_key_covers_more_than_its_function(project: Shell) -> None:
    project.write("helpers.py", "def clean(x):\n    return x\n")
    text = PIPELINES.replace("import headrace", "import helpers\nimport headrace")
    project.write("pipelines.py", text.replace("return sum(rows)", 'return getattr(helpers, "cle" + "an")(sum(rows))'))
    said = "`helpers` is used as a value in `pipelines.total`: all of `helpers` counts"
    assert f"note: {said}" in project("plan", "flow").out
    tasks = project("plan", "flow", "--json").json["tasks"]
    assert {task["name"]: task["notes"] for task in tasks}["total"] == [said]


def test_a_data_file_that_a_module_reads_while_it_is_imported_is_said_to_be_in_no_bundle(project: Shell) -> None:
    project.write("prices.csv", "a\n1\n")
    project.write(
        "pipelines.py", PIPELINES.replace("import headrace", 'ROWS = open("prices.csv").read()\nimport headrace')
    )
    done = project("run", "flow")
    assert done.code == 2
    assert '`.csv` files are data and never in a bundle: give it to a stage as `hr.File("prices.csv")`' in done.err


GATED = """
import headrace as hr


@hr.stage(cache=False)
def rows() -> int:
    return 5


@hr.stage
def enough(rows: int, least: int) -> bool:
    return rows >= least


@hr.stage
def publish(rows: int) -> int:
    return rows


@hr.stage
def tell(rows: int) -> int:
    return rows


@hr.pipeline
def flow(least: int = 10) -> None:
    found = rows()
    tell(publish(found, when=enough(found, least)))
"""


def test_a_plan_says_what_a_gate_would_hold_back_as_it_did_before(project: Shell) -> None:
    project.write("pipelines.py", GATED)
    first = project("run", "flow", "--json").json["run"]
    plan = planned(project)
    assert plan["enough"] == ("reuse_if_unchanged", "reused if `rows` gives what it gave before")
    assert plan["publish"] == ("skip_if_unchanged", f"held back if `enough` says no again, as in run {first}")
    assert plan["tell"] == ("skip_if_unchanged", "skipped if `publish` is")
    assert ran(project) == {"rows": "succeeded", "enough": "reused", "publish": "skipped", "tell": "skipped"}
    assert "skip if unchanged" in project("plan", "flow").out
    assert ran(project, "--least", "3")["publish"] == "succeeded"
    assert planned(project, "--least", "3")["publish"][0] == "reuse_if_unchanged"


def test_a_forecast_behind_a_value_says_what_was_held_back_in_the_run_before(project: Shell) -> None:
    project.write("pipelines.py", GATED.replace("found = rows()", "found = rows()\n    found.value()"))
    first = project("run", "flow", "--json").json["run"]
    why = f"forecast from run {first}: the pipeline asks for a value before it"
    assert planned(project)["publish"] == ("skip_if_unchanged", why)
    assert "tasks that it calls after that are forecast from its last run" in project("plan", "flow").out


def test_a_forecast_behind_a_value_says_what_the_run_before_reused(project: Shell) -> None:
    project.write("pipelines.py", GATED.replace("found = rows()", "found = rows()\n    found.value()"))
    project("run", "flow")
    assert planned(project)["enough"][0] == "run"
    second = project("run", "flow", "--json").json["run"]
    why = f"forecast from run {second}, which reused it: the pipeline asks for a value before it"
    assert planned(project)["enough"] == ("reuse_if_unchanged", why)


def test_the_time_of_a_task_includes_loading_and_saving_also_in_a_forecast(project: Shell) -> None:
    for text in (GATED, GATED.replace("found = rows()", "found = rows()\n    found.value()")):
        project.write("pipelines.py", text)
        project("run", "flow", "--force", "enough")
        with closing(sqlite3.connect(project.folder / ".headrace" / "ledger.db")) as db:
            last = "run = (select max(number) from runs) and attempts > 0"
            took = dict(db.execute(f"select name, load_s + seconds + save_s from tasks where {last}"))
        tasks = project("plan", "flow", "--force", "rows", "--json").json["tasks"]
        expected = {task["name"]: task["expected_s"] for task in tasks if task["decision"] == "run"}
        assert expected.keys() >= ({"rows", "enough"} if "value()" in text else {"rows"})
        assert expected == {name: pytest.approx(took[name]) for name in expected}


SHEETS = """
import headrace as hr
from headrace.stages import ingest


@hr.stage
def check(table) -> int:
    worst = min(table.column("x").to_pylist())
    if worst < 0:
        raise ValueError("a row is below 0")
    return worst


@hr.stage
def report(worst: int) -> int:
    return worst


@hr.pipeline
def flow() -> None:
    report(check(ingest.files("in/*.csv")))
"""


def test_a_forecast_is_for_one_attempt_though_a_task_took_several(project: Shell) -> None:
    project.write(
        "pipelines.py",
        """
import time
from pathlib import Path

import headrace as hr


@hr.stage(retries=2)
def slow(folder: str) -> int:
    time.sleep(0.4)
    tried = Path(folder, "tried")
    with tried.open("a") as file:
        file.write("x")
    if len(tried.read_text()) < 3:
        raise ValueError("not yet")
    return 1


@hr.pipeline
def flow(folder: str = ".") -> None:
    slow(folder)
""",
    )
    folder = str(project.folder)
    (task,) = project("run", "flow", "--folder", folder, "--json").json["tasks"]
    assert task["attempts"] == 3
    assert task["seconds"] >= 1.2
    (forecast,) = project("plan", "flow", "--folder", folder, "--force", "slow", "--json").json["tasks"]
    assert 0.4 <= forecast["expected_s"] < 0.8


def test_a_plan_after_a_run_that_failed_on_its_data_foresees_what_the_mended_data_reuse(project: Shell) -> None:
    project.write("pipelines.py", SHEETS)
    (project.folder / "in").mkdir()
    good = {"in/a.csv": "x\n1\n", "in/b.csv": "x\n2\n"}
    for path, text in good.items():
        project.write(path, text)
    ran(project)
    project.write("in/b.csv", "x\n-2000\n")
    failed = project("run", "flow")
    assert failed.code == 1
    assert "A resumed run doesn't ask `files_version` again; if you have fixed the data, start a new run" in failed.err
    explained = project("explain", "latest", "file", "--json").json
    assert (explained["decision"], explained["reason"]) == ("run", "2 elements (1 reused, 1 succeeded)")
    project.write("in/b.csv", good["in/b.csv"])
    plan = planned(project)
    assert plan["check"] == ("reuse_if_unchanged", "reused if `files` gives what it gave before")
    assert plan["report"][0] == "reuse_if_unchanged"
    states = ran(project)
    assert (states["check"], states["report"]) == ("reused", "reused")
    assert planned(project)["file"] == ("reuse_if_unchanged", "reused if `files_version` gives what it gave before")
    assert ran(project)["file"] == "reused"


def test_a_contract_that_keeps_counts_in_a_cursor_has_read_no_rows_by_it(project: Shell) -> None:
    counted = SHEETS.replace(
        'ingest.files("in/*.csv")',
        'ingest.check(ingest.files("in/*.csv"), CONTRACT, history=hr.cursor("flow/rows")).table',
    )
    contract = (
        'CONTRACT = ingest.Contract(name="c", columns={"x": ingest.Column(type="number")})\n\n\n@hr.stage\ndef check('
    )
    project.write("pipelines.py", counted.replace("@hr.stage\ndef check(", contract, 1))
    (project.folder / "in").mkdir()
    project.write("in/a.csv", "x\n1\n-2000\n")
    failed = project("run", "flow")
    assert failed.code == 1, failed.err
    assert "A resumed run doesn't ask `files_version` again" in failed.err
    assert "flow/rows" not in failed.err


def test_a_plan_of_a_pattern_of_before_does_not_say_run_however_many_runs_had_another(project: Shell) -> None:
    project.write(
        "pipelines.py", SHEETS.replace("flow()", 'flow(glob: str = "a")').replace('"in/*.csv"', 'f"in/{glob}*.csv"')
    )
    (project.folder / "in").mkdir()
    for name in "ab":
        project.write(f"in/{name}.csv", "x\n1\n")
    for glob in "abbbbb":
        ran(project, "--glob", glob)
    plan = planned(project, "--glob", "a")
    states = ran(project, "--glob", "a")
    for name in ("files", "file", "check", "report"):
        assert (plan[name][0], states[name]) == ("reuse_if_unchanged", "reused"), plan[name]
    assert planned(project, "--glob", "")["files"] == ("run", "`pattern` changed")
