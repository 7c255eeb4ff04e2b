"""An exchange with a client: a request, from its headers to its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from headrace.serve.predictions.prediction import Form
from headrace.serve.refusals import AnswerLate, BodyLate
from headrace.serve.request import Headers, Limits, Receive, body_of, check_content, head_bytes_of, trace_of

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
T = TypeVar("T")
SEVERAL = "several"
"""The name that is recorded as the variant if several variants answered a request."""


class Exchange:
    """A request, the time that is left for it, and what becomes known about it until it is answered.

    `at` is when the request came, in Unix seconds. `names` are the names in its path. `endpoint` is the name of the
    requested endpoint, once it is known to exist. `variant` and `version` are those that answer. `error` is the name of
    the error that the request ends with. These texts are empty until they are known.
    """

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.headers: Headers = scope["headers"]
        self.names: Mapping[str, str] = {}
        self.at = time.time()
        self.endpoint = self.variant = self.version = self.error = ""
        self.body_bytes = 0
        self._receive = receive
        self._limits = limits
        self._began = time.perf_counter()
        self._ends = asyncio.get_running_loop().time() + limits.request_s
        self._has_body = self.method != "POST"  # no other request has a body that is read

    @property
    def seconds(self) -> float:
        """How many seconds the request has taken so far."""
        return time.perf_counter() - self._began

    @property
    def trace(self) -> str:
        """The request's `traceparent`; empty if it has none."""
        return trace_of(self.headers)

    def answers(self, variant: str, version: str) -> None:
        """Record which variant answers, and by which version of the model (`delays:3`). If several variants answer for
        the records of one request, this is called for each of them."""
        if self.variant and (self.variant, self.version) != (variant, version):
            variant, version = SEVERAL, ""
        self.variant, self.version = variant, version

    def form(self) -> Form:
        """Return the form of the body (JSON or Arrow), as the headers say.

        Raises:
            ContentRefused, BodyTooLarge: such a body isn't accepted.
        """
        return check_content(self.headers, self._limits)

    def head_bytes(self) -> int | None:
        """Return how many bytes at the start of the body are JSON; the bytes of tensors follow. None: the whole body is
        JSON.

        Raises:
            ContentRefused, BodyTooLarge, BadRequest: such a body isn't accepted.
        """
        return head_bytes_of(self.headers, self._limits)

    async def body(self) -> bytes:
        """Return the body, unpacked.

        Raises:
            BodyTooLarge, BodyLate, BadRequest: the body is too large, doesn't come in time, or can't be unpacked.
            ClientLeft: the client has left before the end.
        """
        body = await body_of(self.headers, self._receive, self._limits)
        self.body_bytes, self._has_body = len(body), True
        return body

    async def in_time(self, work: Awaitable[T]) -> T:
        """Return the result of `work`, which reads the body and answers. If the request's time is up first, cancel
        `work`. (If the client leaves, its connection cancels the whole request.)

        Raises:
            BodyLate, AnswerLate: the time is up, and the body hasn't come, or has.
        """
        try:
            async with asyncio.timeout_at(self._ends) as bound:
                return await work
        except TimeoutError:
            if bound.expired():
                raise (self._answer_late() if self._has_body else self._body_late()) from None
            raise

    def _body_late(self) -> BodyLate:
        within = f"in {self._limits.request_s:g} seconds"
        return BodyLate(f"the body didn't come {within}", hint="send fewer records at once")

    def _answer_late(self) -> AnswerLate:
        within = f"in {self._limits.request_s:g} seconds"
        return AnswerLate(f"the endpoint didn't answer {within}", hint="try again later, or send fewer records at once")
