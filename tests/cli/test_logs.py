"""`headrace logs`: what tasks printed, of this run or of the one that their output comes from."""

from __future__ import annotations

from tests.cli.conftest import Shell

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
    assert project("logs", second).out == ""


def test_a_task_that_was_reused_under_another_name_is_found_by_its_key(project: Shell) -> None:
    project.write("pipelines.py", PIPELINE)
    first = project("run", "flow", "--json").json["run"]
    project("run", "other")
    reused = project("logs", "latest", "loud[1]")
    assert (reused.code, reused.out) == (0, "it is 1\n")
    assert f"this is what `loud` printed in run `{first}`" in reused.err


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
