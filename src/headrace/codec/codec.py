"""A codec turns values of some class into bytes or parts, and loads them again.

Your own package can offer a codec under the entry point group `headrace.codecs`: see `docs/codecs.md`. The tests that a
codec should pass are in `headrace.testing.codec_contract`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from headrace.codec.sink import Sink
from headrace.codec.source import Source


class Codec(Protocol):
    """Saves and loads values of some class.

    `name` is stored in each artifact. The codec is later found by this name, so the name must never change. When the
    format changes, the codec must read both formats, or the new codec must have a new name. `safe` is True if loading
    runs no code that the bytes choose. If `safe` is False, values are loaded only where the project's code runs anyway,
    such as in stages. Equal values should be saved as equal bytes. A codec that saves equal values as different bytes
    can be a `HasContent` too. If it isn't, its docstring must say that equal values may make different bytes.
    """

    @property
    def name(self) -> str: ...
    @property
    def safe(self) -> bool: ...

    def takes(self, value: object) -> bool:
        """Return whether `save` takes this value. Decide by the name of its class: never import a library to find
        out."""
        ...

    def save(self, value: object, sink: Sink) -> None:
        """Write a value to the sink: as bytes with `write`, `file` or `path`, or as parts with `part`."""
        ...

    def load(self, source: Source) -> object:
        """Return a value that equals the saved value and has the same class."""
        ...


@runtime_checkable
class HasContent(Protocol):
    """A codec that saves equal values as different bytes, but can compute a digest of the value itself."""

    def content(self, value: object) -> str | None:
        """Return a hex digest that is the same for equal values, or None if this value has no such digest."""
        ...


@runtime_checkable
class HasCheck(Protocol):
    """A codec that can check bytes before its library reads them, because the library trusts the offsets in these
    bytes."""

    def check(self, source: Source) -> None:
        """Raise an error if an offset or length in the bytes points outside of them."""
        ...


@runtime_checkable
class HasColumns(Protocol):
    """A codec of tables that can load some columns without reading the others."""

    def load_columns(self, source: Source, names: Sequence[str]) -> object:
        """Return a table of the saved class with only the columns `names`, in this order. Read the bytes through
        `source.reader`."""
        ...
