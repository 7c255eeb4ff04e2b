"""`headrace logs`: what tasks printed, of this run or of the one that their output comes from."""

from __future__ import annotations

import re
import subprocess
import time

from tests.cli.conftest import Shell
from tests.projects import PATIENCE_S

PIPELINE = """
    import headrace as hr

    @hr.stage(kind="prepare")
    def loud(n: int) -> int:
        print("it is", n)
        return n

    @hr.stage(kind="train")
    def twice(n: int) -> int:
        print("twice", n)
        return 2 * n

    @hr.pipeline
    def flow(n: int = 1) -> None:
        twice(loud(n))

    @hr.pipeline
    def other() -> None:
        loud(1)
        loud(1)
    """


def test_a_reused_task_shows_what_it_printed_where_it_ran_and_says_so_on_stderr(project: Shell) -> None:
    project.write("pipelines.py", PIPELINE)
    first = project("run", "flow", "--json").json["run"]
    ran = project("logs", first, "loud")
    assert (ran.code, ran.out, ran.err) == (0, "it is 1\n", "")
    second = project("run", "flow", "--json").json["run"]
    for words in (["logs", second, "loud"], ["logs", second, "loud", "--follow"]):
        reused = project(*words)
        assert (reused.code, reused.out) == (0, "it is 1\n")
        assert f"`loud` was reused; this is what `loud` printed in run `{first}`" in reused.err
    whole = project("logs", second)
    assert whole.out == ""
    told = "`loud`, `twice` were reused, and printed nothing in this run"
    command = f"`headrace logs {second} TASK` prints the output of the run that made the result"
    assert whole.err == project("logs", "latest").err == f"note: {told}: {command}\n"
    assert project("logs", first).err == ""


def test_a_task_that_was_reused_under_another_name_is_found_by_its_key(project: Shell) -> None:
    project.write("pipelines.py", PIPELINE)
    first = project("run", "flow", "--json").json["run"]
    project("run", "other")
    reused = project("logs", "latest", "loud[1]")
    assert (reused.code, reused.out) == (0, "it is 1\n")
    assert f"this is what `loud` printed in run `{first}`" in reused.err


def test_a_task_that_printed_before_new_code_let_it_be_reused_is_not_said_to_have_printed_nothing(
    project: Shell,
) -> None:
    project.write("pipelines.py", PIPELINE)
    assert project("run", "flow").code == 0
    other = PIPELINE.replace('"it is"', '"it was"').replace("return 2 * n", "raise ValueError")
    project.write("pipelines.py", other)
    run = project("run", "flow", "--json").json["run"]
    project.write("pipelines.py", PIPELINE)
    assert project("resume", run, "--new-code").code == 0
    shown = project("logs", run)
    assert "it was 1\n" in shown.out
    assert "printed nothing" not in shown.err
    assert {each["state"] for each in project("show", run, "--json").json["tasks"]} == {"reused"}


def test_a_reused_task_whose_run_is_gone_says_that_too(project: Shell) -> None:
    project.write("pipelines.py", PIPELINE)
    first = project("run", "flow", "--json").json["run"]
    project("run", "flow")
    project.write("headrace.toml", "[gc]\nkeep_runs = 1\n")
    assert project("gc").code == 0
    assert first not in project("runs").out
    reused = project("logs", "latest", "loud")
    assert (reused.code, reused.out) == (0, "")
    assert "no longer known" in reused.err


def test_a_line_on_stderr_tells_where_another_attempt_begins(project: Shell) -> None:
    more = """
    from pathlib import Path

    @hr.stage(retries=1, backoff=0)
    def flaky(mark: str) -> None:
        print("tried")
        if not Path(mark).exists():
            Path(mark).touch()
            raise ValueError("not yet")

    @hr.pipeline
    def again(mark: str) -> None:
        flaky(mark)
    """
    project.write("pipelines.py", PIPELINE + more)
    assert project("run", "again", "--mark", str(project.folder / "mark")).code == 0
    shown = project("logs", "latest", "flaky")
    assert shown.out.startswith("tried\nTraceback")
    assert shown.out.endswith("not yet\ntried\n")
    assert shown.err == "--- flaky, attempt 2\n"


SLOW = """
    import time
    from pathlib import Path

    import headrace as hr

    @hr.stage
    def slow(ready: str) -> int:
        before = hr.attempt().number
        print("attempt", before, flush=True)
        Path(ready).touch()
        time.sleep(0.0 if before > 1 else 60.0)
        return before

    @hr.pipeline
    def one(ready: str) -> None:
        slow(ready)
    """


def _kill_at_work(project: Shell, *words: str) -> None:
    """Begin a run, and kill its driver once the stage is at work."""
    ready = project.folder / "ready"
    words = ("run", "one", "--ready", str(ready), *words)
    driver = project.start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    patience = time.monotonic() + PATIENCE_S
    while not ready.exists():
        assert time.monotonic() < patience
        time.sleep(0.02)
    driver.kill()
    driver.wait()


def test_what_still_ran_when_a_run_is_resumed_at_once_is_ended_and_said_and_keeps_its_output_before_that_of_the_next(
    project: Shell,
) -> None:
    project.write("pipelines.py", SLOW)
    _kill_at_work(project)
    assert project("logs", "latest", "slow").out == "attempt 1\n"
    done = project("resume", "latest", "--now")
    assert done.code == 0, done.err
    assert "so they begin again: `slow` from the beginning" in done.err
    run = project("show", "latest", "--json").json["run"]
    assert project("ledger", "export", "runs.headrace").code == 0
    folder = project.folder / ".headrace"
    for moved in (False, True):
        if moved:
            folder.rename(project.folder / "before")
            assert project("ledger", "import", "runs.headrace").code == 0
        for words in (["logs", run], ["logs", run, "--follow"]):
            of_task = project(*words, "slow")
            assert (of_task.out, of_task.err) == ("attempt 1\nattempt 2\n", "--- slow, attempt 2\n")
            assert project(*words).out == "--- slow\nattempt 1\n--- slow, attempt 2\nattempt 2\n"


def test_a_line_tells_of_a_later_attempt_even_if_the_first_printed_nothing(project: Shell) -> None:
    silent = SLOW.replace('print("attempt", before, flush=True)', 'print("attempt 2" if before > 1 else "", end="")')
    project.write("pipelines.py", silent)
    _kill_at_work(project)
    assert project("resume", "latest", "--now").code == 0
    shown = project("logs", "latest", "slow")
    assert (shown.out, shown.err) == ("attempt 2", "--- slow, attempt 2\n")


def test_a_resumed_run_may_be_given_another_timeout(project: Shell) -> None:
    project.write("pipelines.py", SLOW.replace("before > 1", "before > 2"))
    _kill_at_work(project, "--timeout", "60s")
    late = project("resume", "latest", "--now", "--timeout", "1s")
    assert (late.code, "the run took longer than 1 s" in late.err) == (1, True)
    assert re.search(r"hint: `headrace resume \S+ --timeout TIME` goes on for a longer time", late.err)
    assert "`--timeout` is" in project("resume", "latest", "--timeout", "0s").err


def test_a_task_that_printed_nothing_is_told_with_what_became_of_it(project: Shell) -> None:
    run = project("run", "good", "--json").json["run"]
    shown = project("logs", run, "best")
    assert (shown.code, shown.out) == (0, "")
    assert "no printed text of `best` is stored; it has succeeded: " in shown.err
    assert "is stored" not in project("logs", run, "one").err


def test_a_run_whose_failed_tasks_printed_nothing_says_why_they_failed(project: Shell) -> None:
    project.write(
        "pipelines.py",
        """
        import headrace as hr
        from headrace.stages import ingest

        @hr.stage
        def loud() -> None:
            print("here")
            raise ValueError("no")

        @hr.stage
        def silent() -> int:
            return 1

        @hr.pipeline
        def missing() -> None:
            ingest.files("nowhere.csv")
            loud()

        @hr.pipeline
        def many() -> None:
            for number in range(7):
                ingest.files(f"nowhere{number}.csv")

        @hr.pipeline
        def still() -> None:
            silent()
        """,
    )
    project("run", "missing")
    shown = project("logs", "latest")
    assert "here" in shown.out
    assert shown.err.startswith(
        "note: no printed text of `files_version` is stored; it failed: user: `nowhere.csv` is not there\n"
    )
    assert shown.err.count("note: ") == 1
    project("run", "many")
    shown = project("logs", "latest")
    assert shown.out == ""
    assert shown.err.count("` is stored; it failed: ") == 5
    assert "note: 2 more tasks without printed text failed: `headrace show " in shown.err
    project("run", "still")
    shown = project("logs", "latest")
    assert shown.out == ""
    assert re.fullmatch(r"note: no task of run `\S+` has printed anything\n", shown.err)
