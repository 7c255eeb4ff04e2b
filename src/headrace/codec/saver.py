"""Saves one value: the whole value becomes an artifact, or each value inside it becomes an artifact of its own."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import msgspec
from blake3 import blake3

from headrace.codec import exact_json
from headrace.codec.builtin.code import KINDS, CodeCodec
from headrace.codec.codec import Codec
from headrace.codec.known_tables import KnownSignatures, KnownTables
from headrace.codec.loader import TABLES
from headrace.codec.misfit import CallerFailed, Declined, Misfit
from headrace.codec.ports import Batch, Blobs
from headrace.codec.registry import Registry
from headrace.codec.sink import PARTS_LIMIT, Sink, inline
from headrace.errors import CodecError, HeadraceError
from headrace.spec.artifact import INLINE_LIMIT_BYTES, Ref, gather

_encode = msgspec.json.Encoder().encode


def _constant(value: bool | None) -> Ref:
    data = _encode(value)
    kind = f"builtins.{type(value).__name__}"
    return Ref(digest=blake3(data).hexdigest(), size=len(data), codec="json", type=kind, inline=data)


_CONSTANTS = {each: _constant(each) for each in (None, True, False)}


def _int(value: int) -> Ref | None:
    if not -(2**63) <= value < 2**64:
        return None
    data = _encode(value)
    return Ref(digest=blake3(data).hexdigest(), size=len(data), codec="json", type="builtins.int", inline=data)


def _float(value: float) -> Ref | None:
    if not math.isfinite(value):
        return None
    data = _encode(value)
    return Ref(digest=blake3(data).hexdigest(), size=len(data), codec="json", type="builtins.float", inline=data)


def _text(value: str) -> Ref | None:
    data = value.encode("utf-8", "surrogatepass")
    if len(data) > INLINE_LIMIT_BYTES:
        return None
    return Ref(digest=blake3(data).hexdigest(), size=len(data), codec="text", type="builtins.str", inline=data)


SCALARS: dict[type, Callable[[Any], Ref | None]] = {
    int: _int,
    float: _float,
    str: _text,
    bool: _CONSTANTS.__getitem__,
    type(None): _CONSTANTS.__getitem__,
}
"""Class -> fast function that saves a value of this class in 1 to 2 microseconds. Most values are of such classes. If
the function returns None, a codec is used."""

TABULAR = frozenset({"arrow", "joined", "later"})
"""Names of the codecs for values that may already be artifacts: tables, and a `Joined` or `Later`, which stands for a
table."""

_CODE = CodeCodec()
_HOLDERS = frozenset({list, tuple, dict, OrderedDict})


class Saver:
    """One call of `save`, with the store, the names of classes, and the values that are being saved (to find cycles).
    When the `with` block ends, everything that was saved is durable."""

    def __init__(
        self,
        registry: Registry,
        blobs: Blobs,
        describe: Callable[[type], str],
        digest: Callable[[object], str] | None = None,
        origins: KnownTables | None = None,
        signatures: KnownSignatures | None = None,
    ) -> None:
        self._registry = registry
        self._origins = KnownTables() if origins is None else origins
        self._signatures = KnownSignatures() if signatures is None else signatures
        self._made = KnownTables()
        self._digest = digest
        self._blobs = blobs
        self._begun: Batch | None = None
        self._describe = describe
        self._open: set[int] = set()
        self._room = PARTS_LIMIT

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._begun is not None:
            self._begun.__exit__(kind, error, trace)
        if error is None:
            self._origins.take(self._made)

    def ref(self, value: object) -> Ref:
        """Save a value, and return its artifact. Raise `Misfit` if no codec takes the value or a value inside it."""
        kind: Any = type(value)
        scalar = SCALARS.get(kind)
        if scalar is not None and (short := scalar(value)) is not None:
            return short
        if kind in _HOLDERS:
            return self._holder(value)
        if self._digest is not None and isinstance(value, KINDS):
            return self._by(_CODE, value)
        codec = self._registry.of(value)
        if codec.name not in TABULAR:
            return self._signatures.signed(self._by(codec, value), value)
        return self._table(codec, value)

    def _table(self, codec: Codec, value: object) -> Ref:
        """Save a table, unless it is already an artifact."""
        known = self._origins.find(value, self._blobs) or self._made.find(value, self._blobs)
        if known is not None:
            return known
        ref = self._by(codec, value)
        if ref.type in TABLES:
            self._made.note(value, ref, self._blobs)
        return ref

    def _batch(self) -> Batch:
        """Return the batch that holds all blobs of this value. The batch is made when the first blob is saved."""
        if self._begun is None:
            self._begun = self._blobs.batch().__enter__()
        return self._begun

    def _holder(self, value: Any) -> Ref:
        if id(value) in self._open:
            raise Misfit(self._describe(type(value)), "it contains itself", "return a value without the cycle")
        room = self._room
        self._open.add(id(value))
        try:
            if len(value) > room:
                return self._whole(value)
            if isinstance(value, dict):
                return self._mapping(value)
            return self._elements(value, f"builtins.{type(value).__name__}", None)
        finally:
            self._open.remove(id(value))
            self._room = room

    def _mapping(self, value: dict[Any, Any]) -> Ref:
        if type(value) is dict:
            with suppress(Declined):
                return self._plain(value)
        if (codec := self._registry.of_mapping(value)) is not None:
            return self._by(codec, value)
        if not all(type(key) is str and key.isprintable() for key in value):
            return self._by(self._registry.named("items"), value)
        return self._elements(value.values(), self._describe(type(value)), tuple(value))

    def _plain(self, value: object) -> Ref:
        data = exact_json.encode(value)
        kind = self._describe(type(value))
        if len(data) <= INLINE_LIMIT_BYTES:
            return inline("json", kind, data)
        kept = self._batch().put(data)
        return Ref(digest=kept.digest, size=kept.size, codec="json", type=kind, nonce=kept.nonce)

    def _elements(self, values: Iterable[Any], kind: str, names: tuple[str, ...] | None) -> Ref:
        inner = sum(map(_HOLDERS.__contains__, map(type, values)))
        if inner:
            self._room //= inner
        parts: list[Ref] = []
        add, scalars, ref = parts.append, SCALARS, self.ref
        try:
            for value in values:
                scalar = scalars.get(type(value))
                add((scalar(value) if scalar is not None else None) or ref(value))
        except Misfit as misfit:
            raise misfit.inside(f"[{len(parts) if names is None else repr(names[len(parts)])}]") from None
        return gather(parts, type=kind, names=names)

    def _whole(self, value: object) -> Ref:
        try:
            return self._plain(value)
        except Declined:
            return self._by(self._registry.named("pickle"), value)

    def _by(self, codec: Codec, value: object) -> Ref:
        try:
            with Sink(self._batch, self.ref) as sink:
                codec.save(value, sink)
                content = self._content(codec, value)
                return sink.ref(codec.name, self._describe(sink.kind or type(value)), content)
        except Declined:
            return self._by(self._registry.named("pickle"), value)
        except (Misfit, CallerFailed, HeadraceError, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001 - a library may raise anything while it writes
            return self._after(error, codec, value)

    def _content(self, codec: Codec, value: object) -> str | None:
        if codec is _CODE:
            return self._digest(value) if self._digest is not None else None
        # not `isinstance`, which looks up each method of a protocol again for each value
        content: Callable[[object], str | None] | None = getattr(codec, "content", None)
        return None if content is None else content(value)

    def _after(self, error: Exception, failed: Codec, value: object) -> Ref:
        """Pickle a value after the codec `failed` could not save it, and warn. Otherwise the value would be lost, and
        it may have taken hours to compute."""
        what = f"codec `{failed.name}` failed to save a `{self._describe(type(value))}`: {error}"
        if failed.name not in ("pickle", "file", "folder"):  # a pickled path doesn't contain the file
            with suppress(Misfit, CodecError):
                ref = self._by(self._registry.named("pickle"), value)
                warnings.warn(f"{what}; it is pickled instead", stacklevel=2)
                return ref
        raise CodecError(
            what, hint="see the cause above; if the library can't write the value, return it in another form"
        ) from error
