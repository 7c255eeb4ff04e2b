"""Words that a command doesn't know: options, runs, tasks. And readers that leave before all is said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.cli.catalogue import COMMANDS
from tests.projects import Project, check_error, check_json_error, finish, lent

PIPELINES = """\
import headrace as hr

@hr.stage
def one(n: int) -> int:
    print("x" * 100_000)
    return n

@hr.stage
def bad() -> int:
    raise ValueError("as always")

@hr.pipeline
def flow(n: int = 1) -> None:
    one.map(list(range(40)))

@hr.pipeline
def fails() -> None:
    bad()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a run of some tasks."""
    with lent(tmp_path_factory.mktemp("words") / "project") as project:
        project.write("pipelines.py", PIPELINES)
        assert project.headrace("run", "flow").code == 0
        yield project


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_told_by_each_command(project: Project, command: str) -> None:
    if command in ("run", "plan"):  # there it is a parameter of the pipeline
        check_error(project.headrace(command, "flow", "--nope", "3"), 2, "no parameter `nope`", hint="`n`")
        return
    check_error(project.headrace(command, "--nope"), 2, "no option `--nope`", hint=f"headrace {command} --help")


NEED_RUN = ["explain", "logs", "resume", "cancel", "debug", "get", "lineage"]
TAKE_RUN = [("resume",), ("cancel",), ("show",), ("logs",), ("explain", "one"), ("debug", "one"), ("lineage", "one")]
TAKE_TASK = ["explain", "logs", "debug", "lineage"]


EMPTY = {
    "RUN": [["show"], ["cancel"], ["resume"], ["logs"], ["explain"], ["stop"], ["replay"], ["compare", "latest"]],
    "TASK": [["get", "latest"], ["logs", "latest"], ["explain", "latest"], ["stop", "latest"], ["lineage", "latest"]],
    "RUN|DIGEST|NAMED": [["get"], ["lineage"], ["register"]],
    "NAME": [["cursors"], ["rewind"], ["models"], ["datasets"]],
    "DIR": [["init"]],
    "--to": [["get", "latest", "one", "--to"]],
}


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, found in EMPTY.items() for words in found])
def test_an_empty_word_is_told_and_means_no_run_or_file(project: Project, name: str, words: list[str]) -> None:
    check_error(project.headrace(*words, ""), 2, f"{name} is empty", hint="shell variable")


@pytest.mark.parametrize("words", [["runs", "--limit"], ["gc", "--keep-runs"], ["rewind", "far", "--to-version"]])
def test_a_count_beyond_all_rows_is_told(project: Project, words: list[str]) -> None:
    check_error(project.headrace(*words, "9" * 21), 2, f"'{words[-1]}'", "is not in the range", hint="--help")


@pytest.mark.parametrize("command", NEED_RUN)
def test_a_run_that_is_missing_is_told_by_each_command(project: Project, command: str) -> None:
    check_error(project.headrace(command), 2, "issing", hint=f"headrace {command} --help")


@pytest.mark.parametrize("words", TAKE_RUN, ids=lambda words: words[0])
def test_an_unknown_run_is_told_by_each_command(project: Project, words: tuple[str, ...]) -> None:
    command, *task = words
    check_error(project.headrace(command, "nothing", *task), 2, "`nothing`", hint="")


@pytest.mark.parametrize("command", TAKE_TASK)
def test_an_unknown_task_is_told_with_the_nearest(project: Project, command: str) -> None:
    check_error(project.headrace(command, "latest", "oen"), 2, "`oen`", hint="one")


def test_an_unknown_artifact_is_told(project: Project) -> None:
    check_error(project.headrace("get", "latest", "oen", "--to", "x"), 2, "`oen`", hint="one")
    check_error(project.headrace("get", "ffffffff", "--to", "x"), 2, "`ffffffff`", hint="")
    check_error(project.headrace("get", "latest", "one.99", "--to", "x"), 2, "`99`", hint="it has")
    check_json_error(project.headrace("show", "nothing", "--json"), 2, "`nothing`", error="NotFoundError")


def test_a_place_that_can_not_be_written_is_told(project: Project) -> None:
    for to in ("no/such/folder/x", "/proc/x"):
        check_error(project.headrace("get", "latest", "one", "--to", to), 2, f"can't write `{to}`", hint="--to")
        check_error(project.headrace("show", "--html", "--to", to), 2, f"`{to}`", hint="")


@pytest.mark.parametrize("words", [["show", "--tasks"], ["logs", "latest"], ["runs"], ["lineage", "latest", "one"]])
def test_a_reader_that_leaves_is_no_error(project: Project, words: list[str]) -> None:
    process = project.start(*words)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) == 0


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("pipeline", "code"), [("flow", 0), ("fails", 1)])
def test_how_a_run_ended_is_its_exit_code_though_nobody_reads(
    project: Project, pipeline: str, code: int, as_json: bool
) -> None:
    process = project.start("run", pipeline, *(["--json"] if as_json else []))
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    done = finish(process)
    assert done.code == code, done
    assert "Traceback" not in done.err


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_are_closed_from_the_start_are_no_trouble(project: Project, closed: str) -> None:
    process = project.start("run", "flow", "--n", "3", shell=closed)
    assert finish(process).code == 0
    assert project.headrace("show", "--json").json["state"] == "succeeded"
    assert project.headrace("fsck").code == 0


def test_a_run_goes_on_though_nobody_reads_what_it_tells(project: Project) -> None:
    process = project.start("run", "flow", "--n", "2")
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None
    assert finish(process).code == 0
