"""A codec: how values of some kind become bytes or parts, and values again.

The extension point. A package of your own offers one under the entry point group `headrace.codecs`; see
`docs/codecs.md`, and `headrace.testing.codec_contract` for the tests that it should pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from headrace.codec.sink import Sink
from headrace.codec.source import Source


class Codec(Protocol):
    """Saves and loads values of some kind.

    `name` goes into each artifact and is how a reader finds the codec, so it never changes; when the form changes, the
    codec reads both, or takes a new name. `safe` says that loading runs no code that the bytes choose: servers and
    pages load nothing else. Equal values should make equal bytes. Where they can't, the codec may also be a
    `HasContent`; one that is not says so in its docstring.
    """

    @property
    def name(self) -> str: ...
    @property
    def safe(self) -> bool: ...

    def takes(self, value: object) -> bool:
        """Return whether `save` takes this value, from its class's name: never import a library to find out."""
        ...

    def save(self, value: object, sink: Sink) -> None:
        """Write a value as bytes, to the sink's `write`, `file` or `path`; or as parts."""
        ...

    def load(self, source: Source) -> object:
        """Return the value back: equal, and of the same class."""
        ...


@runtime_checkable
class HasContent(Protocol):
    """A codec whose bytes differ between equal values, and which can digest the value itself."""

    def content(self, value: object) -> str | None:
        """Return a hex digest that equal values share, or None for this one."""
        ...


@runtime_checkable
class HasCheck(Protocol):
    """A codec whose library follows what the bytes say, wherever that leads, and which can look at them before."""

    def check(self, source: Source) -> None:
        """Raise an error if the bytes lead out of themselves."""
        ...


@runtime_checkable
class HasColumns(Protocol):
    """A codec of tables, which can give some columns without reading the rest."""

    def load_columns(self, source: Source, names: Sequence[str]) -> object:
        """Return a table, of the class that was saved, with these columns in this order; use the source's `reader`."""
        ...
