"""What comes out of the record harms nothing: files of the user's, terminals, folders that links lead to, readers."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from headrace.cli.terminal.terminal import Harmless
from headrace.inspect.get.output_file import written
from tests.cli.conftest import COMMAND, Shell

PIPELINES = r"""
from pathlib import Path

import headrace as hr


@hr.stage
def named() -> hr.File:
    Path(".bashrc").write_text("echo owned")
    return hr.File(".bashrc")


@hr.stage
def folder() -> hr.Folder:
    Path("src").mkdir()
    Path("src/a.txt").write_text("a")
    return hr.Folder("src")


@hr.stage
def number(n: int) -> int:
    print("\x1b[31mred\x1b[0m \x1b]0;owned\x07 \x1b[2J\x9b1mend", flush=True)
    return n


@hr.pipeline
def flow(n: int = 1) -> None:
    named()
    folder()
    number(n)
"""


@pytest.fixture
def ran(empty: Shell) -> Shell:
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", PIPELINES)
    assert empty("run", "flow", "--n", "7").code == 0
    return empty


def test_what_is_written_to_an_open_file_such_as_stdout_is_added_to_it(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with log.open("ab", buffering=0) as file:
        file.write(b"before\n")
        with written(Path(f"/dev/fd/{file.fileno()}"), "report") as (_, aside):
            aside.write_bytes(b"report\n")
        file.write(b"after\n")
    assert log.read_bytes() == b"before\nreport\nafter\n"


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (("get", "latest", "number"), b"7"),
        (("show", "latest"), b"</html>\n"),
        (("card", "latest"), b"\n"),
    ],
)
def test_stdout_that_is_named_as_the_file_has_the_file_and_nothing_else(
    ran: Shell, words: tuple[str, ...], ends: bytes
) -> None:
    told = {}
    (ran.folder / "link").symlink_to("/dev/../dev/stdout")
    (ran.folder / "folder").symlink_to("/dev/fd")
    for to in (
        "/dev/stdout",
        "/dev/fd/1",
        "/dev/../dev/stdout",
        "link",
        "folder/1",
        "/proc/thread-self/fd/1",
        "file.html" if words[0] != "get" else "file.json",
    ):
        with (ran.folder / "out").open("wb") as out:
            done = subprocess.run([*COMMAND, *words, "--to", to], check=False, cwd=ran.folder, stdout=out, timeout=60)
        assert done.returncode == 0
        told[to] = (ran.folder / "out").read_bytes()
    assert told.popitem()[1].startswith(b"file.")
    assert set(told.values()) == {told["/dev/stdout"]}
    assert told["/dev/stdout"].endswith(ends)
    assert b"/dev/" not in told["/dev/stdout"][-30:]


def test_a_descriptor_that_no_file_has_is_one_clear_error(ran: Shell) -> None:
    done = ran("get", "latest", "number", "--to", "/dev/fd/99999999999")
    assert done.code == 2
    assert "can't write `/dev/fd/99999999999`" in done.err


def test_a_file_is_written_where_the_file_system_has_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with written(tmp_path, "model.bin") as (path, aside):
        aside.write_bytes(b"bytes")
    assert [each.name for each in tmp_path.iterdir()] == ["model.bin"]
    assert path.read_bytes() == b"bytes"


@pytest.mark.parametrize("task", ["named", "folder", "number"])
def test_get_writes_over_nothing_that_was_not_named(ran: Shell, task: str) -> None:
    got = ran("get", "latest", task)
    assert got.code == 0
    file = ran.folder / got.out.strip()
    assert not file.name.startswith(".")
    is_folder = file.is_dir()
    mine = file / "a.txt" if is_folder else file
    mine.write_text("mine")
    again = ran("get", "latest", task)
    assert again.code == 2
    assert f"`{file.name}` is there already" in again.err
    assert f"hint: `--to {file.name}` writes over it" in again.err or is_folder
    assert mine.read_text() == "mine"
    assert list(ran.folder.glob(".*.????????")) == []  # nothing is left of what was written aside
    if not is_folder:
        assert ran("get", "latest", task, "--to", file.name).code == 0
        assert mine.read_text() != "mine"


@pytest.mark.parametrize("task", ["named", "folder", "number"])
def test_a_folder_that_is_not_there_is_named_and_not_made(ran: Shell, task: str) -> None:
    got = ran("get", "latest", task, "--to", "nowhere/of/mine")
    assert (got.code, got.out) == (2, "")
    assert got.err == (
        "error: can't write `nowhere/of/mine`: there is no folder `nowhere/of`\n"
        "hint: make it, or give another path by `--to`\n"
    )
    assert not (ran.folder / "nowhere").exists()


def test_getting_the_same_again_is_no_error(ran: Shell) -> None:
    first, again = ran("get", "latest", "number"), ran("get", "latest", "number")
    assert (again.code, again.out) == (0, first.out)


def test_get_follows_no_link_of_the_artifacts_name(ran: Shell) -> None:
    target = ran.folder / "precious"
    target.write_text("mine")
    (ran.folder / "number.json").symlink_to(target)
    assert ran("get", "latest", "number").code == 2
    assert target.read_text() == "mine"


def test_logs_on_a_terminal_hold_colours_and_nothing_else_that_acts(ran: Shell) -> None:
    shown = ran.on_terminal("logs", "latest", "number")
    assert "\x1b[31mred\x1b[0m" in shown
    assert "\\x1b]0;owned\\x07" in shown
    assert "\\x1b[2J" in shown
    assert "\x1b]" not in shown
    plain = ran("logs", "latest", "number").out  # in a pipe it stands as it was printed
    assert "\x1b]0;owned\x07" in plain


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_what_is_printed_in_pieces_is_shown_as_a_whole(size: int) -> None:
    data = "é \x1b[1;31mwarm\x1b[0m \x1b[5;5H \x1b[?25l ~\r\n\ttail\x1b[".encode() + b"\xff"
    shown = Harmless()
    text = b"".join(shown.text(data[at : at + size]) for at in range(0, len(data), size)).decode()
    assert "\x1b[1;31mwarm\x1b[0m" in text
    assert "\\x1b[5;5H \\x1b[?25l" in text
    assert "é " in text
    assert re.findall(r"\x1b\[?[0-9;?]*[a-zA-Z]?", text) == ["\x1b[1;31m", "\x1b[0m"], "nothing else acts"
    assert text.endswith("\r\n\ttail\\x1b[\\xff")


@pytest.mark.parametrize("place", ["ledger.db", "store", "store/tmp", "leases"])
def test_a_link_in_the_state_folder_is_refused(ran: Shell, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    path = ran.folder / ".headrace" / place
    path.rename(outside)
    path.symlink_to(outside)
    for words in (["runs"], ["gc", "--keep-runs", "0"], ["run", "flow"]):
        done = ran(*words)
        assert done.code == 2
        assert f"{place}` is a link, and links aren't allowed in the state folder" in done.err


def test_nobody_else_may_read_what_is_kept(ran: Shell) -> None:
    home = ran.folder / ".headrace"
    assert stat.S_IMODE(os.stat(home).st_mode) == 0o700
    for name in ("ledger.db", "ledger.db-wal"):
        if (home / name).exists():
            assert stat.S_IMODE(os.stat(home / name).st_mode) == 0o600
