"""Sealing: closed segments of the prediction log become parts, which are tables in the store, and are recorded in the
ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import LogError
from headrace.serve.predictions.log import PredictionLog
from headrace.serve.predictions.part import label_parts, parts
from headrace.serve.predictions.segment import Contents, read
from headrace.spec.artifact import Ref
from headrace.spec.endpoint import Part


class Archive(Protocol):
    """Where sealed parts go: the store and the ledger of a project."""

    def takes(self, version: str) -> pa.Schema | None:
        """Return the columns that a version of a model takes (`delays:3`), or None if they aren't known."""
        ...

    def spared(
        self, predictions: Mapping[str, pa.Table], labels: Mapping[str, pa.Table]
    ) -> tuple[Mapping[str, pa.Table], Mapping[str, pa.Table]]:
        """Return a segment's predictions and labels, by endpoint, without those of persons who have been erased."""
        ...

    def put(self, table: pa.Table) -> Ref:
        """Store a table. Once this returns, the table is durable."""
        ...

    def record(self, predictions: Sequence[Part], labels: Sequence[Part]) -> bool:
        """Record all of these parts in the ledger, or none. A part that is in the ledger already is skipped. Return
        False if nothing was recorded because another person was erased after the call of `spared`."""
        ...


def seal(log: PredictionLog, archive: Archive) -> int:
    """Move the predictions and labels of all closed segments to the archive, and return their number. A segment that
    another process is sealing is skipped.

    A segment is deleted only when the ledger has all of its parts. So if a process dies before that, the segment is
    sealed again, and the ledger still has each part only once.

    Raises:
        LogError: a segment or a writer's folder can't be read. It isn't deleted, and all other segments are sealed
            before this error is raised.
        StoreError, LedgerError: the archive can't be written; the segment isn't deleted.
    """
    count, failed = 0, list[LogError]()
    try:
        for path in log.closed():
            try:
                count += _seal(log, path, archive)
            except LogError as error:  # the others must not wait for it
                failed.append(error)
    except LogError as error:
        failed.append(error)
    if failed:
        raise failed[0]
    return count


def _seal(log: PredictionLog, path: Path, archive: Archive) -> int:
    with log.claimed(path) as is_mine:
        sealed = _archive(read(path), archive) if is_mine else None
        if sealed is not None:
            log.drop(path)
        return sealed or 0


def _archive(contents: Contents, archive: Archive) -> int | None:
    """Put the predictions and labels of a segment into the archive, and return their number. Return None if nothing was
    recorded, so that this must be done again."""
    versions = {each.answered.version for each in contents.logged}
    takes = {version: kinds for version in versions if (kinds := archive.takes(version)) is not None}
    every, told = archive.spared(parts(contents, takes), label_parts(contents))
    predictions, labels = _put(contents, every, archive), _put(contents, told, archive)
    if not archive.record(predictions, labels):
        return None
    return sum(part.count for part in (*predictions, *labels))


def _put(contents: Contents, tables: Mapping[str, pa.Table], archive: Archive) -> list[Part]:
    return [
        Part(
            endpoint=endpoint,
            writer=contents.writer,
            segment=contents.number,
            out=archive.put(table),
            count=table.num_rows,
            first=_seconds(pc.min(table.column("at"))),
            last=_seconds(pc.max(table.column("at"))),
        )
        for endpoint, table in tables.items()
        if table.num_rows
    ]


def _seconds(at: pa.Scalar) -> float:
    return float(at.value) / 1e6
