"""The messages between a model process and the process that asks it, which checks the answers: they are untrusted."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

Columns = dict[str, list[Any]]
"""Rows: for each column, a value for each row, as MessagePack holds it."""
Plain = None | bool | int | float | str
"""A value of an answer. A reply with any other is refused before it takes memory."""


MOST_REPLY_BYTES = 1 << 26
"""How many bytes a reply of a model process may have."""


class Load(Struct, frozen=True, array_like=True, tag="load"):
    """Load a version of a model. `model` and `preparation` are encoded artifacts, whose blobs are in the process's
    folder, and also the unpacked bundle if the version has code of the project; `signature` is the model's encoded
    signature. `row` are columns with one row, to warm up the model."""

    model: bytes
    preparation: bytes | None
    signature: bytes | None
    row: Columns | None


class Ask(Struct, frozen=True, array_like=True, tag="ask"):
    """Answer for rows. `number` names the question in the reply. The rows are `columns`, or `arrow`, a stream."""

    number: int
    columns: Columns | None
    arrow: bytes | None = None


class Loaded(Struct, frozen=True, array_like=True, tag="loaded"):
    """The model is loaded, which took `seconds`. `gives` are the columns of its answers, and `types` their types in
    Arrow; both are empty if they aren't known. `trouble` says why the model has no answer for the row that should warm
    it up, if it has none. If it has a preparation, `takes` are the names and types of the columns that rows must
    have."""

    seconds: float
    gives: tuple[str, ...]
    trouble: str = ""
    takes: tuple[tuple[str, str], ...] = ()
    types: tuple[str, ...] = ()


class Answer(Struct, frozen=True, array_like=True, tag="answer"):
    """The answers for the rows of question `number`, in the form in which the rows came; a row that the preparation
    refused has nulls. In `columns`, times and decimals are texts. `seconds` is how long the model took."""

    number: int
    columns: dict[str, list[Plain]] | None
    arrow: bytes | None
    seconds: float


class Trouble(Struct, frozen=True, array_like=True, tag="trouble"):
    """Why a question has no answer, or why the model can't be loaded (then `number` is None). `is_theirs` is True if
    the rows are to blame."""

    number: int | None
    why: str
    is_theirs: bool


Order = Load | Ask
Reply = Loaded | Answer | Trouble

decode_order = msgspec.msgpack.Decoder(Order).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
