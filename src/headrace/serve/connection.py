"""A client's connection: that of uvicorn, with limits on bytes and time. uvicorn itself has no limits for headers, and
waits forever for a client that sends nothing more."""

from __future__ import annotations

import asyncio
import math
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from headrace.serve.app import App
from headrace.serve.metrics import REQUESTS
from headrace.serve.refusals import RETRY_AFTER, BadRequest, HeadTooLarge, Refusal, ServerFull, answer_to
from headrace.serve.request import HAS_LEFT, Limits

_UNSENT_BYTES = 128 << 10
"""The most unsent bytes that the kernel keeps. Without this limit it would keep some megabytes, and a client that reads
them slowly would look like one that reads nothing."""


class Settings(Config):
    """uvicorn's settings, with our limits. They leave the process's logging as it is, and trust no proxy."""

    def __init__(self, app: App, limits: Limits) -> None:
        super().__init__(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=math.ceil(limits.idle_s) + 1,  # `Connection` has its own, which heeds unsent bytes
            timeout_graceful_shutdown=limits.stop_s,
        )
        self.limits = limits
        self.ours = app


class Connection(HttpToolsProtocol):
    """A client's connection.

    Time is limited whenever the server waits for the client: for a whole head (the first line and the headers), for the
    rest of a body if the request is answered already, for the next request, and for the client to read what is written.
    While a request runs, the application limits its time.
    """

    def __init__(
        self,
        config: Settings,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._app = config.ours
        self._limits = config.limits
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._is_in_head = False
        self._is_in_body = False
        self._head_bytes = 0
        self._has_advanced = False
        self._bytes_without_advance = 0
        self._why: Refusal | None = None
        self._is_deaf = False
        self._runs: asyncio.Task[None] | None = None
        self._hearing = _Deadline(self.loop, self._heard_nothing)
        self._telling: asyncio.TimerHandle | None = None
        self._unsent = 0

    # -- called by the event loop --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._together = Together(transport, self.loop)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self._hearing.within(self._limits.head_s)
        if len(self.connections) > self._limits.most_connections:
            self._turn_away()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left: cancel its request that runs, if there is one."""
        for timer in (self._hearing, self._telling):
            if timer is not None:
                timer.cancel()
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        if self._unanswered and self._runs is not None:
            self._runs.cancel(HAS_LEFT)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes from the client. The limit for a head holds for all bytes in a row that complete neither a head
        nor a piece of a body, such as those of a chunk's first line or of a trailer."""
        if self._is_deaf:
            return
        self._has_advanced = False
        super().data_received(data)
        self._bytes_without_advance = 0 if self._has_advanced else self._bytes_without_advance + len(data)
        if self._bytes_without_advance > self._limits.head_bytes and not self._is_deaf:
            self._why = self._head_too_large()
            self.send_400_response("")

    def pause_writing(self) -> None:
        """The client reads answers more slowly than they are written: begin to watch whether it reads at all."""
        super().pause_writing()
        self._tell_on()

    def resume_writing(self) -> None:
        """The client has read most of what was written: stop watching."""
        super().resume_writing()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    # -- called by the parser: what is raised ends in `send_400_response` ----------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0
        if not self._unanswered:
            self._hearing.within(self._limits.head_s)

    def on_url(self, url: bytes) -> None:
        """Read a part of the address."""
        self._measure(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a header. Trailers (headers after the body) are refused, since uvicorn would treat them as headers."""
        if not self._is_in_head:
            self._refuse(BadRequest("headers after the body aren't accepted", hint="send them before the body"))
        self._measure(name, value, b": \r\n")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: queue or start the request."""
        if self.parser.should_upgrade():
            self._refuse(
                BadRequest(
                    "connections can't be upgraded here: only HTTP/1.1 is spoken",
                    hint="leave out the `Upgrade` header (in Java: `HttpClient.Version.HTTP_1_1`)",
                )
            )
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or self.parser.get_http_version() != "1.1"):
            self._refuse(
                BadRequest(
                    "the only transfer encoding that is accepted is `chunked`, with HTTP/1.1",
                    hint="use it, or send `Content-Length`",
                )
            )
        if len(self._unanswered) > self._limits.most_pipelined:
            self._refuse(BadRequest("too many requests wait on one connection", hint="wait for answers first"))
        super().on_headers_complete()
        self.cycle.transport = self._together  # type: ignore[assignment]  # has what a cycle uses of a transport
        self._unanswered.append(self.cycle)
        self._has_advanced = True
        self._is_in_head, self._is_in_body = False, True
        self._hearing.within(None)

    def on_body(self, body: bytes) -> None:
        """Read a piece of a body. uvicorn drops it if the request is answered already."""
        self._has_advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._has_advanced = True
        self._is_in_body = False
        super().on_message_complete()
        if len(self._unanswered) == 1:
            self.flow.resume_reading()  # or it wouldn't be noticed when the client leaves

    # -- called by uvicorn ---------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Refuse what the client sent, and ignore all that it sends later. If whole requests wait for answers, the
        connection is closed after their answers, and no error is sent. Otherwise it is closed now. An error is sent
        first, unless the client would take it for the answer to an earlier request."""
        self._is_deaf = True
        if self._unanswered and not self._is_in_body:
            self._unanswered[-1].keep_alive = False
            return
        if len(self._unanswered) <= 1 and not self._has_answered_this():
            refusal = self._why or BadRequest(f"this is not a valid HTTP request: {msg}", hint="send HTTP/1.1")
            self._write(refusal)
        self.transport.close()
        self._hearing.within(self._limits.silence_s)

    def on_response_complete(self) -> None:
        """A request is answered: start the next request that waits. If none waits, wait for the client."""
        self._unanswered.popleft()
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
        if not self._unanswered:
            owes = self._is_in_head or self._is_in_body
            self._hearing.within(self._limits.head_s if owes else self._limits.idle_s)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin to answer a request. If the client leaves before it is answered, the task is cancelled."""
        self._runs = self.loop.create_task(cycle.run_asgi(app))
        self._runs.add_done_callback(self.tasks.discard)
        self.tasks.add(self._runs)

    # -- inside --------------------------------------------------------------------------------------------------

    def _turn_away(self) -> None:
        """Refuse a client because too many are connected, and ignore what it sends."""
        self._is_deaf = True
        self._write(ServerFull("too many clients are connected", hint="try again later", headers=(RETRY_AFTER,)))
        self.transport.close()
        self._hearing.within(self._limits.silence_s)

    def _write(self, refusal: Refusal) -> None:
        self._app.metrics.add(REQUESTS, "", "", "", str(refusal.status), type(refusal).__name__)
        self.transport.write(_response(refusal))

    def _has_answered_this(self) -> bool:
        """Return whether an answer to the request that the client is sending has begun."""
        return self._is_in_body and self.cycle.response_started

    def _measure(self, *parts: bytes) -> None:
        self._head_bytes += sum(map(len, parts))
        if self._head_bytes > self._limits.head_bytes:
            self._refuse(self._head_too_large())

    def _head_too_large(self) -> HeadTooLarge:
        return HeadTooLarge(
            f"the headers are larger than {self._limits.head_bytes:,} bytes", hint="send fewer or shorter headers"
        )

    def _refuse(self, why: Refusal) -> None:
        self._why = why
        raise why

    def _heard_nothing(self) -> None:
        if not self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        self._hearing.within(self._limits.silence_s)
        if self._telling is None:
            self._tell_on()

    def _tell_on(self) -> None:
        """Start a timer that closes the connection if the client reads nothing of what is written."""
        self._unsent = self.transport.get_write_buffer_size()
        self._telling = self.loop.call_later(self._limits.silence_s, self._told_nothing)

    def _told_nothing(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left < self._unsent:
            self._tell_on()
        elif left:
            self.transport.abort()
        else:
            self._telling = None


class Together:
    """Writes the head of an answer together with its body. uvicorn writes them apart, and each write is a system call
    that may wake the client. If the body doesn't come in the same turn of the event loop, the head is written alone."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._alone: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        """Write the head of an answer, or a part of its body."""
        if self._alone is None:
            self._head, self._alone = data, self._loop.call_soon(self._flush)
        else:
            self._flush(data)

    def close(self) -> None:
        """Close the connection once all is written."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection is closed, or will be."""
        return self._transport.is_closing()

    def _flush(self, body: bytes = b"") -> None:
        if self._alone is not None:
            self._alone.cancel()
            head, self._head, self._alone = self._head, b"", None
            self._transport.writelines((head, body) if body else (head,))  # asyncio never sends an empty part


class _Deadline:
    """The time by which the client must act. If this time passes without being set anew, `missed` is called.

    A timer for each step would cost more than the step. So there is only one timer. If the deadline was set anew before
    it fires, it is started again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, missed: Callable[[], None]) -> None:
        self._loop = loop
        self._missed = missed
        self._until = self._looks_at = math.inf
        self._look: asyncio.TimerHandle | None = None

    def within(self, seconds: float | None) -> None:
        """Set the deadline to `seconds` from now. None means no deadline, since the client needn't act."""
        self._until = math.inf if seconds is None else self._loop.time() + seconds
        if self._until < self._looks_at:
            self._look_at(self._until)

    def cancel(self) -> None:
        """Remove the deadline and the timer."""
        self._until = math.inf
        if self._look is not None:
            self._look.cancel()

    def _look_at(self, time: float) -> None:
        if self._look is not None:
            self._look.cancel()
        self._looks_at = time
        self._look = self._loop.call_at(time, self._looked)

    def _looked(self) -> None:
        self._look, self._looks_at = None, math.inf
        if self._until <= self._loop.time():
            self._until = math.inf
            self._missed()
        elif self._until < math.inf:
            self._look_at(self._until)


def _response(refusal: Refusal) -> bytes:
    response = answer_to(refusal)
    headers = (
        (b"content-type", response.kind),
        (b"content-length", str(len(response.body)).encode()),
        (b"connection", b"close"),
        *response.headers,
    )
    head = b"".join(b"%b: %b\r\n" % header for header in headers)
    return STATUS_LINE[response.status] + head + b"\r\n" + response.body
