"""The signature of a model: what rows it takes, and what it gives for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from headrace.spec.noun import UNREADABLE, Document, Noun

MOST_BYTES = 1 << 12
"""A longer signature isn't recorded, because each reference to the model repeats the signature, and a ledger has many
references."""


class Column(Noun, frozen=True):
    """A column of a model's rows, or of its answers.

    `type` is the name of the column's type in Arrow. If a column of texts has few different values, `categories` lists
    them. It is None if the values aren't categories, or if none is known; it is never empty.
    """

    name: str
    type: str
    categories: tuple[str, ...] | None = None


class Signature(Document, frozen=True):
    """What a model takes and gives: the columns of its rows, and those of its answers.

    `gives` is empty if the model's answers aren't known. `example` is a made-up row that could be given to the model.
    Of its values, only categories come from the rows that the model learned from.
    """

    takes: tuple[Column, ...]
    gives: tuple[Column, ...] = ()
    example: dict[str, Any] = msgspec.field(default_factory=dict)

    def encoded(self) -> bytes | None:
        """Return the signature as JSON. If this is too long, leave out the categories and the example. If it is still
        too long, return None."""
        bare = tuple(replace(column, categories=None) for column in self.takes)
        for signature in (self, replace(self, takes=bare, example={})):
            data = msgspec.json.encode(signature)
            if len(data) <= MOST_BYTES:
                return data
        return None


def signature_in(data: bytes | None) -> Signature | None:
    """Return the signature that is encoded in `data`. Return None if `data` is None, if this release can't read it, or
    if the signature takes no columns or the same column twice."""
    if data is None:
        return None
    try:
        found = msgspec.json.decode(data, type=Signature)
    except UNREADABLE:
        return None
    names = {column.name for column in found.takes}
    is_sound = found.form <= Signature.FORM and 0 < len(names) == len(found.takes)
    return replace(found, takes=tuple(map(_known, found.takes))) if is_sound else None


def _known(column: Column) -> Column:
    """Return the column with None for empty categories. Earlier releases wrote empty ones for a column of whose values
    they knew none, and with empty categories each value would be an unknown one."""
    return replace(column, categories=None) if column.categories == () else column


def masked_signature(data: bytes, mask: Callable[[str], str]) -> bytes:
    """Return an encoded signature with `mask` applied to its texts. If `data` is no signature, return it unchanged."""
    found = signature_in(data)
    if found is None:
        return data
    takes, gives = (
        tuple(
            Column(
                name=mask(column.name),
                type=mask(column.type),
                categories=column.categories and tuple(map(mask, column.categories)),
            )
            for column in columns
        )
        for columns in (found.takes, found.gives)
    )
    example = {mask(name): mask(value) if isinstance(value, str) else value for name, value in found.example.items()}
    return msgspec.json.encode(replace(found, takes=takes, gives=gives, example=example))
