"""Loads one value from its artifact. The parts of the value are loaded from their own artifacts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from blake3 import blake3

from headrace.codec.builtin.network_check import CHECKS
from headrace.codec.classes import distribution, name_of
from headrace.codec.codec import Codec, HasCheck, HasColumns
from headrace.codec.exact_json import MARK_BYTES
from headrace.codec.known_tables import KnownSignatures, KnownTables
from headrace.codec.ports import Blobs
from headrace.codec.registry import Registry
from headrace.codec.safe_records import is_listed
from headrace.codec.scratch import Scratch
from headrace.codec.source import Source
from headrace.errors import BlobDamaged, CodecError, HeadraceError, listed, repair
from headrace.spec.artifact import Ref
from headrace.spec.noun import UNREADABLE

HELD_BYTES = 1 << 16
"""A store may give blobs up to this size as bytes in memory, instead of as a file."""

TABLES = frozenset({"pyarrow.lib.Table", "headrace.codec.later.Later"})
"""Classes of Arrow tables. Such tables can't be changed. So if a stage returns a table that it loaded, the table's
artifact is still valid."""

_decode = msgspec.json.Decoder().decode


class Loader:
    """One call of `load`, with its options: the store, what is checked, what is refused, and how classes are found."""

    def __init__(
        self,
        registry: Registry,
        blobs: Blobs,
        *,
        verify: bool,
        safe_only: bool,
        scratch: Scratch,
        resolve: Callable[[str], type],
        origins: KnownTables,
        signatures: KnownSignatures,
    ) -> None:
        self._registry = registry
        self._origins = origins
        self._signatures = signatures
        self._blobs = blobs
        self._verify = verify
        self._safe_only = safe_only
        self._scratch = scratch
        self._resolve = resolve
        self._shared: dict[tuple[str, str | None], object] = {}

    def value(self, ref: Ref) -> object:
        """Return the value of an artifact."""
        data = ref.inline
        if data is not None and self._verify and blake3(data).hexdigest() != ref.digest:
            raise BlobDamaged(f"the bytes of artifact `{ref.digest[:12]}` don't have its digest")
        if data is not None and ref.codec == "json" and MARK_BYTES not in data:
            return self._plain(ref, data)
        if ref.codec == "parts":
            return self._elements(ref)
        return self._by_codec(ref)

    def shared(self, ref: Ref) -> object:
        """Return the value of a part that several parts of the artifact may need; it is loaded once."""
        generation = ref.digest, ref.nonce
        if generation not in self._shared:
            self._shared[generation] = self.value(ref)
        return self._shared[generation]

    def columns(self, ref: Ref, names: Sequence[str]) -> object:
        """Return the columns `names` of a table without reading the others."""
        codec: object = None if ref.codec == "parts" else self._codec(ref)
        if not isinstance(codec, HasColumns):
            raise CodecError(
                f"an artifact of class `{ref.type}`, saved by codec `{ref.codec}`, has no columns to choose from",
                hint=f"load it whole{self._or_a_table(ref)}",
            )
        try:
            return codec.load_columns(self._source(ref), names)
        except HeadraceError:
            raise
        except Exception as error:
            raise _unreadable(ref, error) from error

    def _or_a_table(self, ref: Ref) -> str:
        """Return the end of a hint: it names those parts of an artifact that are tables, to be loaded instead of the
        artifact. If there are none, return an empty text."""
        parts = ref.parts or ()
        named = zip(ref.names or range(len(parts)), parts, strict=True)
        tables = [name for name, part in named if part.codec != "parts" and self._has_columns(part.codec)]
        return f", or a part of it that is a table: {listed(tables, 3)}" if tables else ""

    def _has_columns(self, codec: str) -> bool:
        try:
            return isinstance(self._registry.named(codec), HasColumns)
        except CodecError:  # a package that has it is missing
            return False

    def check(self, ref: Ref) -> None:
        """Check the bytes of an artifact, if its codec can check them."""
        codec: object = self._codec(ref)
        if isinstance(codec, HasCheck):
            try:
                codec.check(self._source(ref))
            except HeadraceError:
                raise
            except Exception as error:
                raise _unreadable(ref, error) from error

    def _plain(self, ref: Ref, data: bytes) -> object:
        try:
            value: object = _decode(data)
        except UNREADABLE as error:
            raise _unreadable(ref, error) from error
        return value

    def _elements(self, ref: Ref) -> object:
        values = [self.value(part) for part in ref.parts or ()]
        match ref.type:
            case "builtins.list":
                return values
            case "builtins.tuple":
                return tuple(values)
            case "builtins.dict":
                return dict(zip(ref.names or (), values, strict=True))
            case "collections.OrderedDict":
                return OrderedDict(zip(ref.names or (), values, strict=True))
            case other:
                raise CodecError(
                    f"the artifact is a `{other}` saved in parts, which this Headrace can't read",
                    hint="install a newer Headrace",
                )

    def _by_codec(self, ref: Ref) -> object:
        try:
            value = self._codec(ref).load(self._source(ref))
            if self._safe_only and ref.codec == "record" and (check := CHECKS.get(name_of(type(value)))):
                check(value)
        except HeadraceError:
            raise
        except Exception as error:
            raise _unreadable(ref, error) from error
        if ref.type in TABLES:
            self._origins.note(value, ref, self._blobs)
        if ref.signature is not None:
            self._signatures.note(value, ref.signature, ref)
        return value

    def _codec(self, ref: Ref) -> Codec:
        """Return the codec for an artifact, or raise an error if the artifact may not be read."""
        codec = self._registry.named(ref.codec)
        if self._safe_only and not is_safe(codec, ref):
            raise CodecError(
                f"an artifact of class `{ref.type}` is saved by codec `{ref.codec}`, which runs code when it is read",
                hint="commands, pages and servers load safe forms only; in Python, `headrace.load` loads this too",
            )
        return codec

    def _source(self, ref: Ref) -> Source:
        return Source(
            ref,
            held=self._blobs.held(ref.digest, ref.nonce) if ref.nonce and ref.size <= HELD_BYTES else None,
            stored=None if ref.nonce is None else lambda: self._stored(ref),
            reader=lambda: self._blobs.reader(ref.digest, ref.nonce or ""),
            scratch=self._scratch,
            load=self.value,
            share=self.shared,
            enter=self._source,
            is_foreign=self._verify or self._safe_only,
            resolve=self._resolve,
        )

    def _stored(self, ref: Ref) -> Path:
        """Return the file of a blob after checking its size and, with `verify`, its digest."""
        path = self._blobs.path(ref.digest, ref.nonce or "", verify=self._verify)
        size = path.stat().st_size
        if size != ref.size:
            raise BlobDamaged(
                f"the blob `{ref.digest[:12]}` (generation `{ref.nonce}`) has {size} bytes instead of {ref.size}",
                hint=repair("--deep --repair"),
                generation=f"{ref.digest}.{ref.nonce}",
            )
        return path


def is_safe(codec: Codec, ref: Ref) -> bool:
    """Return whether an artifact can be read without running code that the artifact names. The parts of the artifact
    aren't checked. No other function decides this."""
    return codec.safe or (ref.codec == "record" and is_listed(ref.type))


def _unreadable(ref: Ref, error: Exception) -> CodecError:
    hint = "its bytes are damaged, or another version of the library wrote them; run again the task that made it"
    if isinstance(error, ModuleNotFoundError) and error.name:
        install = f"install `{distribution(error.name)}` where it is read"
        hint = f"{install}, or return plain values, tables or files from the task that made it"
    return CodecError(
        f"the artifact `{ref.digest[:12]}` of class `{ref.type}` can't be read by codec `{ref.codec}`: {error}",
        hint=hint,
    )
