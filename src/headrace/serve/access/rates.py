"""How often a client may ask."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import re
import struct
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b

from headrace.errors import ConfigError
from headrace.spec.noun import Noun

_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_TEXT = re.compile(r"([1-9][0-9]{0,8}) ?/ ?([smh])")
_ROUNDED_S = 1e-6
"""By how many seconds a request may come too early, because floating-point numbers are rounded."""
_ENTRY = struct.Struct("<Qd")
_ENTRIES, _NEAR = 1 << 14, 16
"""How many entries the table of `Rates` has, and among how many of them a client's entry is looked for."""
_TRIES = 50
"""How often to try to get the table's lock, which is held for a few microseconds at a time."""


class Rate(Noun, frozen=True):
    """How many requests a client may make: `per_s` in a second on average, and up to `burst` at once.

    This is a token bucket (or GCRA, as ITU-T I.371 calls it). A bucket has room for `burst` requests. Each request
    takes one out, and they are put back one by one, `per_s` each second.
    """

    per_s: float

    @property
    def burst(self) -> float:
        """How many requests a client may make at once, after a pause: as many as in a second, but at least one."""
        return max(1.0, self.per_s)

    def taken(self, full: float, now: float) -> tuple[float, float]:
        """Take one request out of a client's bucket at the time `now`, if the bucket has one. `full` is the time when
        the bucket would be full without this request.

        Return two numbers: the time when the bucket will be full, and how many seconds the client must wait before it
        may make the request. If it must wait, nothing is taken out, and the first number is `full`. If it may make the
        request now, the second number is 0. All times are in seconds, by the same clock.

        >>> rate = Rate(per_s=2)
        >>> full, wait = rate.taken(0.0, 10.0)
        >>> full, wait
        (10.5, 0.0)
        >>> rate.taken(11.0, 10.0)
        (11.0, 0.5)
        """
        after = max(full, now) + 1 / self.per_s
        wait = after - now - self.burst / self.per_s
        return (full, wait) if wait > _ROUNDED_S else (after, 0.0)


def rate_in(text: str) -> Rate:
    """Return the rate that a text means, such as `100/s`, `600/m` or `10/h`.

    Raises:
        ConfigError: the text isn't a rate.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"`{text:.80}` is not a rate", hint='give a number of requests with its time: "100/s", "600/m"'
        )
    return Rate(per_s=int(found[1]) / _SECONDS[found[2]])


class Rates:
    """Limits how often clients may make requests. Processes that are forked after this was made count together.

    A table in shared memory has an entry for each client: a hash of its name, and the time when its bucket is full
    again. After this time, another client may use the entry.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._file = os.memfd_create("headrace-rates")
        os.ftruncate(self._file, _ENTRIES * _ENTRY.size)
        self._table = mmap.mmap(self._file, _ENTRIES * _ENTRY.size)
        weakref.finalize(self, os.close, self._file)

    def wait_s(self, client: str) -> int:
        """If a client may make a request now, count this request and return 0. Otherwise return for how many seconds
        the client must wait, rounded up."""
        number = int.from_bytes(blake2b(client.encode(), digest_size=8).digest())
        with self._locked():
            now = self._clock()
            place, full = self._entry(number, now)
            full, wait = self._rate.taken(full, now)
            _ENTRY.pack_into(self._table, place, number, full)
        return math.ceil(wait)

    def _entry(self, number: int, now: float) -> tuple[int, float]:
        """Return the place of a client's entry, and when the client's bucket is full. If the client has no entry, this
        is the place of an entry that nobody uses any more. If there is none near by, it is the one that would be free
        first, whose client then starts again with a full bucket."""
        free, soonest = 0, math.inf
        for step in range(_NEAR):
            place = (number + step) % _ENTRIES * _ENTRY.size
            whose, full = _ENTRY.unpack_from(self._table, place)
            if whose == number:
                return place, full
            if max(full, now) < soonest:
                free, soonest = place, max(full, now)
        return free, -math.inf

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes away from the table meanwhile. The kernel releases the lock of a process that dies. A
        process may be suspended while it has the lock, and then the others don't wait for it. So a request may go
        uncounted, but only while another one is counted in the very same moment."""
        for _ in range(_TRIES):
            with suppress(BlockingIOError):
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
