"""The messages between a model process and the process that asks it. The replies aren't trusted: the asking process
checks them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

Columns = dict[str, list[Any]]
"""Rows by column: for each column's name, a list with the value of each row, as MessagePack holds it."""
Plain = None | bool | int | float | str
"""The types of the values in an answer. A reply with a value of another type is refused before memory is allocated for
it."""


MOST_REPLY_BYTES = 1 << 26
"""The most bytes that a reply of a model process may have."""


class Load(Struct, frozen=True, array_like=True, tag="load"):
    """The order to load a version of a model. `model` and `preparation` are encoded artifacts. Their blobs are in the
    model process's folder, and so is the unpacked bundle if the version has own code. `signature` is the model's
    encoded signature. `row` is a row to warm up the model, as columns of one value each. All fields except `model` may
    be None."""

    model: bytes
    preparation: bytes | None
    signature: bytes | None
    row: Columns | None


class Ask(Struct, frozen=True, array_like=True, tag="ask"):
    """The order to answer for rows. `number` is the number of this question; the reply has the same number. The rows
    are in `columns`, or in `arrow` as a stream of Arrow; the other one is None."""

    number: int
    columns: Columns | None
    arrow: bytes | None = None


class Loaded(Struct, frozen=True, array_like=True, tag="loaded"):
    """The reply that the model is loaded, which took `seconds`. `gives` has the names of the columns of the model's
    answers, and `types` has their types in Arrow; both are empty if they aren't known. If the model can't answer for
    the row that warms it up, `trouble` says why; otherwise `trouble` is empty. If the model has a preparation, `takes`
    has the names and types of the columns that rows must have."""

    seconds: float
    gives: tuple[str, ...]
    trouble: str = ""
    takes: tuple[tuple[str, str], ...] = ()
    types: tuple[str, ...] = ()


class Answer(Struct, frozen=True, array_like=True, tag="answer"):
    """The reply with the answers for the rows of question `number`. If the question had `columns`, the answers are in
    `columns`, with times and decimals as texts. If the question had `arrow`, they are in `arrow`. A row that the
    preparation refused has nulls. `seconds` is how long the model took."""

    number: int
    columns: dict[str, list[Plain]] | None
    arrow: bytes | None
    seconds: float


class Trouble(Struct, frozen=True, array_like=True, tag="trouble"):
    """The reply that says why question `number` has no answer. If `number` is None, it says why the model can't be
    loaded. `is_theirs` is True if the rows are the cause."""

    number: int | None
    why: str
    is_theirs: bool


Order = Load | Ask
Reply = Loaded | Answer | Trouble

decode_order = msgspec.msgpack.Decoder(Order).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
