"""The base classes of the data types: frozen, created with keyword arguments, checked when they are created."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from msgspec import MsgspecError, Struct

from headrace.errors import RESTORE, RecordDamaged

_Data = TypeVar("_Data")
_Value = TypeVar("_Value")
_UNDECODABLE = (MsgspecError, UnicodeDecodeError, RecursionError)
"""The exceptions that msgspec raises for bytes that it can't decode. For invalid UTF-8 and for values that are nested
too deep, it raises exceptions of Python, which aren't subclasses of `MsgspecError`."""

UNREADABLE = (*_UNDECODABLE, RecordDamaged)
"""The exceptions for bytes that can't be decoded: those of msgspec, and the one of a decoder made by `stored`."""


def stored(decode: Callable[[_Data], _Value], what: str) -> Callable[[_Data], _Value]:
    """Return a decoder for bytes that the ledger holds. `decode` decodes them, and `what` names them in an error.

    The returned decoder raises `RecordDamaged` if it can't decode the bytes.
    """

    def decoded(data: _Data) -> _Value:
        try:
            return decode(data)
        except _UNDECODABLE as error:
            raise RecordDamaged(
                f"{what} can't be read: {error}",
                hint=RESTORE,
            ) from error

    return decoded


class Noun(Struct, frozen=True, kw_only=True):
    """A frozen value with named fields. `msgspec.structs.replace` makes a changed copy."""


class Document(Noun, frozen=True, kw_only=True):
    """A value that is stored as one JSON text, so that later releases and other programs can read it. Reading the value
    runs no user code.

    `form` is the number of the JSON format that the text was written in. `FORM` is the newest format of the class; the
    class reads that format and all earlier ones.
    """

    FORM: ClassVar[int] = 1
    form: int = 1


class Row(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A value that is stored and sent as a list of its fields. The names of the fields are left out, to save space and
    time.

    So a new field must come last and have a default. Frozen values can't contain reference cycles, so the garbage
    collector doesn't track them (`gc=False`).
    """
