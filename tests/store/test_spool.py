"""The spool of a folder, while other machines and commands look into it too."""

from __future__ import annotations

from pathlib import Path

from headrace.store.folder.spool import Spool


def test_what_goes_while_it_is_read_and_what_is_there_for_a_look_are_passed_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.spill("run", "w1", b"told")
    for name in (".look-0a1b2c3d", "w2"):  # listed, and gone by the time that it is read
        (tmp_path / "spool" / "run" / name).symlink_to("gone")
    (tmp_path / "spool" / ".look-0a1b2c3d").write_bytes(b"")
    assert list(spool.spills("run")) == [("w1", b"told")]
    assert spool.runs() == ["run"]
