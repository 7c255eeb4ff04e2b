"""A table in a file that a user names is read as it was at one time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import UsageError
from headrace.operate.table_in_file import TableInFile


@pytest.mark.parametrize("change", ["grown", "rewritten", "replaced"])
def test_a_csv_file_that_changes_between_its_two_reads_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("n\n1\n2\n")
    given = TableInFile(path)
    table = given.table
    at = path.stat().st_mtime_ns
    target = tmp_path / "new.csv" if change == "replaced" else path
    target.write_text("n\n3\n44\n" if change == "grown" else "n\n3\n4\n")
    os.utime(target, ns=(at, at + (change == "rewritten")))
    target.rename(path)
    with pytest.raises(UsageError, match=r"rows.csv` changed while it was read"):
        given.carried(".csv", ["n"], table)


def test_a_csv_file_that_changes_during_its_second_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("n\n1\n2\n")
    given = TableInFile(path)
    table, read = given.table, given._read

    def while_written(*arguments: Any) -> Any:
        found = read(*arguments)
        path.write_text("n\n3\n44\n")
        return found

    monkeypatch.setattr(given, "_read", while_written)
    with pytest.raises(UsageError, match=r"rows.csv` changed while it was read"):
        given.carried(".csv", ["n"], table)


def test_a_csv_file_that_stays_the_same_is_carried_with_its_texts(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("n\n01\n2\n")
    given = TableInFile(path)
    assert given.carried(".csv", ["n"], given.table)["n"].to_pylist() == ["01", "2"]
