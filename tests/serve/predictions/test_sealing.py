"""Sealed parts hold each logged prediction once, wherever the process that seals them dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.codec.codecs import Codecs
from headrace.errors import LedgerError, StoreError
from headrace.serve.predictions.log import PredictionLog
from headrace.serve.predictions.sealing import seal
from headrace.spec.artifact import Ref
from headrace.spec.endpoint import Part
from headrace.testing.blobs import MemoryBlobs
from tests.serve.predictions.samples import answered, feedback

PATIENCE_S = 60.0


class Archive:
    """An archive in memory that fails at its Nth step, before or after it has done it."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, str, int], Part] = {}
        self.labels: dict[tuple[str, str, int], Part] = {}
        self.blobs = MemoryBlobs()
        self.fails_at = -1
        self.does = False
        self._steps = 0

    def takes(self, version: str) -> pa.Schema | None:
        del version
        return pa.schema([("x", pa.float64())])

    def spared(
        self, predictions: Mapping[str, pa.Table], labels: Mapping[str, pa.Table]
    ) -> tuple[Mapping[str, pa.Table], Mapping[str, pa.Table]]:
        return predictions, labels

    def put(self, table: pa.Table) -> Ref:
        self._step(StoreError("no store"), does=False)
        return Codecs().save(table, self.blobs)

    def record(self, predictions: Sequence[Part], labels: Sequence[Part]) -> bool:
        self._step(LedgerError("no ledger"), does=False)
        for known, found in ((self.parts, predictions), (self.labels, labels)):
            for part in found:
                known.setdefault((part.endpoint, part.writer, part.segment), part)
        self._step(LedgerError("no ledger any more"), does=True)
        return True

    def _step(self, error: Exception, *, does: bool) -> None:
        self._steps += 1
        if self._steps - 1 == self.fails_at or (does and self.does):
            self.fails_at, self.does = -1, False
            raise error

    def ids(self) -> list[str]:
        return self._column(self.parts, "id")

    def told(self) -> list[str]:
        """The labels, as JSON."""
        return self._column(self.labels, "label")

    def _column(self, parts: dict[tuple[str, str, int], Part], name: str) -> list[str]:
        tables = [Codecs().load(part.out, self.blobs) for part in parts.values()]
        return [each for table in tables if isinstance(table, pa.Table) for each in table.column(name).to_pylist()]


def logged(folder: Path, *, counts: Sequence[int]) -> PredictionLog:
    """Return a log with the answers of several writers that are gone."""
    log = PredictionLog(folder)
    for number, count in enumerate(counts):
        writer = log.writer(lambda _: None)
        for each in range(count):
            writer.log(answered(100 * number + each, count=2), each)
            writer.log(feedback(100 * number + each), each)
        assert writer.close(PATIENCE_S)
    log.close()
    return log


@pytest.mark.parametrize("fails_at", range(-1, 10))
def test_each_prediction_and_label_is_sealed_once_wherever_the_archive_fails(tmp_path: Path, fails_at: int) -> None:
    log, archive = logged(tmp_path, counts=(3, 1, 2)), Archive()
    archive.fails_at = fails_at
    sealed = 0
    while [*log.closed()]:
        try:
            sealed += seal(log, archive)
        except (StoreError, LedgerError):
            assert fails_at >= 0
    ids = archive.ids()
    assert len(ids) == len(set(ids)) == 12
    assert {int(each.rpartition("-")[2], 16) for each in ids} == {0, 1, 2, 100, 200, 201}
    assert sorted(map(int, archive.told())) == [0, 1, 2, 100, 200, 201]
    assert [*tmp_path.iterdir()] == []
    assert all(part.first <= part.last for part in archive.parts.values())
    assert seal(log, archive) == 0


def test_a_segment_that_was_never_begun_keeps_no_other_from_being_sealed(tmp_path: Path) -> None:
    log, archive = logged(tmp_path, counts=(2,)), Archive()
    (folder,) = tmp_path.iterdir()
    (folder / "000000000.db").write_bytes(b"")
    assert seal(log, archive) == 6
    assert [*tmp_path.iterdir()] == []


def test_a_segment_that_is_written_to_is_not_sealed(tmp_path: Path) -> None:
    log, archive = PredictionLog(tmp_path), Archive()
    writer = log.writer(lambda _: None)
    writer.log(answered(), 0)
    assert seal(log, archive) == 0
    assert writer.close(PATIENCE_S)
    assert seal(log, archive) == 1
    log.close()


PROGRAM = """
import sys
from pathlib import Path
from headrace.serve.predictions.log import PredictionLog
from headrace.serve.predictions.sealing import seal
from tests.serve.predictions.test_sealing import Archive

class Slow(Archive):
    waits = True

    def put(self, table):
        if self.waits:
            self.waits = False
            print("begun", flush=True)
            sys.stdin.readline()
        return super().put(table)

archive = Slow()
count = seal(PredictionLog(Path(sys.argv[1])), archive)
print(count, *archive.ids(), flush=True)
"""


@pytest.mark.parametrize("dies", [False, True])
def test_two_processes_that_seal_at_once_seal_each_segment_once(dies: bool, tmp_path: Path) -> None:
    log, archive = logged(tmp_path, counts=(3, 1, 2)), Archive()
    other = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "begun\n"
    sealed = seal(log, archive)
    assert 0 < sealed < 18  # all but the segment of the other one
    theirs: list[str] = []
    if dies:
        other.kill()
        other.communicate()
        assert seal(log, archive) == 18 - sealed
    else:
        count, *theirs = other.communicate("\n", PATIENCE_S)[0].split()
        assert int(count) == 18 - sealed
    ids = [*archive.ids(), *theirs]
    assert len(ids) == len(set(ids)) == 12
    assert [*tmp_path.iterdir()] == []
