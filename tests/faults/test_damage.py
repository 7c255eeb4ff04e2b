"""Blobs, ledgers and bundles that are damaged: told with a hint, and made anew where that can be."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from headrace.errors import RESTORE
from tests.projects import Project, check_error, check_json_error

PIPELINES = """\
import os
import headrace as hr

def note(what: str) -> None:
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(f"{what}\\n")

@hr.stage
def small() -> int:
    note("small")
    return 1

@hr.stage
def big(n: int) -> bytes:
    note("big")
    return bytes([n]) * 300_000

@hr.stage
def use(data: bytes, more: int) -> int:
    note("use")
    assert data == bytes([1]) * 300_000
    return len(data) + more

@hr.pipeline
def flow(more: int = 0) -> None:
    use(big(small()), more)
"""


@pytest.fixture
def project(project: Project, tmp_path: Path) -> Project:
    project.write("pipelines.py", PIPELINES)
    project.environment["JOURNAL"] = str(tmp_path / "journal")
    done = project.headrace("run", "flow", "--json")
    assert done.code == 0, done
    return project


def calls(project: Project) -> list[str]:
    """Name the stages that have been called since this was last asked."""
    journal = Path(project.environment["JOURNAL"])
    found = journal.read_text().split()
    journal.write_text("")
    return found


def blob(project: Project) -> Path:
    """Return the file of the big output."""
    return max((project.home / "store" / "blobs").glob("*/*"), key=lambda file: file.stat().st_size)


def flip(file: Path) -> None:
    """Change one bit of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)


@pytest.mark.parametrize("then", ["run", "resume"])
def test_a_flipped_byte_is_told_where_it_is_read_and_made_anew_after(project: Project, then: str) -> None:
    flip(blob(project))
    name = blob(project).name[:12]
    calls(project)
    check_error(project.headrace("get", "latest", "big", "--to", "x"), 5, f"`{name}`", "damaged", hint="fsck --deep")
    done = project.headrace("run", "flow", "--more", "1", "--json")
    assert done.code == 1
    assert done.task["big"]["state"] == "reused"
    reason, _, hint = done.task["use"]["reason"].partition("\nhint: ")
    assert f"the blob `{name}`" in reason
    assert "is damaged" in reason
    assert hint.startswith("run the pipeline again")
    assert calls(project) == []
    words = ("run", "flow", "--more", "1") if then == "run" else ("resume", done.json["run"])
    again = project.headrace(*words, "--json")
    assert again.code == 0, again
    assert again.task["small"]["state"] == "reused"
    assert calls(project) == ["big", "use"]


def test_fsck_finds_a_flipped_byte_and_keeps_it_from_being_reused(project: Project) -> None:
    flip(blob(project))
    calls(project)
    assert project.headrace("fsck").code == 0  # sizes only
    found = project.headrace("fsck", "--deep", "--json")
    assert found.code == 5
    assert {problem["about"] for problem in found.json["problems"]} == {"blob", "result"}
    assert all(problem["hint"] for problem in found.json["problems"])
    assert project.headrace("fsck", "--deep", "--repair").code == 5
    again = project.headrace("run", "flow", "--json")
    assert again.code == 0
    assert calls(project) == ["big"]  # what it made is what it had made: the rest is reused
    assert {task["state"] for task in again.json["tasks"]} == {"reused", "succeeded"}


@pytest.mark.parametrize("how", ["shorter", "gone"])
def test_a_blob_that_is_shorter_or_gone_is_made_anew_at_once(project: Project, how: str) -> None:
    file = blob(project)
    file.chmod(0o644)
    file.unlink() if how == "gone" else file.write_bytes(file.read_bytes()[:1000])
    calls(project)
    words = ("missing" if how == "gone" else "1000 bytes",)
    found = project.headrace("fsck", "--json")
    assert found.code == 5
    assert words[0] in found.json["problems"][0]["what"]
    check_error(project.headrace("get", "latest", "big", "--to", "x"), 5, "blob", hint="headrace fsck")
    again = project.headrace("run", "flow", "--more", "1", "--json")
    assert again.code == 0, again
    assert calls(project) == ["big", "use"]


def test_damaged_code_of_a_run_is_told_and_new_code_goes_on(project: Project) -> None:
    project.write("pipelines.py", PIPELINES.replace("return len(data)", "raise ValueError(len(data))"))
    done = project.headrace("run", "flow", "--more", "1", "--json")
    assert done.code == 1
    shutil.rmtree(project.home / "store" / "bundles")
    for file in (project.home / "store" / "blobs").glob("*/*"):
        if file != blob(project):
            flip(file)
    check_error(project.headrace("resume", "latest"), 5, "the run's code can't be read", hint="--new-code")
    project.write("pipelines.py", PIPELINES)
    assert project.headrace("resume", "latest", "--new-code").code == 0


def test_a_task_whose_only_checkpoint_is_damaged_begins_from_the_beginning_when_it_is_resumed(project: Project) -> None:
    body = """attempt = hr.attempt()
    note('fresh' if attempt.checkpoint() is None else 'goes on')
    attempt.keep(os.urandom(900_000))
    assert not os.path.exists(os.environ['JOURNAL'] + '-broken')
    return len(data)"""
    project.write("pipelines.py", PIPELINES.replace("return len(data)", body))
    broken = Path(project.environment["JOURNAL"] + "-broken")
    broken.touch()
    assert project.headrace("run", "flow", "--more", "1").code == 1
    flip(blob(project))
    broken.unlink()
    found = project.headrace("resume", "latest", "--json")
    assert found.code == 1
    assert "is damaged" in found.task["use"]["reason"]
    calls(project)
    done = project.headrace("resume", "latest", "--json")
    assert done.code == 0, done
    assert calls(project) == ["use", "fresh"]


COMMANDS = [["run", "flow"], ["plan", "flow"], ["resume", "latest"], ["show"], ["runs"], ["explain", "latest", "use"]]


def test_a_ledger_of_a_newer_version_is_left_alone(project: Project) -> None:
    ledger = sqlite3.connect(project.home / "ledger.db")
    ledger.execute("PRAGMA user_version=999")
    ledger.close()
    before = (project.home / "ledger.db").read_bytes()
    for words in [*COMMANDS, ["fsck", "--repair"], ["gc"]]:
        check_error(project.headrace(*words), 2, "newer Headrace", "999", hint="pip install --upgrade headrace")
    check_json_error(project.headrace("runs", "--json"), 2, "999", error="LedgerVersionError")
    assert (project.home / "ledger.db").read_bytes() == before


def test_a_ledger_that_is_none_is_told_and_left_alone(project: Project) -> None:
    for file in project.home.glob("ledger.db*"):
        file.unlink()
    (project.home / "ledger.db").write_bytes(b"no database at all " * 1000)
    for words in [*COMMANDS, ["fsck", "--repair"], ["gc"]]:
        check_error(project.headrace(*words), 5, "not an SQLite database", hint="backup")
    assert (project.home / "ledger.db").read_bytes().startswith(b"no database")


def test_a_ledger_with_torn_pages_is_told(project: Project) -> None:
    file = project.home / "ledger.db"
    data = bytearray(file.read_bytes())
    for place in range(4096, len(data), 256):
        data[place] ^= 0xFF
    file.write_bytes(data)
    for words in COMMANDS[:-1]:
        check_error(project.headrace(*words), 5, "is damaged", hint="backup")
    found = project.headrace("fsck", "--json")
    assert found.code == 5
    for problem in found.json["problems"]:
        assert problem["what"].startswith("is damaged: ")
        assert problem["hint"] == RESTORE


def test_a_ledger_that_is_empty_is_a_new_one(project: Project) -> None:
    for file in project.home.glob("ledger.db*"):
        file.unlink()
    (project.home / "ledger.db").touch()
    check_error(project.headrace("show"), 2, "no run", hint="headrace run")
    assert project.headrace("run", "flow").code == 0
