"""One session with a PostgreSQL server, in which every wait has a time limit.

While a long statement runs, the server sends nothing. A server that is stopped or unreachable sends nothing either. So
after each `LOOK_S` of waiting, a second connection checks whether the server answers at all. If no answer can be
expected any more, the session is closed, as if its connection had broken.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from psycopg.types.string import StrDumperUnknown

from headrace import waits
from headrace.ledger.database.address import masked
from headrace.ledger.database.postgres_troubles import options

T = TypeVar("T")

LOOK_S = 20.0
"""After this many seconds without an answer, a second connection checks whether the server is alive."""

REACH_S = 10
"""The time limit in seconds, a whole number, for the check whether the server is alive."""

ANSWER_S = 1800.0
"""How many seconds to wait for an answer if the server is alive. The limit is needed because a single session may
hang."""

HURRY_S = 2.0
"""How many seconds a process that is about to exit waits for an answer."""

SETTINGS = """
SELECT set_config('idle_in_transaction_session_timeout', '10s', false), set_config('lock_timeout', '30s', false),
set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE
current_setting('synchronous_commit') END, false)
"""
"""Limits for each session. A driver that is stopped within a transaction must not lock its rows for ever, and no driver
may wait for ever for a lock. A commit returns only when its data are on the server's disk."""


class Link(psycopg.Connection[Any]):
    """A connection to the server in which every wait has a time limit."""

    url = ""
    hurries = False

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **more: Any) -> T:
        """Wait for the server's answer and return it, but give up after a limit.

        Raises:
            psycopg.errors.ConnectionTimeout: the server doesn't answer; this session is closed.
        """
        try:
            return super().wait(self._bounded(gen), *args, **more)
        except psycopg.errors.ConnectionTimeout:
            self.pgconn.finish()
            raise

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Yield the values that `gen` yields: each says what psycopg waits for. Return the value that `gen` returns.
        Check the time limits each time the server has sent nothing for 0.1 s."""
        began, wait, looked = 0.0, None, 0.0
        try:
            state = next(gen)
            while True:
                ready = yield state
                if not ready:
                    now = time.monotonic()
                    if wait is None:
                        began = looked = now
                        wait = waits.begin(f"an answer of the ledger `{masked(self.url)}`", ANSWER_S)
                    looked = self._look(now, began, looked)
                state = gen.send(ready)
        except StopIteration as end:
            found: T = end.value
            return found
        finally:
            waits.end(wait)

    def _look(self, now: float, began: float, looked: float) -> float:
        """Return the time when the server was last known to be alive. `began` is when the wait began, and `looked` is
        the time that the last call returned. Raise `ConnectionTimeout` if the server doesn't answer, or if the wait has
        reached its time limit."""
        waited_s = now - began
        if (self.hurries or waits.is_hurried()) and waited_s > HURRY_S:
            raise psycopg.errors.ConnectionTimeout(f"no answer within {waited_s:.0f} s")
        if now - looked <= LOOK_S:
            return looked
        if waited_s > ANSWER_S or not answers(self.url):
            raise psycopg.errors.ConnectionTimeout(f"no answer within {time.monotonic() - began:.0f} s")
        return now


def answers(url: str) -> bool:
    """Return whether a server accepts a new connection. For this, the server must answer several messages, so a stopped
    server doesn't pass the check."""
    try:
        psycopg.connect(url, **(options(url) | {"connect_timeout": REACH_S})).close()
    except psycopg.Error:
        return False
    return True


def link_to(url: str) -> Link:
    """Return a new connection to the server, with the settings and type adapters that we need."""
    with waits.waiting(f"the ledger `{masked(url)}`", float(REACH_S)):
        link = Link.connect(url, autocommit=True, prepare_threshold=0, **options(url))
    link.url = url
    link.prepared_max = 200
    link.adapters.register_dumper(int, Int8Dumper)
    link.adapters.register_dumper(int, Int8BinaryDumper)
    link.adapters.register_dumper(str, _Text)
    link.execute(SETTINGS.encode())
    return link


class _Text(StrDumperUnknown):
    """Converts text for PostgreSQL, which allows no NUL characters: each becomes U+FFFD, the replacement character."""

    def dump(self, obj: str) -> bytes:
        return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)  # type: ignore[return-value]
