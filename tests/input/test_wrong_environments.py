"""Environments that can't be had: each is told once, with the part that is wrong and what to do, and before any run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, check_error, check_json_error, lent
from tests.wheels import only, wheel

PIPELINES = """
    import headrace as hr

    @hr.stage(environment="old")
    def fit() -> int:
        return 1

    @hr.pipeline
    def flow() -> None:
        fit()
"""
UV = """
version = 1
requires-python = "{python}"

[[package]]
name = "mine"
version = "0"
source = {{ virtual = "." }}

[package.dev-dependencies]
gpu = []
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project") as project:
        project.environment["HEADRACE_CACHE"] = str(tmp_path / "cache")
        project.write("pipelines.py", PIPELINES)
        yield project
        assert project.headrace("runs", "--json").json["runs"] == []


def test_a_group_without_any_lock_is_told(project: Project) -> None:
    for command in ("run", "plan"):
        done = project.headrace(command, "flow")
        check_error(done, 2, "stage `fit` can't have environment `old`", "no lock", hint="`requirements-old.txt`")
    check_json_error(project.headrace("run", "flow", "--json"), 2, "`old`", hint="uv lock", error="EnvironmentFailed")


def test_a_group_that_the_lock_lacks_is_told_with_those_that_it_has(project: Project) -> None:
    project.write("uv.lock", UV.format(python=">=3.11"))
    done = project.headrace("run", "flow")
    check_error(done, 2, "stage `fit`", "`uv.lock` has no group or extra `old`", hint="it has `gpu`")


@pytest.mark.parametrize("name", ["", "no/such", "-old", 3])
def test_a_name_that_no_group_can_have_is_told(project: Project, name: object) -> None:
    project.write("pipelines.py", PIPELINES.replace('"old"', repr(name)))
    check_error(project.headrace("run", "flow"), 2, "stage `fit`", f"environment={name!r}", hint="a group or an extra")


def test_a_lock_for_another_python_is_told(project: Project) -> None:
    project.write("uv.lock", UV.format(python=">=3.99"))
    check_error(project.headrace("run", "flow"), 2, "`uv.lock` is for Python >=3.99", hint="`requires-python`")


def test_an_environment_that_can_t_be_built_is_told_with_what_the_installer_said(
    project: Project, tmp_path: Path
) -> None:
    wheel(tmp_path / "wheels", "lone", "1.0")
    project.write("requirements-old.txt", f"{only(tmp_path / 'wheels')}lone==2.0\n")
    done = project.headrace("run", "flow")
    check_error(done, 2, "stage `fit`", "can't be built from `requirements-old.txt`", "lone", hint="lock again")


def test_a_lock_that_pins_nothing_is_told_where_one_is_wanted(project: Project) -> None:
    project.write("requirements.txt", "lone\n")
    project.environment["HEADRACE__POOL__LOCAL__ENVIRONMENT"] = "lock"
    check_error(project.headrace("run", "flow"), 2, "`requirements.txt:1` pins no version", hint="`uv lock`")


def test_a_lock_of_a_tool_that_we_don_t_have_is_told(project: Project) -> None:
    project.write("poetry.lock", "")
    project.environment["HEADRACE__POOL__LOCAL__ENVIRONMENT"] = "lock"
    check_error(project.headrace("run", "flow"), 2, "`poetry.lock`", "`poetry export`", hint="lock it")


def test_a_pool_that_builds_nothing_and_lacks_what_a_group_needs_is_told(project: Project) -> None:
    project.write("requirements-old.txt", "lone==1.0\n")
    project.environment["HEADRACE__POOL__LOCAL__ENVIRONMENT"] = "present"
    check_error(project.headrace("run", "flow"), 2, "stage `fit`", "needs `lone 1.0`", hint='environment = "auto"')


def test_a_module_that_can_t_be_imported_in_the_stage_s_environment_is_told(project: Project, tmp_path: Path) -> None:
    project.write("pipelines.py", f"    import numpy\n{PIPELINES}")
    project.write("requirements-old.txt", f"{only(tmp_path / 'wheels')}{wheel(tmp_path / 'wheels', 'lone', '1.0')}\n")
    done = project.headrace("run", "flow")
    check_error(done, 2, "stage `fit`, in environment `old`", "No module named 'numpy'", hint="inside the functions")


def test_a_cache_that_can_t_be_written_is_told(project: Project, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    project.write("requirements-old.txt", f"{only(tmp_path / 'wheels')}{wheel(tmp_path / 'wheels', 'lone', '1.0')}\n")
    check_error(project.headrace("run", "flow"), 2, "environments", "Not a directory", hint="HEADRACE_CACHE")


def test_a_value_whose_class_the_other_environment_lacks_is_told_with_what_to_give_instead(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.environment["HEADRACE_CACHE"] = str(tmp_path / "cache")
        wheels = tmp_path / "wheels"
        project.write("requirements.txt", f"{only(wheels)}{wheel(wheels, 'lone', '1.0')}\n")
        project.write("requirements-old.txt", f"{only(wheels)}{wheel(wheels, 'other', '1.0')}\n")
        project.write(
            "pipelines.py",
            """
            import headrace as hr

            @hr.stage
            def make() -> object:
                import lone
                return lone.Thing()

            @hr.stage(environment="old")
            def take(thing: object) -> str:
                return type(thing).__name__

            @hr.pipeline
            def flow() -> None:
                take(make())
            """,
        )
        done = project.headrace("run", "flow", "--json")
        assert done.code == 1
        assert done.task["make"]["state"] == "succeeded", done.out
        reason = done.task["take"]["reason"]
        assert "`lone.Thing`" in reason, reason
        assert "install `lone` where it is read" in reason, reason


def test_source_files_that_are_too_large_together_are_told_with_what_is_large(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        for number in range(66):
            project.write(f"inputs/days/{number}.json", "0" * (1 << 20))
        project.write("notes.txt", "0" * (1 << 19))
        told = "`inputs/days/` (66.0 MiB in 66 files), `notes.txt` (0.5 MiB)"
        for command in ("run", "plan"):
            check_error(project.headrace(command, "flow"), 2, "67 MiB, more than 64", told, hint="`.headraceignore`")
        project.write(".headraceignore", "inputs/\n")
        check_error(project.headrace("run", "flow"), 2, "no lock, and so no environment `old`", hint="lock the project")


def test_a_source_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        (tmp_path / "project/round.py").symlink_to("round.py")
        (tmp_path / "project/gone.py").symlink_to("nowhere.py")  # as one that goes while the folder is gone through
        told = "Too many levels of symbolic links"
        check_error(project.headrace("run", "flow"), 2, "round.py", told, hint="`.headraceignore`")
        project.write(".headraceignore", "round.py\n")
        check_error(project.headrace("run", "flow"), 2, "no lock, and so no environment `old`", hint="lock the project")


def test_a_source_file_whose_name_is_not_utf_8_is_named(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        file, folder = (project.root / os.fsdecode(name) for name in (b"x\xff.txt", b"d\xff"))
        file.write_text("x")
        folder.mkdir()
        for command in ("run", "plan"):
            check_error(project.headrace(command, "flow"), 2, r"`x\xff.txt`", "not UTF-8", hint="rename it")
        project.write(".gitignore", "x?.txt\n")
        told = "no lock, and so no environment `old`"  # what comes next: a folder counts by the files in it alone
        check_error(project.headrace("run", "flow"), 2, told, hint="lock the project")
        (folder / "q.sql").write_text("select 1")
        check_error(project.headrace("run", "flow"), 2, r"`d\xff/q.sql`", "not UTF-8", hint="rename it")


def test_a_policy_that_there_is_not_is_told(tmp_path: Path) -> None:
    with lent(tmp_path, '[pool.local]\nenvironment = "never"\n') as project:
        check_error(project.headrace("run", "flow"), 2, "headrace.toml:2", "'never'", hint='"present"')
