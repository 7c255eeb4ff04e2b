"""`run`, `plan`, `show`, `runs`, `explain`, `logs` and `get` on a real project."""

from __future__ import annotations

import pytest

from tests.cli.conftest import PIPELINES, Beginnings, Shell

TASK = {
    "name",
    "stage",
    "kind",
    "state",
    "reason",
    "attempts",
    "seconds",
    "load_s",
    "save_s",
    "usd",
    "pool",
    "outputs",
}


def test_a_run_says_how_it_went(project: Shell) -> None:
    done = project("run", "good", "--month", "3")
    assert done.code == 0, done.err
    assert "succeeded" in done.out
    assert "5 succeeded" in done.out
    assert "succeeded fit[depth=2]" in done.err
    assert "\x1b" not in done.out + done.err
    assert (project.folder / ".headrace" / ".gitignore").read_text() == "*\n"


def test_json_has_the_stable_form(project: Shell) -> None:
    done = project("run", "good", "--json")
    assert done.err == ""
    run = done.json
    assert {"run", "state", "seconds", "usd", "tasks"} <= run.keys()
    assert run["state"] == "succeeded"
    assert [task["name"] for task in run["tasks"] if task["stage"] == "one"] == ["one"]
    assert all(task.keys() >= TASK for task in run["tasks"])
    output = next(task for task in run["tasks"] if task["name"] == "best")["outputs"][0]
    assert output.keys() == {"digest", "type", "bytes"}
    assert project("show", run["run"], "--json").json == run
    listed = project("runs", "--json").json
    assert [each["run"] for each in listed["runs"]] == [run["run"]]
    assert "tasks" not in listed["runs"][0]


def test_a_failed_run_has_code_1_and_its_tasks_are_told(project: Shell) -> None:
    done = project("run", "bad", "--json")
    assert done.code == 1
    states = {task["name"]: task["state"] for task in done.json["tasks"]}
    assert states["fit[depth=13]"] == "failed"
    assert states["best"] == "skipped"
    assert done.json["state"] == "failed"
    again = project("run", "bad")
    assert again.code == 1
    assert "depth 13 is unlucky" in again.err
    assert "hint: `headrace show" in again.err
    shown = project("show")
    assert shown.code == 0
    assert "2 reused, 1 failed" in shown.out
    assert "depth 13 is unlucky" in shown.out


def test_a_second_run_reuses_and_a_plan_says_so_before(project: Shell) -> None:
    assert project("plan", "good", "--json").json["tasks"][0]["decision"] == "run"
    project("run", "good")
    plan = project("plan", "good", "--json").json
    assert {task["decision"] for task in plan["tasks"]} == {"reuse"}
    assert {"partial", "bound_usd", "gap"} <= plan.keys()
    assert "reuse" in project("plan", "good").out
    again = project("run", "good", "--json").json
    assert {task["state"] for task in again["tasks"]} == {"reused"}


def test_a_stage_is_reused_whatever_the_other_files_have_imported(empty: Shell) -> None:
    pytest.importorskip("pandas", reason="pandas, which loads numpy.random, is not installed")
    empty.write("headrace.toml", '[project]\npipelines = ["frames.py", "draws.py"]\n')
    empty.write("frames.py", "import pandas\n")
    empty.write(
        "draws.py",
        """
import numpy as np

import headrace as hr


@hr.stage
def draw(seed: int) -> float:
    return float(np.random.default_rng(seed).normal()) + float(np.fft.fft([1.0])[0].real)


@hr.pipeline
def draws() -> None:
    draw(1)
""",
    )
    first = empty("run", "draws")
    assert "not reusable" not in first.err
    assert "1 reused" in empty("run", "draws").out
    empty.write("frames.py", "")
    assert "1 reused" in empty("run", "draws").out


def test_a_plan_finds_what_an_older_run_made_after_its_code_changed_and_came_back(
    project: Shell, begun: Beginnings
) -> None:
    path = project.folder / "pipelines.py"
    text = path.read_text()
    begun(project.folder, "run good")
    project.write("pipelines.py", text.replace("n + 1", "1 // 0"))
    assert project("run", "good").code == 1
    project.write("pipelines.py", text.replace("n + 1", "n + 2"))
    assert project("resume", "latest", "--new-code").code == 0
    for code in (text, text.replace("n + 1", "n + 2")):
        project.write("pipelines.py", code)
        plan = project("plan", "good", "--json").json
        assert {task["decision"] for task in plan["tasks"]} == {"reuse"}


def test_a_change_is_explained(project: Shell, begun: Beginnings) -> None:
    begun(project.folder, "run good")
    text = (project.folder / "pipelines.py").read_text()
    project.write("pipelines.py", text.replace("n + 1", "n + 2"))
    project("run", "good")
    shown = project("explain", "latest", "one")
    assert shown.code == 0
    assert "+    return n + 2" in shown.out
    assert project("explain", "latest", "one", "--json").json["differences"]


def test_a_changed_text_is_explained_by_its_words(project: Shell) -> None:
    text = """
        import headrace as hr

        @hr.stage
        def ask(short: str, query: str, options: dict[str, list[int]]) -> int:
            return 1

        @hr.pipeline
        def flow(limit: int = 1) -> None:
            head = "select all the columns that there are,\\nand another line\\nfrom a table with quite a long name\\n"
            ask(f"limit {limit}", f"{head}limit {limit}", {"rows": [limit, *range(60)]})
        """
    project.write("pipelines.py", text)
    project("run", "flow")
    project("run", "flow", "--limit", "2")
    shown = project("explain", "latest", "ask").out
    assert "input short: limit 1 -> limit 2" in shown
    assert "\n    -limit 1\n    +limit 2\n" in shown
    assert "\n    -    1,\n    +    2,\n" in shown


def test_logs_are_those_of_the_tasks(project: Shell, begun: Beginnings) -> None:
    begun(project.folder, "run good")
    every = project("logs", "latest")
    assert every.out == "--- one\none is here\n"
    assert project("logs", "latest", "one").out == "one is here\n"
    assert project("logs", "latest", "-f").out == every.out
    assert project("logs", "latest", "best").out == ""


def test_logs_hold_what_a_task_printed_before_its_process_died(project: Shell) -> None:
    project.write(
        "pipelines.py",
        """
        import os

        import headrace as hr

        @hr.stage
        def dies() -> int:
            os.write(1, b"last words")
            os.abort()

        @hr.pipeline
        def deadly() -> None:
            print("wired")
            dies()
        """,
    )
    done = project("run", "deadly")
    assert done.code == 1
    run = project("runs", "--json").json["runs"][0]["run"]
    assert f"`headrace logs {run} dies` has its last output; `headrace debug {run} dies` runs" in done.err
    assert project("logs", "latest", "dies").out.startswith("last words")
    assert "--- (the pipeline's body)\nwired\n" in project("logs", "latest").out


def test_an_artifact_is_written_to_a_file(project: Shell) -> None:
    run = project("run", "good", "--json").json
    done = project("get", run["run"], "best", "--to", "best.json")
    assert done.out == "best.json\n"
    assert (project.folder / "best.json").read_text() == "0.3"
    digest = next(task for task in run["tasks"] if task["name"] == "one")["outputs"][0]["digest"]
    assert project("get", digest[:12], "--to", "one.json").code == 0
    assert (project.folder / "one.json").read_text() == "2"


def test_a_stage_is_debugged_with_its_real_inputs(project: Shell, begun: Beginnings) -> None:
    begun(project.folder, "run good")
    done = project("debug", "latest", "one")
    assert done.out == "one is here\n2\n"
    project("run", "bad")
    failed = project("debug", "latest", "fit[depth=13]")
    assert failed.code == 1
    assert 'raise ValueError("depth 13 is unlucky")' in failed.err


ASKS = """
import headrace as hr

@hr.stage
def ask(words: dict[str, str]) -> int:
    return len(words["password"])

@hr.pipeline
def asks() -> None:
    ask({"password": hr.secret("ASKED_PW")})
"""


def test_a_plan_notes_a_secret_that_is_not_set_if_the_task_will_run(project: Shell) -> None:
    project.write("pipelines.py", ASKS)
    told = "secret `ASKED_PW` is not set, and `ask` needs it"
    assert f"note: {told}" in project("plan", "asks").out
    assert project("plan", "asks", "--json").json["tasks"][0]["notes"] == [told]
    assert told not in project("plan", "asks", ASKED_PW="open sesame").out
    assert project("run", "asks", ASKED_PW="open sesame").code == 0
    assert told not in project("plan", "asks").out  # its result is reused, so no secret is needed
    assert told in project("plan", "asks", "--force", "ask").out


def test_a_stage_is_debugged_with_its_secret_or_not_at_all(project: Shell) -> None:
    project.write("pipelines.py", ASKS)
    assert project("run", "asks", ASKED_PW="open sesame").code == 0
    assert project("debug", "latest", "ask", ASKED_PW="open sesame").out == "11\n"
    done = project("debug", "latest", "ask")
    assert (done.code, done.out) == (2, "")
    assert "error: secret `ASKED_PW` is not set" in done.err
    assert "hint: set the environment variable ASKED_PW where you debug" in done.err


def test_of_a_map_an_element_is_debugged(project: Shell, begun: Beginnings) -> None:
    begun(project.folder, "run good")
    done = project("debug", "latest", "fit")
    assert (done.code, done.out) == (2, "")
    assert "error: `fit` is a map of 3 elements" in done.err
    assert "hint: debug one of them: `fit[depth=1]`, `fit[depth=2]`, `fit[depth=3]`" in done.err


def test_the_page_is_one_file_that_needs_no_other(project: Shell) -> None:
    project("run", "bad", "--month", "4")
    done = project("show", "--html", "--to", "page.html")
    assert done.out == "page.html\n"
    page = (project.folder / "page.html").read_text()
    assert "depth 13 is unlucky" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert project("show", "--html").out.endswith(".html\n")
    assert project("show", "--html", "--to", "page.html", "--json").json["state"] == "failed"


def test_a_file_names_a_pipeline_without_a_project(empty: Shell) -> None:
    empty.write(
        "flow.py",
        """
        import headrace as hr

        @hr.stage
        def two(n: int) -> int:
            return 2 * n

        @hr.pipeline
        def main(only: int = 1) -> None:
            two(only)
        """,
    )
    done = empty("run", "flow.py:main", "--param", "only=21")
    assert done.code == 0, done.err
    assert empty("runs", "--json").json["runs"][0]["params"] == {"only": "21"}


def test_a_detached_run_gives_its_id_at_once(project: Shell) -> None:
    done = project("run", "good", "--detach")
    assert done.code == 0
    (run,) = done.out.split()
    assert project("logs", run, "-f").code == 0  # until it has ended
    assert project("show", run, "--json").json["state"] == "succeeded"


@pytest.mark.parametrize(
    ("words", "state", "why"), [((), "succeeded", ""), (("--nn", "3"), "refused", "no parameter `nn`")]
)
def test_a_detached_run_gives_its_id_though_its_module_takes_long_to_import(
    empty: Shell, words: tuple[str, ...], state: str, why: str
) -> None:
    gate = empty.folder / "opened"
    empty.write(
        "flow.py",
        f"""
        import time
        from pathlib import Path

        import headrace as hr

        while not Path({str(gate)!r}).exists():
            time.sleep(0.01)

        @hr.stage
        def one(n: int) -> int:
            return n

        @hr.pipeline
        def late(n: int = 1) -> None:
            one(n)
        """,
    )
    done = empty("run", "flow.py:late", *words, "--detach")
    gate.touch()
    assert done.code == 0, done.err
    (run,) = done.out.split()
    assert empty("logs", run, "-f").code == 0  # until it has ended
    shown = empty("show", run, "--json").json
    assert (shown["state"], why in (shown["why"] or "")) == (state, True)
    assert empty("show", run).code == 0  # which may have no task to list


def test_a_run_that_failed_is_resumed_with_new_code(project: Shell) -> None:
    run = project("run", "bad", "--json").json["run"]
    assert project("resume", run).code == 1
    text = (project.folder / "pipelines.py").read_text()
    project.write("pipelines.py", text.replace("depth == 13", "depth == 14"))
    done = project("resume", run, "--new-code", "--json")
    assert done.code == 0, done.err
    assert done.json["run"] == run


def test_with_new_code_a_task_begins_at_its_last_checkpoint_unless_its_own_code_has_changed(empty: Shell) -> None:
    code = """
        import headrace as hr

        @hr.stage
        def fit() -> int:
            attempt = hr.attempt()
            begun = attempt.checkpoint() or 0
            print(f"begins at {begun}")
            attempt.keep(begun + 1)
            raise ValueError("fit")

        @hr.stage
        def other() -> int:
            return 1

        @hr.pipeline
        def flow() -> None:
            fit()
            other()
    """

    def begun() -> list[str]:
        printed = empty("logs", "latest", "fit").out.splitlines()
        return [line for line in printed if line.startswith("begins")]

    empty.write("flow.py", code)
    assert empty("run", "flow.py:flow").code == 1
    empty.write("flow.py", code.replace("return 1", "return 2"))
    assert empty("resume", "latest", "--new-code").code == 1
    assert begun() == ["begins at 0", "begins at 1"]
    empty.write("flow.py", code.replace("begun + 1", "begun + 5"))
    assert empty("resume", "latest", "--new-code").code == 1
    assert begun() == ["begins at 0", "begins at 1", "begins at 0"]
    empty.write("flow.py", code)
    assert empty("resume", "latest", "--new-code").code == 1
    assert begun() == ["begins at 0", "begins at 1", "begins at 0", "begins at 2"]


def test_a_run_stays_as_it_was_if_its_new_code_can_not_be_traced(project: Shell) -> None:
    run = project("run", "bad", "--month", "1", "--json").json["run"]
    before = project("show", run, "--json").json
    text = (project.folder / "pipelines.py").read_text()
    for old, new, told in (
        ("import headrace", "x = (\nimport headrace", "can't import `pipelines`"),
        ("def bad(", "def worse(", "there is no pipeline `bad`"),
        ("def bad(month: int = 1) -> None:", "def bad(month: int = 1) -> None:\n    1 / 0", "ZeroDivisionError"),
        ("def bad(month: int", "def bad(year: int", "month"),
    ):
        project.write("pipelines.py", text.replace(old, new, 1))
        failed = project("resume", run, "--new-code")
        assert (failed.code, told in failed.err) == (2, True), failed.err
        assert project("show", run, "--json").json == before
    project.write("pipelines.py", text)
    assert project("resume", run).code == 1
    project.write("pipelines.py", text.replace("depth == 13", "depth == 14"))
    assert project("resume", run, "--new-code").code == 0


def test_what_always_runs_cleans_up_after_every_run_that_fails(project: Shell) -> None:
    project.write(
        "pipelines.py",
        """
        from pathlib import Path

        import headrace as hr

        @hr.stage
        def work(n: int) -> int:
            if n < 3:
                raise ValueError("no")
            return n

        @hr.stage
        def tidy(folder: str) -> None:
            with (Path(folder) / "tidied").open("a") as file:
                file.write("x")

        @hr.pipeline
        def one(n: int, folder: str) -> None:
            done = work(n)
            tidy(folder, after=[done], always=True)
            tidy(folder, always=True)
        """,
    )
    plan = project("plan", "one", "--n", "1", "--folder", str(project.folder), "--json")
    assert plan.code == 0, plan.err
    for n in (1, 1, 3, 3):
        shown = project("run", "one", "--n", str(n), "--folder", str(project.folder), "--json").json
        assert [task["state"] for task in shown["tasks"] if task["stage"] == "tidy"] == ["succeeded"] * 2
    assert (project.folder / "tidied").read_text() == 2 * 4 * "x"
    plan = project("plan", "one", "--n", "3", "--folder", str(project.folder), "--json").json
    told = [(task["decision"], task["reason"]) for task in plan["tasks"]]
    assert [each[0] for each in told] == ["reuse", "run", "run"]
    assert told[1][1] == told[2][1] == "never reused (`always=True`)"


def test_a_stage_that_only_the_end_of_a_run_shows_not_to_be_there_is_told(empty: Shell) -> None:
    empty.write(
        "flow.py",
        """
        import headrace as hr

        @hr.stage
        def one() -> int:
            return 1

        @hr.stage
        def two(number: int) -> int:
            return 2 * number

        @hr.pipeline
        def main() -> None:
            two(hr.value(one()))
        """,
    )
    assert empty("run", "flow.py:main", "--only", "two").err.count("warning:") == 0
    done = empty("run", "flow.py:main", "--only", "three", "--force", "two")
    assert done.code == 0
    assert "warning: `--only three`: the run had no such stage" in done.err
    assert "warning: `--force two`: `--only` left this stage out" in done.err
    assert done.err.count("warning:") == 2


def test_only_and_force_choose_stages(project: Shell, begun: Beginnings) -> None:
    begun(project.folder, "run good")
    forced = project("run", "good", "--force", "one", "--json").json
    assert next(task for task in forced["tasks"] if task["name"] == "one")["state"] == "succeeded"
    only = project("run", "good", "--only", "one", "--json").json
    assert {task["stage"] for task in only["tasks"] if task["state"] != "skipped"} == {"one"}
    for command in ("run", "plan"):
        lost = project(command, "good", "--only", "one", "--force", "best")
        assert (lost.code, lost.out) == (2, "")
        assert "`--force best`: `--only` leaves this stage out" in lost.err
        assert "add `--only best`" in lost.err


def test_help_on_a_pipeline_names_its_parameters_and_imports_nothing(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES + "\n\nraise RuntimeError('imported')\n")
    for words in (("run", "good", "--help"), ("plan", "good", "--help")):
        shown = project(*words)
        assert shown.code == 0
        assert "Pipeline good:\n  Fits three times.\n  --month  int, 1 if not given\n" in shown.out
    assert "Pipeline" not in project("run", "--help").out


def test_help_on_a_pipeline_of_a_file_needs_no_project_and_imports_nothing(empty: Shell) -> None:
    (empty.folder / "flows").mkdir()
    empty.write("flows/own.py", PIPELINES + "\n\nraise RuntimeError('imported')\n")
    shown = empty("run", "flows/own.py:good", "--month", "2", "--help")
    assert shown.code == 0
    assert shown.out.endswith("Pipeline good:\n  Fits three times.\n  --month  int, 1 if not given\n")
    for none in ("flows/own.py:worst", "flows/none.py:good", "flows:good"):
        other = empty("run", none, "--help")
        assert other.code == 0
        assert other.out.endswith(
            f"Pipeline {none}:\n  No file defines it by that name, so what it takes can't be listed.\n"
        )
