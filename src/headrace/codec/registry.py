"""All available codecs: Headrace's codecs for plain values and for libraries, and the codecs that installed packages
offer."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from headrace.codec.builtin.code import CodeCodec
from headrace.codec.builtin.file import FileCodec, FolderCodec
from headrace.codec.builtin.json import DocumentCodec, JsonCodec
from headrace.codec.builtin.picture import PictureCodec
from headrace.codec.builtin.raw import BytesCodec, TextCodec
from headrace.codec.builtin.record import EnumCodec, ItemsCodec, RecordCodec
from headrace.codec.classes import describe, library_named, roots
from headrace.codec.codec import Codec
from headrace.errors import CodecError

GROUP = "headrace.codecs"

LIBRARIES = {
    "pyarrow": "arrow",
    "pandas": "pandas",
    "polars": "polars",
    "numpy": "numpy",
    "lightgbm": "lightgbm",
    "sklearn": "sklearn",
    "torch": "torch",
}
"""Package -> module of Headrace's codec for its classes. The module is imported only when a value of such a class is
saved or loaded, so a worker that handles only numbers never imports a library of tables."""

NAMES = {
    "arrow": "arrow",
    "arrow-stream": "arrow",
    "joined": "tables",
    "later": "tables",
    "slice": "tables",
    "pandas": "pandas",
    "polars": "polars",
    "numpy": "numpy",
    "lightgbm": "lightgbm",
    "skops": "sklearn",
    "safetensors": "torch",
    "pickle": "pickle",
}
"""Codec name -> its module, for the codecs of libraries."""

OURS = {
    "headrace.codec.joined.Joined": "joined",
    "headrace.codec.later.Later": "later",
    "headrace.codec.joined.Slice": "slice",
    "headrace.codec.joined.Streamed": "arrow",
}
"""Headrace's own class that needs a library -> name of its codec."""

ITERATORS = {"builtins.generator", "builtins.map", "builtins.filter", "itertools.chain", "itertools.islice"}
"""Classes of iterators that may yield record batches. Whether an iterator does is known only when it runs. If pyarrow
isn't loaded, no iterator yields record batches."""


class Registry:
    """Finds the codec for a value, and the codec that an artifact names.

    Codecs in `extra` are asked first. Installed packages are searched for codecs only when no codec of Headrace fits,
    since the search is slow. Pickle is asked last, for all other values.
    """

    def __init__(self, extra: Sequence[Codec] = ()) -> None:
        self._extra = list(extra)
        self._own: tuple[Codec, ...] = (
            TextCodec(),
            BytesCodec(),
            JsonCodec(),
            FileCodec(),
            FolderCodec(),
            PictureCodec(),
            DocumentCodec(),
            EnumCodec(),
            RecordCodec(),
            ItemsCodec(),
        )
        everyone: list[Codec] = [*self._own, *self._extra]
        self._named = {codec.name: codec for codec in [*everyone, CodeCodec()]}
        self._library: dict[str, Sequence[Codec]] = {}

    def of(self, value: object) -> Codec:
        """Return the first codec that takes a value."""
        for codec in self._extra:
            if codec.takes(value):
                return codec
        kind = describe(type(value))
        if kind in ITERATORS and "pyarrow" in sys.modules:
            return self.named("arrow-stream")
        if kind in OURS:
            return self.named(OURS[kind])
        for codec in self._of_library(value):
            if codec.takes(value):
                return codec
        for codec in self._own:
            if codec.takes(value):
                return codec
        for codec in self._offered:
            if codec.takes(value):
                return codec
        return self.named("pickle")

    def of_mapping(self, value: Mapping[object, object]) -> Codec | None:
        """Return the codec that saves a whole dictionary of a library's objects at once, such as PyTorch's tensors by
        name. Return None if there is none. The library is that of the dictionary's first value."""
        for first in value.values():
            return next((codec for codec in self._of_library(first) if codec.takes(value)), None)
        return None

    def named(self, name: str) -> Codec:
        """Return the codec with this name, or raise `CodecError`."""
        if name not in self._named:
            codecs = self._module(NAMES[name]) if name in NAMES else self._offered
            for codec in codecs:
                self._named.setdefault(codec.name, codec)
        if name not in self._named:
            raise CodecError(
                f"no codec is named `{name}`, and an artifact needs it",
                hint="install the package that has it, or a newer Headrace",
            )
        return self._named[name]

    def _of_library(self, value: object) -> Iterator[Codec]:
        """Yield the codecs for the libraries that define a value's class and its base classes. If a codec needs a
        missing package, warn instead of yielding the codec."""
        for root in roots(value):
            if root in LIBRARIES:
                try:
                    yield from self._module(LIBRARIES[root])
                except CodecError as error:
                    warnings.warn(f"{error.message}: a `{root}` object is pickled ({error.hint})", stacklevel=2)

    def _module(self, name: str) -> Sequence[Codec]:
        if name not in self._library:
            self._library[name] = library_named(f"headrace.codec.builtin.{name}").CODECS
        return self._library[name]

    @cached_property
    def _offered(self) -> list[Codec]:
        """The codecs that installed packages offer. An entry point is either a codec, or a class that is called to make
        a codec."""
        from importlib.metadata import entry_points  # noqa: PLC0415 - 15 ms, and few processes need it

        codecs: list[Codec] = []
        for entry in entry_points(group=GROUP):
            offered = entry.load()
            codecs.append(offered() if isinstance(offered, type) else offered)
        return codecs
