"""Stages in environments of their own, by the real command: wheels made by hand, really installed."""

from __future__ import annotations

import importlib.metadata
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, finish, lent, wait_for
from tests.wheels import only, wheel

PIPELINES = """
    import headrace as hr
    import lone

    @hr.stage
    def new() -> str:
        return lone.VERSION

    @hr.stage(environment="old")
    def old(text: str, *, times: int = 1) -> str:
        return " ".join([text] + [lone.VERSION] * times)

    @hr.pipeline
    def flow() -> None:
        old(new())

    @hr.pipeline
    def wide() -> None:
        old.map(["a", "b", "c"])
"""


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    return tmp_path / "wheels"


@pytest.fixture
def project(tmp_path: Path, wheels: Path) -> Iterator[Project]:
    """A project with a lock, and one of group `old`."""
    with lent(tmp_path / "project") as project:
        project.environment["HEADRACE_CACHE"] = str(tmp_path / "cache")
        project.write("pipelines.py", PIPELINES)
        lock(project, wheels, "requirements.txt", "2.0")
        lock(project, wheels, "requirements-old.txt", "1.0")
        yield project


def lock(project: Project, wheels: Path, file: str, version: str) -> None:
    project.write(file, f"{only(wheels)}{wheel(wheels, 'lone', version)}\n")


def built(project: Project) -> list[Path]:
    """Return the environments that were built for a project."""
    return list((Path(project.environment["HEADRACE_CACHE"]) / "environments").glob("[!.]*"))


def value(project: Project, task: str, tmp_path: Path) -> str:
    assert project.headrace("get", "latest", task, "--to", str(tmp_path / "got")).code == 0
    return (tmp_path / "got").read_text()


def test_each_stage_runs_and_is_debugged_in_its_environment_and_is_reused_by_the_versions_there(
    project: Project, wheels: Path, tmp_path: Path
) -> None:
    first = project.headrace("run", "flow")
    assert first.code == 0, first.err
    assert "building the project's environment from `requirements.txt` (1 packages)" in first.err
    assert "building environment `old` from `requirements-old.txt` (1 packages)" in first.err
    assert first.err.count("building") == 2
    assert value(project, "old", tmp_path) == "2.0 1.0"
    assert project.headrace("debug", "latest", "new").out == "'2.0'\n"
    assert project.headrace("debug", "latest", "old").out == "'2.0 1.0'\n"
    second = project.headrace("run", "flow", "--json")
    assert [task["state"] for task in second.json["tasks"]] == ["reused", "reused"]
    assert "building" not in second.err
    lock(project, wheels, "requirements-old.txt", "1.1")
    told = project.headrace("plan", "flow")
    assert (told.code, told.err) == (0, "building environment `old` from `requirements-old.txt` (1 packages)\n")
    plan = project.headrace("plan", "flow", "--json").json
    assert [task["decision"] for task in plan["tasks"]] == ["reuse", "run"]
    third = project.headrace("run", "flow", "--json")
    assert {name: task["state"] for name, task in third.task.items()} == {"new": "reused", "old": "succeeded"}
    assert "`lone" in third.task["old"]["reason"]
    assert value(project, "old", tmp_path) == "2.0 1.1"


def test_a_mapped_task_runs_in_its_environment_and_is_reused(project: Project) -> None:
    done = project.headrace("run", "wide", "--json")
    assert done.json["state"] == "succeeded"
    new = "no result in the latest runs of this pipeline"
    assert {task["reason"] for task in done.json["tasks"]} == {"3 elements", new}, done.out
    assert {task["state"] for task in project.headrace("run", "wide", "--json").json["tasks"]} == {"reused"}


def test_a_pool_may_run_what_is_there_or_always_what_is_locked(project: Project) -> None:
    project.write(
        "pipelines.py",
        "import sys\nimport headrace as hr\n\n@hr.stage(cache=False)\ndef where() -> str:\n"
        "    return sys.prefix\n\n@hr.pipeline\ndef flow() -> None:\n    where()\n",
    )
    found = []
    for policy in ("present", "lock"):
        project.environment["HEADRACE__POOL__LOCAL__ENVIRONMENT"] = policy
        assert project.headrace("run", "flow").code == 0
        assert project.headrace("get", "latest", "where", "--to", str(project.root / policy)).code == 0
        found.append((project.root / policy).read_text())
    present, locked = found
    assert not Path(present).is_relative_to(project.environment["HEADRACE_CACHE"])
    assert Path(locked).is_relative_to(project.environment["HEADRACE_CACHE"])


def test_what_the_present_python_made_is_reused_where_its_versions_are_built(project: Project, wheels: Path) -> None:
    version = importlib.metadata.version("iniconfig")
    project.write("requirements.txt", f"{only(wheels)}{wheel(wheels, 'iniconfig', version)}\n")
    project.write(
        "pipelines.py",
        """
        import headrace as hr

        @hr.stage
        def uses(n: int) -> str:
            import iniconfig
            return iniconfig.__name__

        @hr.pipeline
        def flow() -> None:
            uses(1)
        """,
    )
    first = project.headrace("run", "flow", "--json")
    assert first.task["uses"]["state"] == "succeeded", first.out
    assert built(project) == []
    project.environment["HEADRACE__POOL__LOCAL__ENVIRONMENT"] = "lock"
    second = project.headrace("run", "flow", "--json")
    assert second.task["uses"]["state"] == "reused", second.task["uses"]["reason"]
    assert len(built(project)) == 1


def test_workers_see_their_environment_in_a_namespace_without_the_project(project: Project) -> None:
    project.environment["HEADRACE__POOL__LOCAL__NAMESPACE"] = "on"
    project.environment["HEADRACE_CACHE"] = str(project.root / "cache")
    done = project.headrace("run", "flow", "--json")
    assert done.json.get("state") == "succeeded", done.out


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-old.txt"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_while_an_environment_is_built_leaves_nothing(
    project: Project, end: signal.Signals, file: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"--index-url http://127.0.0.1:{silent.getsockname()[1]}/simple"
        project.write(file, f"{index}\nlone==1.0 --hash=sha256:{'0' * 64}\n")
        process = project.start("run", "flow", start_new_session=True)
        silent.settimeout(30)
        with silent.accept()[0]:
            wait_for(lambda: " pip " in str(project.processes()))
            process.send_signal(end)
            finish(process, within_s=30)
            project.check_no_process_is_left()
    assert len(built(project)) == (file == "requirements-old.txt")


def test_a_mended_lock_is_enough_after_an_environment_could_not_be_built(project: Project, wheels: Path) -> None:
    project.write("requirements-old.txt", f"{only(wheels)}lone==1.0 --hash=sha256:{'0' * 64}\n")
    assert project.headrace("run", "flow").code == 2
    assert project.headrace("runs", "--json").json["runs"] == []
    lock(project, wheels, "requirements-old.txt", "1.0")
    assert project.headrace("run", "flow").code == 0
