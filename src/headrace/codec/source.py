"""A source gives a codec the bytes or parts of one value."""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from headrace.codec.scratch import Scratch
from headrace.errors import CodecError
from headrace.spec.artifact import Ref


class Source:
    """Gives the bytes of an artifact (with `inline`, `read` or `path`, whichever suits the library), or its parts.

    `is_foreign` is True if the bytes may come from elsewhere than this project's stages. In that case, a codec must
    check the offsets that its library would trust.
    """

    def __init__(
        self,
        ref: Ref,
        *,
        held: bytes | None,
        stored: Callable[[], Path] | None,
        reader: Callable[[], BinaryIO],
        scratch: Scratch,
        load: Callable[[Ref], object],
        share: Callable[[Ref], object],
        enter: Callable[[Ref], Source],
        resolve: Callable[[str], builtins.type],
        is_foreign: bool = False,
    ) -> None:
        self.is_foreign = is_foreign
        self.names = ref.names
        self.size = ref.size
        self.inline = ref.inline if held is None else held
        self._ref = ref
        self._fetch = stored if held is None else None
        self._reader = reader
        self._scratch = scratch
        self._load = load
        self._share = share
        self._enter = enter
        self._resolve = resolve

    @property
    def codec(self) -> str:
        """The name of the codec that reads the value."""
        return self._ref.codec

    @property
    def type(self) -> str:
        """The name of the value's class, `module.Qualname`."""
        return self._ref.type.partition("@")[0]

    @property
    def kind(self) -> builtins.type:
        """The value's class itself, imported. A safe codec either doesn't use this property, or checks which class it
        gets."""
        return self._resolve(self._ref.type)

    @property
    def content(self) -> Path | bytes:
        """The value's bytes: as a file of the store, or in memory."""
        return self.read() if self._stored is None else self._stored

    @property
    def path(self) -> Path:
        """The path of a read-only file with the value's bytes. The file's name has no meaningful suffix."""
        if self._stored is None:
            return self._scratch.lay(self._scratch.folder(self._ref.digest), "value", self.read())
        return self._stored

    def reader(self) -> BinaryIO:
        """Return the value's bytes as a file that supports `seek`. From an object store, only the bytes that are read
        are fetched, and these aren't checked against the digest."""
        return io.BytesIO(self.read()) if self._fetch is None else self._reader()

    def folder(self) -> Path:
        """Write the value's parts into a new folder, as files under their names, and return the folder. The folder
        lasts as long as the attempt."""
        folder = self._scratch.folder(self._ref.digest)
        for name, ref in zip(self.names or (), self._parts, strict=True):
            self._scratch.lay(folder, name, self._enter(ref).content)
        return folder

    def read(self) -> bytes:
        """Return all bytes of the value."""
        if self.inline is not None:
            return self.inline
        if self._stored is None:
            raise CodecError(f"the artifact `{self._ref.digest[:12]}` has parts, and no bytes of its own")
        return self._stored.read_bytes()

    def __len__(self) -> int:
        return len(self._ref.parts or ())

    def part(self, index: int) -> object:
        """Load and return the value's part at this index."""
        return self._load(self._parts[index])

    def shared(self, index: int) -> object:
        """Load and return the value's part at this index. If another value of the same artifact has the same part, the
        part is loaded only once, so it must not be changed."""
        return self._share(self._parts[index])

    def parts(self) -> list[object]:
        """Load and return all parts of the value."""
        return [self._load(part) for part in self._parts]

    def sources(self) -> list[Source]:
        """Return the source of each part, for codecs that load only a piece of a part."""
        return [self._enter(part) for part in self._parts]

    @cached_property
    def _stored(self) -> Path | None:
        return None if self._fetch is None else self._fetch()

    @property
    def _parts(self) -> tuple[Ref, ...]:
        if self._ref.parts is None:
            raise CodecError(f"the artifact `{self._ref.digest[:12]}` has no parts, but its codec needs them")
        return self._ref.parts
