"""Benchmarks that fill a ledger by hand do it as the ledger is now; and one that fails costs no other's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as command
from bench import collect
from bench.table import Row


def test_a_ledger_that_is_filled_for_the_collector_is_one_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in (("RUNS", 4), ("TASKS", 5), ("DOOMED", 1)):
        monkeypatch.setattr(collect, name, number)
    took, peak = collect.rows(tmp_path, 1)
    assert took.measured > 0
    assert peak.unit == "MiB"


def test_a_benchmark_that_fails_is_told_and_costs_no_other_s_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def apart(name: str, place: Path, rounds: int) -> list[Row]:
        if name == "collect":
            raise ValueError("a table has a column more")
        return [Row(what=name, measured=1.0, bar=2.0)]

    monkeypatch.setattr(command, "apart", apart)
    monkeypatch.setattr(command, "PLACE", tmp_path)
    monkeypatch.setattr("sys.argv", ["bench", "collect", "claims"])
    with pytest.raises(SystemExit, match="these benchmarks failed: collect"):
        command.main()
    shown = capsys.readouterr()
    assert "claims" in shown.out
    assert "ValueError: a table has a column more" in shown.err
