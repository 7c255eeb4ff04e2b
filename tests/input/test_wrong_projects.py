"""Settings, files and surroundings that are wrong: one message with a hint, whatever the command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.projects import Project, check_error, check_json_error, finish

PIPELINES = """\
import headrace as hr
@hr.stage
def one(n: int = 1) -> int:
    return n
@hr.pipeline
def flow(text: str = "") -> None:
    one()
"""

FULL = """\
import errno, pathlib
make = pathlib.Path.mkdir
def mkdir(path, *args, **more):
    if path.name == "full" or path.parent.parent.name == "full":
        raise OSError(errno.ENOSPC, "No space left on device", str(path))
    return make(path, *args, **more)
pathlib.Path.mkdir = mkdir
"""

SETTINGS = {
    "a bracket left open": ("[project\n", "headrace.toml:1: not valid TOML", "key = value"),
    "lists without an end": ("a = " + "[" * 5000, "headrace.toml` has lists or tables nested too deep", "no setting"),
    "a section twice": ("[run]\n[run]\n", "headrace.toml:2: not valid TOML", "key = value"),
    "an unknown key": ("[project]\npipeline = []\n", "headrace.toml:2: unknown key `pipeline`", "`pipelines`?"),
    "an unknown section": ("[projct]\n", "headrace.toml:1: unknown section `projct`", "`project`?"),
    "text for a list": ("[project]\npipelines = 'a.py'\n", "headrace.toml:2: `project.pipelines`", "list of strings"),
    "a missing file": ("[project]\npipelines = ['a.py']\n", "headrace.toml:2: there is no file `a.py`", "relative to"),
    "a file that is no Python": ("[project]\npipelines = ['a.txt']\n", "`a.txt` can't be imported", "`.py`"),
    "cpus that are no number": ("[pool.local]\ncpu = nan\n", "headrace.toml:2: `pool.local.cpu` is nan", "above 0"),
    "endless cpus": ("[pool.local]\ncpu = inf\n", "pool `local` has cpu=inf", "finite"),
    "no memory": ("[pool.local]\nmemory_gib = 0\n", "headrace.toml:2: `pool.local.memory_gib` is 0", "above 0"),
    "an unknown backend": ("[pool.far]\nbackend = 'moon'\n", "backend `moon`", "local"),
    "an unknown store": ("[store]\nurl = 'moon://x'\n", "moon://x", "folder"),
    "an endpoint without `http://`": ("[store]\nurl = 's3://x'\nendpoint = 'db:9000'\n", "`db:9000`", "http://HOST"),
    "a strange time": ("[run]\ntimeout = 'soon'\n", "headrace.toml:2: `timeout` is 'soon'", "1h30m"),
    "a time that is not a number": ("[run]\ntimeout = nan\n", "headrace.toml:2: `timeout` is nan", "seconds"),
}


@pytest.fixture
def project(project: Project) -> Project:
    project.write("headrace.toml", "")
    project.write("pipelines.py", PIPELINES)
    project.write("a.txt", PIPELINES)
    return project


@pytest.mark.parametrize(("text", "message", "hint"), SETTINGS.values(), ids=SETTINGS)
def test_settings_are_told_with_file_and_line(project: Project, text: str, message: str, hint: str) -> None:
    project.write("headrace.toml", text)
    check_error(project.headrace("run", "flow"), 2, message, hint=hint)
    assert not project.home.joinpath("store", "logs").exists()


def test_without_its_files_a_project_still_shows_checks_and_gives_back_what_it_has(project: Project) -> None:
    assert project.headrace("run", "flow").code == 0
    project.write("headrace.toml", "[project]\npipelines = ['gone.py']\n")
    (project.root / "pipelines.py").unlink()
    for words in (["runs"], ["show"], ["fsck"], ["gc"], ["models"], ["ledger", "export", "all.headrace"]):
        done = project.headrace(*words)
        assert done.code == 0, done
    told = "headrace.toml:2: there is no file `gone.py`"
    for words in (["run", "flow"], ["plan", "flow"], ["resume", "latest", "--new-code"]):
        check_error(project.headrace(*words), 2, told, hint="relative to")
    assert told in project.headrace("doctor").out


def test_a_file_of_settings_that_is_no_text_is_told(project: Project) -> None:
    (project.root / "headrace.toml").write_bytes(b"\xff\xfe")
    check_error(project.headrace("runs"), 2, "headrace.toml", "UTF-8", hint="TOML")
    (project.root / "headrace.toml").unlink()
    (project.root / "headrace.toml").mkdir()
    check_error(project.headrace("runs"), 2, "headrace.toml", "is a directory", hint="file of TOML")


def test_settings_that_have_no_end_or_never_begin_are_not_read(project: Project) -> None:
    check_error(project.headrace("runs", "--config", "/dev/zero"), 2, "`/dev/zero` is a device", hint="file of TOML")
    project.write("large.toml", "#" * (1 << 20) + "\n")
    check_error(project.headrace("runs", "--config", "large.toml"), 2, "1,048,577 bytes", hint="at most 1 MiB")
    (project.root / "headrace.toml").unlink()
    os.mkfifo(project.root / "headrace.toml")
    check_error(project.headrace("runs"), 2, "headrace.toml` is a pipe", hint="file of TOML")


def test_settings_may_begin_with_the_mark_that_some_editors_write(project: Project) -> None:
    (project.root / "headrace.toml").write_bytes(b"\xef\xbb\xbf[project]\nname = 'x'\n")
    assert project.headrace("runs").code == 0


def test_a_variable_that_is_wrong_is_told_by_its_name(project: Project) -> None:
    project.environment["HEADRACE__POOL__LOCAL__CPU"] = "many"
    check_error(project.headrace("run", "flow"), 2, "HEADRACE__POOL__LOCAL__CPU", "'many'", hint="number above 0")


def test_no_project_is_told_with_what_makes_one(tmp_path: Path) -> None:
    nowhere = Project(tmp_path)
    for words in (["run", "flow"], ["resume", "latest"], ["explain", "latest", "one"]):
        check_error(nowhere.headrace(*words), 2, "no `headrace.toml`", hint="`headrace init`")
        check_json_error(nowhere.headrace(*words, "--json"), 2, "no `headrace.toml`", error="ProjectError")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_module_is_told(project: Project) -> None:
    for name in ("a.txt", "flow.v2.py"):
        project.write(name, PIPELINES)
        check_error(project.headrace("run", f"{name}:flow"), 2, f"`{name}` can't be imported", hint="`.py`")
    for name in ("nothing.py", ".", ""):
        check_error(project.headrace("run", f"{name}:flow"), 2, f"there is no file `{name}`", hint="path/to/file.py")


def test_a_state_folder_that_can_not_be_is_told(project: Project) -> None:
    project.environment["HEADRACE_HOME"] = str(project.write("file", ""))
    check_error(project.headrace("run", "flow"), 2, f"state folder `{project.root / 'file'}`", hint="HEADRACE_HOME")


def test_a_folder_that_was_deleted_is_told_by_every_command(project: Project) -> None:
    gone = project.root / "gone"
    for words in (["run", "flow"], ["plan", "flow"], ["resume", "latest"], ["show"], ["runs"], ["logs", "latest"]):
        gone.mkdir()
        process = project.start(*words, folder=gone, preexec_fn=gone.rmdir)
        check_error(finish(process), 2, "the current folder was deleted", hint="that exists")


def test_words_in_no_encoding_are_told(project: Project) -> None:
    for words in (["run", "fl\udcff"], ["run", "flow", "--text", "\udcff"], ["show", "\udcff"]):
        check_error(project.headrace(*words), 2, "udcff", "UTF-8", hint="names and parameters")


def test_a_project_in_a_folder_of_no_encoding_is_told(tmp_path: Path) -> None:
    project = Project(tmp_path / "caf\udce9")
    project.write("headrace.toml", "")
    project.write("pipelines.py", PIPELINES)
    check_error(project.headrace("run", "flow"), 2, "udce9", "UTF-8", hint="rename it")


def test_a_state_folder_that_is_read_only_is_told_and_can_be_looked_at(project: Project) -> None:
    assert project.headrace("run", "flow").code == 0
    project.prefix = ("bwrap", "--dev-bind", "/", "/", "--ro-bind", str(project.home), str(project.home))
    for words in (["run", "flow"], ["gc"], ["backup", "kept"]):
        check_error(project.headrace(*words), 2, "state folder", "it is read-only", hint="HEADRACE_HOME")
    assert project.headrace("show").code == 0


@pytest.mark.parametrize("place", ["/proc/x", "headrace.toml/x"])
def test_a_path_that_can_not_be_made_is_a_wrong_setting(project: Project, place: str) -> None:
    project.write("pipelines.py", PIPELINES)
    project.write("headrace.toml", "")
    project.headrace("run", "flow")
    path = (project.root / place).resolve()
    for settings in (
        {"HEADRACE__STORE__URL": str(path)},
        {"HEADRACE__LEDGER__URL": f"sqlite:///{path}.db"},
        {"HEADRACE_HOME": str(path)},
    ):
        for command in ("run", "plan"):
            done = project.headrace(command, "flow", also=settings)
            check_error(done, 2, f"`{path}", hint="")
    check_error(project.headrace("backup", str(path)), 2, "", hint="folder")


@pytest.mark.parametrize("setting", ["HEADRACE__STORE__URL", "HEADRACE__LEDGER__URL"])
def test_a_disk_that_is_full_is_no_wrong_setting(project: Project, setting: str) -> None:
    project.write("pipelines.py", PIPELINES)
    project.write("headrace.toml", "")
    project.write("sitecustomize.py", FULL)
    kind = "sqlite:///" if "LEDGER" in setting else ""
    also = {"PYTHONPATH": str(project.root), setting: f"{kind}{project.root}/full/x"}
    done = project.headrace("run", "flow", also=also)
    check_error(done, 5, "full", hint="")
