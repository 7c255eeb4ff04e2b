"""The model process: it loads one version of a model and answers for rows, over a socket. The process that starts it
gives it a folder with the blobs of the model, and a Linux namespace that hides the rest of the project.

`python -m headrace.work.serving.model_host DESCRIPTOR FOLDER [LIMIT_BYTES]`
"""

from __future__ import annotations

import resource
import socket
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import pyarrow as pa

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError, UsageError, sentence
from headrace.models.answering import Answering, Answers, Preparation
from headrace.models.fitting import table_of
from headrace.models.hosting import (
    MOST_REPLY_BYTES,
    Answer,
    Ask,
    Columns,
    Load,
    Loaded,
    Plain,
    Reply,
    Trouble,
    decode_order,
)
from headrace.models.model import model_of
from headrace.models.own_code import OwnCodeFailed
from headrace.models.streams import is_plain, stream_of, table_in
from headrace.models.types import plain_type
from headrace.run.wire import Frames, frame
from headrace.spec.artifact import decode_ref
from headrace.spec.bundle import OwnCode, own_code_in
from headrace.spec.signature import Column, Signature, signature_in
from headrace.store.folder.folder import FolderStore

_READ_BYTES = 1 << 20
_ENVELOPE_BYTES = 1 << 10
"""The most bytes of a reply besides the stream in it."""
_FILE_BYTES = 1 << 28
"""The most bytes of a file that the process writes. All its files are in memory."""


class Host:
    """Carries out the orders of the process that started this one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = FolderStore(folder)
        self._asked: Answering | None = None
        self._takes: Sequence[Column] = ()
        self._gives: dict[str, str] = {}

    def reply(self, order: Load | Ask) -> Reply:
        """Carry out an order, and return the reply. If the model raises an exception, the reply contains it, and this
        process goes on."""
        try:
            return self._load(order) if isinstance(order, Load) else self._answer(order)
        except HeadraceError as error:
            told = f"{error.message} (hint: {error.hint})" if error.hint else error.message
            theirs = not isinstance(error, OwnCodeFailed)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the code of libraries and models may raise anything
            told, theirs = f"{type(error).__name__}: {sentence(error)}", False
        told = told.encode(errors="replace").decode()  # it may have half a character, which no message can hold
        return Trouble(number=None if isinstance(order, Load) else order.number, why=told, is_theirs=theirs)

    def _load(self, order: Load) -> Loaded:
        began = time.perf_counter()
        codecs, signature = Codecs(), signature_in(order.signature)
        model: Any = codecs.load(decode_ref(order.model), self._store)
        prepared = None if order.preparation is None else decode_ref(order.preparation)
        own, preparation = own_code_in(prepared), None
        if not hasattr(model, "predict") and (own is None or own.functions.predict is None):
            raise UsageError(f"the model is a `{type(model).__name__}`, which has no `predict`")
        self._takes = () if signature is None else signature.takes
        if own is not None:
            self._takes = own.signature.takes
            self._asked = self._with_own_code(own, model, signature)
        else:
            if prepared is not None:
                preparation = cast(Preparation, codecs.load(prepared, self._store))
                self._takes = [Column(name=name, type=kind) for name, kind in preparation.columns.items()]
            self._asked = Answering(model_of(model), preparation, signature)
        if signature is not None and (own is None or own.functions.predict is None):
            self._gives = {column.name: column.type for column in signature.gives}
        trouble = "" if order.row is None else self._warm_up(order.row)
        takes = self._needed() if preparation is not None else ()
        return Loaded(
            seconds=time.perf_counter() - began,
            gives=tuple(self._gives),
            trouble=trouble,
            takes=takes,
            types=tuple(self._gives.values()),
        )

    def _with_own_code(self, own: OwnCode, model: Any, signature: Signature | None) -> Answering:
        from headrace.work.serving.own_code import load_own_code  # noqa: PLC0415  9 ms that few versions need

        prepare, asked = load_own_code(own, model, self._store, self._folder)
        return Answering(asked, None, own.signature if prepare is None else signature, prepare)

    def _needed(self) -> tuple[tuple[str, str], ...]:
        """Return the names and types of the preparation's columns that rows must have. Rows may lack the other columns,
        such as the target."""
        found = []
        for left_out in self._takes:
            rows: Columns = {column.name: [] for column in self._takes if column is not left_out}
            try:
                self._answers(self._table(rows))
            except HeadraceError:
                found.append((left_out.name, left_out.type))
        return tuple(found)

    def _warm_up(self, row: Columns) -> str:
        """Let the model answer for a made-up row. Return why it can't answer, or "". A reason isn't an error: a model
        need not accept such a row."""
        try:
            table = self._answers(self._table(row)).table
        except HeadraceError as error:
            return error.message
        except Exception as error:  # noqa: BLE001  the code of libraries and models may raise anything
            return f"{type(error).__name__}: {sentence(error)}"
        if table.num_rows:
            self._gives = {field.name: str(plain_type(field.type)) for field in table.schema}
        return ""

    def _answer(self, order: Ask) -> Answer:
        rows = self._table(order.columns) if order.columns is not None else table_in(order.arrow or b"")
        began = time.perf_counter()
        found = self._answers(rows)
        took = time.perf_counter() - began
        table = self._complete(found.beside(len(rows)))
        if order.columns is None:
            stream = stream_of(table)
            if len(stream) > MOST_REPLY_BYTES - _ENVELOPE_BYTES:
                raise UsageError(f"the answers take {len(stream):,} bytes, which are too many", hint="send fewer rows")
            return Answer(number=order.number, columns=None, arrow=stream, seconds=took)
        columns = {name: _plain(table.column(name)) for name in table.column_names}
        return Answer(number=order.number, columns=columns, arrow=None, seconds=took)

    def _answers(self, rows: pa.Table) -> Answers:
        assert self._asked is not None, "a question came before the model was loaded"
        return self._asked.answers(rows)

    def _complete(self, table: pa.Table) -> pa.Table:
        """Return answers in plain types and with all columns that the model gives. If the preparation refused all rows,
        the model gave no columns, so they are added with nulls."""
        for place, field in enumerate(table.schema):
            if (kind := plain_type(field.type)) != field.type:
                table = table.set_column(place, field.name, table.column(place).cast(kind))
            if not is_plain(kind):
                raise UsageError(
                    f"the model's answers `{field.name}` are of the type `{kind}`",
                    hint="let the model give a class or a number for each row",
                )
        for name in self._gives:
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table)))
        return table

    def _table(self, columns: Columns) -> pa.Table:
        """Return columns as a table. `columns` may lack some that the model or its preparation takes, such as the
        target. If nothing is known about the columns that are taken, the table has all of `columns`, in the types that
        Arrow infers."""
        takes = self._takes or [Column(name=name, type="") for name in columns]
        return table_of(columns, [each for each in takes if each.name in columns])


def _limit(bytes_: int | None) -> None:
    """Limit this process's memory and files. An owner that limits the memory (to `bytes_`; None: no limit) kills a
    process above the limit, but a moment later. Until then, the process can't have more than twice the limit."""
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: _FILE_BYTES}
    if bytes_ is not None:
        limits[resource.RLIMIT_DATA] = 2 * bytes_
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _plain(column: pa.ChunkedArray) -> list[Plain]:
    """Return the values of a column, with times and decimals as texts."""
    values: list[Plain] = msgspec.to_builtins(column.to_pylist(), enc_hook=_text)
    return values


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)  # a `Timestamp` of pandas, say


def main() -> None:
    """Answer orders until the other end of the socket is closed."""
    _limit(int(sys.argv[3]) if len(sys.argv) > 3 else None)
    line, host, frames = socket.socket(fileno=int(sys.argv[1])), Host(Path(sys.argv[2])), Frames()
    while data := line.recv(_READ_BYTES):
        for body in frames.feed(data):
            line.sendall(frame(host.reply(decode_order(body))))


if __name__ == "__main__":
    main()
