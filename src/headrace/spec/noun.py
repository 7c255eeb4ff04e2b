"""The base of all nouns: frozen, made by keyword, checked where they are made."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class Noun(Struct, frozen=True, kw_only=True):
    """A frozen value with named fields; a new one comes from `msgspec.structs.replace`."""


class Document(Noun, frozen=True, kw_only=True):
    """A noun that is kept as one JSON text, for years and for other programs: reading it runs nobody's code.

    `form` counts the forms that the class has had; one that reads `FORM` reads those before it too.
    """

    FORM: ClassVar[int] = 1
    form: int = 1


class Row(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A noun that is stored and sent by position: short, fast; new fields go last and have a default.

    Frozen values hold nothing that leads back to them, so the garbage collector need not look at them.
    """
