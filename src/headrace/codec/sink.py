"""A sink takes one value that a codec writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from blake3 import blake3

from headrace.codec.misfit import Misfit
from headrace.codec.ports import Batch, Draft
from headrace.errors import CodecError
from headrace.spec.artifact import INLINE_LIMIT_BYTES, Ref, gather

PARTS_LIMIT = 100_000
"""The most artifacts that one value may consist of, with the elements of nested lists. A list or dictionary that would
exceed the limit is saved as one artifact."""


def inline(codec: str, kind: str, data: bytes, content: str | None = None) -> Ref:
    """Return the artifact of a small value. The artifact itself contains the value's bytes. `kind` is the name of the
    value's class."""
    return Ref(digest=blake3(data).hexdigest(), size=len(data), codec=codec, type=kind, inline=data, content=content)


SPILL_BYTES = 1 << 16
"""If a value has more bytes than this, they are written to a file of the store instead of memory."""


class Sink:
    """Takes a value as bytes (with `write`, `file` or `path`, whichever suits the library), or as parts (with `part`).

    In either case, a small value ends up in a row of the ledger. A codec sets `kind` if loading returns a value of
    another class than the saved one.
    """

    def __init__(self, batch: Callable[[], Batch], save: Callable[[object], Ref]) -> None:
        self.kind: type | None = None
        self._batch = batch
        self._save = save
        self._pieces: list[bytes] = []
        self._length = 0
        self._draft: Draft | None = None
        self._opened = False
        self._parts: list[Ref] = []
        self._composed = False
        self._names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._draft is not None:
            self._draft.__exit__(kind, error, trace)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes to the value that is being saved."""
        if self._draft is None and self._length + len(data) <= SPILL_BYTES:
            self._pieces.append(bytes(data))
            self._length += len(data)
        else:
            self.file.write(data)

    @property
    def file(self) -> BinaryIO:
        """A binary file, open for writing the value's bytes."""
        file = self._drafted().file
        self._opened = True
        if self._pieces:
            file.writelines(self._pieces)
            self._pieces = []
        return file

    @property
    def path(self) -> Path:
        """The path of a file that doesn't exist yet, for libraries that write to a path."""
        return self._drafted().path

    def compose(self) -> None:
        """Declare that the value consists of parts, even if there are none."""
        self._composed = True

    def part(self, value: object, name: str | None = None) -> None:
        """Add a part: a value that readers can load without the other parts. Either all parts have a name, or none
        has."""
        try:
            ref = self._save(value)
        except Misfit as misfit:
            raise misfit.inside(f".{name}" if name is not None else f"[{len(self._parts)}]") from None
        self.compose()
        self._parts.append(ref)
        if name is not None:
            self._names.append(name)

    def spread(self, value: object, codec: str, inside: str = "") -> None:
        """Add a value as a part. If the value is saved by the codec named `codec`, add the parts of its artifact
        instead.

        If the value is saved by the codec named `inside`, treat the first part of its artifact as if it were the value.
        """
        ref = self._save(value)
        if ref.codec == inside and ref.parts:
            ref = ref.parts[0]
        self.compose()
        self._parts.extend((ref.parts or ()) if ref.codec == codec else (ref,))

    def add_file(self, path: str | os.PathLike[str], name: str) -> None:
        """Add the bytes of a file as a part, for libraries that write several files; see `Source.folder`."""
        self.compose()
        with Sink(self._batch, self._save) as inner:
            shutil.copyfile(path, inner.path)
            self._parts.append(inner.ref("bytes", "builtins.bytes", None))
        self._names.append(name)

    def ref(self, codec: str, kind: str, content: str | None) -> Ref:
        """Return the artifact of the value that was written. The value's bytes are in the artifact itself, or in the
        store; those in the store are durable when the batch has ended."""
        if self._composed:
            if self._draft is not None or self._pieces or len(self._names) not in {0, len(self._parts)}:
                raise CodecError(
                    f"codec `{codec}` wrote bytes besides its parts, or named only some of its parts",
                    hint="if it writes bytes, add them as a further part; if it names parts, give a name to each",
                )
            return gather(self._parts, codec=codec, type=kind, names=tuple(self._names) if self._names else None)
        data = self._small()
        if data is not None and len(data) <= INLINE_LIMIT_BYTES:
            return inline(codec, kind, data, content)
        kept = self._draft.keep() if data is None and self._draft is not None else self._batch().put(data or b"")
        return Ref(digest=kept.digest, size=kept.size, codec=codec, type=kind, nonce=kept.nonce, content=content)

    def _drafted(self) -> Draft:
        if self._draft is None:
            self._draft = self._batch().draft().__enter__()
        return self._draft

    def _small(self) -> bytes | None:
        """Return the bytes that were written. Return None if they are in a file and too many for a row of the
        ledger."""
        if self._draft is None:
            return b"".join(self._pieces)
        if self._opened:
            self._draft.file.flush()
        path = self._draft.path
        if not path.exists() or path.stat().st_size > INLINE_LIMIT_BYTES:
            return None
        return path.read_bytes()
