"""Archives of ledgers that were changed after they were written."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO

import msgspec
from msgspec.structs import replace

from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.transfer.archive import Archive, Head, Record, Writer
from headrace.run.events import Succeeded, decode_event, encode_event
from headrace.spec.artifact import Ref


def rewritten(
    source: Path,
    target: Path,
    change: Callable[[Record], list[Record]],
    *,
    head: Callable[[Head], Head] = lambda head: head,
    raw: Callable[[str, bytes], bytes] = lambda _, data: data,
) -> Path:
    """Write an archive anew, whole and with its digests, of rows, a head or parts that were changed."""
    with Archive(source, schema=SCHEMA) as old, target.open("wb") as out:
        writer = Raw(out, head(old.head), raw)
        for name in old.end.parts:
            writer.rows(name, [row for record in list(old.rows(name)) for row in change(record)])
        for blob in old.blobs():
            writer.blob(blob.digest, blob.nonce, blob.size, blob.file)
        writer.end()
    return target


class Raw(Writer):
    """Writes an archive whose parts of rows are changed as bytes, before their digest is taken."""

    def __init__(self, file: BinaryIO, head: Head, change: Callable[[str, bytes], bytes]) -> None:
        self._change = change
        super().__init__(file, head)

    def _add(self, name: str, size: int, file: IO[bytes]) -> str:
        if not name.endswith(".rows"):
            return super()._add(name, size, file)
        data = self._change(name, file.read())
        return super()._add(name, len(data), io.BytesIO(data))


def with_outputs(source: Path, target: Path, outputs: dict[str, Ref]) -> Path:
    """Write an archive anew in which tasks, by their names, have given out these artifacts."""
    with Archive(source, schema=SCHEMA) as old:
        columns = old.head.columns

    def change(record: Record) -> list[Record]:
        table, row = record
        if table == "events":
            event = decode_event(row[2])
            if isinstance(event, Succeeded) and event.task in outputs:
                return [(table, [*row[:2], encode_event(replace(event, out=outputs[event.task]))])]
        elif table in ("tasks", "results"):
            found = dict(zip(columns[table], row, strict=True))
            name = found["name" if table == "tasks" else "task"]
            if name in outputs:
                found["out"] = msgspec.msgpack.encode(outputs[name])
            return [(table, list(found.values()))]
        return [record]

    return rewritten(source, target, change)
