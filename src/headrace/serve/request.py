"""Reads what a client sends: the headers of a request, and its body, within limits."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from headrace.errors import listed
from headrace.serve.predictions.prediction import Form
from headrace.serve.refusals import BadRequest, BodyLate, BodyTooLarge, ContentRefused
from headrace.spec.noun import Noun

Headers = Sequence[tuple[bytes, bytes]]
"""The headers of a request: pairs of name, in lower case, and value."""
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
"""Waits for the next piece of a body, or for the client to leave."""

ARROW = "application/vnd.apache.arrow.stream"
_FORMS: dict[str, Form] = {"application/json": "json", ARROW: "arrow"}
BINARY = "application/octet-stream"
HEAD_BYTES = b"inference-header-content-length"
"""The header that says how many bytes at the start of a body are JSON. The bytes of tensors follow."""
_NUMBER = re.compile(r"[0-9]{1,9}")
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_GZIP = 31
"""zlib's number for the format gzip only, with the largest window."""


class Limits(Noun, frozen=True):
    """What a client may send, and how long it may take."""

    body_bytes: int = 16 << 20
    """The most bytes of a body, before and after unpacking."""
    head_bytes: int = 64 << 10
    """The most bytes of a request's first line and headers."""
    head_s: float = 10.0
    """How long the headers may take, from the first byte on (or from the connection's start)."""
    silence_s: float = 10.0
    """How long a client may send nothing in the middle of a body, or take nothing of an answer."""
    idle_s: float = 75.0
    """How long a connection may rest between two requests."""
    request_s: float = 30.0
    """How long a request may take, from its headers to its answer."""
    stop_s: int = 30
    """How many seconds a server that stops waits for requests that run."""
    most_connections: int = 4_096
    """How many clients may be connected."""
    most_pipelined: int = 16
    """How many requests a client may send on one connection ahead of their answers."""


HAS_LEFT = "the client has left"
"""The message with which the task of a request is cancelled when its client has closed the connection."""


class ClientLeft(Exception):
    """The client has closed the connection: nobody waits for an answer."""


def values(headers: Headers, name: bytes) -> list[str]:
    """Return the values of all headers of this name."""
    return [value.decode("latin-1") for each, value in headers if each == name]


def trace_of(headers: Headers) -> str:
    """Return the `traceparent` of a request, or an empty text if it has none that is valid.

    >>> trace_of([(b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    >>> trace_of([(b"traceparent", b"x")])
    ''
    """
    traces = values(headers, b"traceparent")
    return traces[0] if len(traces) == 1 and _TRACE.fullmatch(traces[0]) else ""


def check_content(headers: Headers, limits: Limits) -> Form:
    """Check what the headers say about the body, and return its form.

    Raises:
        ContentRefused: the body is neither JSON nor Arrow, or it is packed by something else than gzip.
        BodyTooLarge: the body is too large.
    """
    # A page of another site can send a body of this type only if the server allows it beforehand, which it does for the
    # sites of `[serve] origins`.
    types = values(headers, b"content-type")
    kind, _, options = types[0].lower().partition(";") if len(types) == 1 else ("", "", "")
    form = _FORMS.get(kind.strip())
    if form is None or (form == "json" and options.replace('"', "").strip() not in ("", "charset=utf-8")):
        shown = listed([each[:80] for each in types], 2) or "missing"
        raise ContentRefused(
            f"the body must be JSON in UTF-8, or a stream of Arrow; `Content-Type` is {shown}",
            hint=f"send `Content-Type: application/json` or `Content-Type: {ARROW}`",
        )
    check_size(headers, limits)
    return form


def check_size(headers: Headers, limits: Limits) -> None:
    """Check what the headers say about the size of the body and about how it is packed.

    Raises:
        ContentRefused: the body is packed by something else than gzip.
        BodyTooLarge: the body is too large.
    """
    if (encoding := _encoding(headers)) not in ("", "identity", "gzip"):
        raise ContentRefused(
            f"a body in the encoding `{encoding:.80}` can't be read",
            hint="send it as it is, or pack it by gzip",
            headers=((b"accept-encoding", b"gzip"),),
        )
    if any(int(length) > limits.body_bytes for length in values(headers, b"content-length")):
        raise _too_large(limits)


def head_bytes_of(headers: Headers, limits: Limits) -> int | None:
    """Check what the headers say about the body, and return how many bytes at its start are JSON. None: the whole body
    is JSON.

    Raises:
        ContentRefused, BadRequest: the body is neither JSON nor JSON followed by tensors.
        BodyTooLarge: the body is too large.
    """
    types, lengths = values(headers, b"content-type"), values(headers, HEAD_BYTES)
    kind = types[0].lower().partition(";")[0].strip() if len(types) == 1 else ""
    # A page of another site can send a body without a type, but neither these headers nor these types, unless the
    # server allows them beforehand, as it does for the sites of `[serve] origins`. tritonclient sends no type.
    is_program = bool(lengths) or any(name == b"authorization" for name, _ in headers)
    if kind not in ("application/json", BINARY) and not (not types and is_program):
        shown = listed([each[:80] for each in types], 2) or "missing"
        raise ContentRefused(
            f"the body must be JSON, or JSON with tensors behind it; `Content-Type` is {shown}",
            hint=f"send `Content-Type: application/json`, or `{BINARY}` with `Inference-Header-Content-Length`",
        )
    if (kind == BINARY and not lengths) or len(lengths) > 1 or not all(map(_NUMBER.fullmatch, lengths)):
        raise BadRequest(
            "the header `Inference-Header-Content-Length` must be given once, with a number of bytes",
            hint=f"send it with `Content-Type: {BINARY}`",
        )
    check_size(headers, limits)
    return int(lengths[0]) if lengths else None


async def body_of(headers: Headers, receive: Receive, limits: Limits) -> bytes:
    """Return the body of a request, unpacked.

    Raises:
        BodyTooLarge: the body is too large. The rest of it isn't read.
        BodyLate: the client sends nothing for too long.
        BadRequest: the body can't be unpacked.
        ClientLeft: the client has left before the end.
    """
    body = _Body(limits, is_packed=_encoding(headers) == "gzip")
    is_whole = False
    while not is_whole:
        try:
            async with asyncio.timeout(limits.silence_s):
                message = await receive()
        except TimeoutError:
            raise BodyLate(
                f"nothing more of the body came for {limits.silence_s:g} seconds", hint="send it without pauses"
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body.add(message.get("body", b""))
        is_whole = not message.get("more_body", False)
    return body.whole()


class _Body:
    """Collects the pieces of a body. It never contains many more bytes than a body may have."""

    def __init__(self, limits: Limits, *, is_packed: bool) -> None:
        self._limits = limits
        self._came = 0
        self._held = bytearray()
        self._gzip = zlib.decompressobj(_GZIP) if is_packed else None

    def add(self, piece: bytes) -> None:
        self._came += len(piece)
        if self._came <= self._limits.body_bytes:
            self._held += piece if self._gzip is None else self._unpacked(piece)
        if max(self._came, len(self._held)) > self._limits.body_bytes:
            raise _too_large(self._limits)

    def whole(self) -> bytes:
        if self._gzip is not None and not self._gzip.eof:
            raise _not_packed()
        return bytes(self._held)

    def _unpacked(self, piece: bytes) -> bytes:
        assert self._gzip is not None
        try:
            unpacked = self._gzip.decompress(piece, self._limits.body_bytes - len(self._held) + 1)
        except zlib.error as error:
            raise _not_packed() from error
        if self._gzip.unused_data:
            raise _not_packed()
        return unpacked


def _encoding(headers: Headers) -> str:
    return ", ".join(values(headers, b"content-encoding")).strip().lower()


def _too_large(limits: Limits) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is larger than {limits.body_bytes:,} bytes", hint="send fewer records at once, in several requests"
    )


def _not_packed() -> BadRequest:
    return BadRequest("the body can't be unpacked", hint="send one whole gzip stream, or leave out `Content-Encoding`")
