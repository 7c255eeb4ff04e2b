"""One session with a PostgreSQL server, which waits for no answer without end.

A statement may take long, and a server that is stopped, or lies behind a line that holds everything, says nothing
either. So whoever waits for `LOOK_S` looks whether the server answers at all, on a connection of its own, and then so
often again. A session of which no answer can be expected any more is closed, as if its connection had broken.
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
"""After this time without an answer it is looked whether the server gives any."""

REACH_S = 10
"""How long a look may take, in whole seconds."""

ANSWER_S = 1800.0
"""How long an answer may take from a server that lives: one session of it may hang alone."""

HURRY_S = 2.0
"""How long an answer is waited for by who leaves."""

SETTINGS = """
SELECT set_config('idle_in_transaction_session_timeout', '10s', false), set_config('lock_timeout', '30s', false),
set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE
current_setting('synchronous_commit') END, false)
"""
"""A driver that is stopped in the midst of a transaction must not hold its rows for ever; nor wait so long itself.
What was committed is on the server's disk."""


class Link(psycopg.Connection[Any]):
    """A session whose waits have an end."""

    url = ""
    hurries = False

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **more: Any) -> T:
        """Wait for the server, but not without end.

        Raises:
            psycopg.errors.ConnectionTimeout: it doesn't answer; this session is closed.
        """
        try:
            return super().wait(self._bounded(gen), *args, **more)
        except psycopg.errors.ConnectionTimeout:
            self.pgconn.finish()
            raise

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Pass on what psycopg waits for, and look at the time whenever nothing has come for a tenth of a second."""
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
        """Return when the server was last known to live; raise where it doesn't, or one may wait no longer."""
        waited_s = now - began
        if (self.hurries or waits.is_hurried()) and waited_s > HURRY_S:
            raise psycopg.errors.ConnectionTimeout(f"no answer within {waited_s:.0f} s")
        if now - looked <= LOOK_S:
            return looked
        if waited_s > ANSWER_S or not answers(self.url):
            raise psycopg.errors.ConnectionTimeout(f"no answer within {time.monotonic() - began:.0f} s")
        return now


def answers(url: str) -> bool:
    """Return whether a server lets one in, which takes some questions and answers."""
    try:
        psycopg.connect(url, **(options(url) | {"connect_timeout": REACH_S})).close()
    except psycopg.Error:
        return False
    return True


def link_to(url: str) -> Link:
    """Connect, with what we need of a session."""
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
    """Text, in which PostgreSQL takes no zero characters; one shows as what can't be shown."""

    def dump(self, obj: str) -> bytes:
        return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)  # type: ignore[return-value]
