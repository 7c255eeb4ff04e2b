"""How often a client may ask."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from headrace.errors import ConfigError
from headrace.spec.noun import Noun

_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_TEXT = re.compile(r"([1-9][0-9]{0,8}) ?/ ?([smh])")
_ROUNDED_S = 1e-6
"""By how many seconds a request may come too early, because floating-point numbers are rounded."""


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
        """Take a request out of a bucket at the time `now`. Return the time when the bucket is full again, and for how
        many seconds the client must wait (0: the request may be made now). `full` is the time when the bucket would be
        full without this request. All times are in seconds, by the same clock.

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
        raise ConfigError(f"`{text:.80}` is no rate", hint='give a number of requests with its time: "100/s", "600/m"')
    return Rate(per_s=int(found[1]) / _SECONDS[found[2]])


class Rates:
    """Limits how often clients may make requests, in one process."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._full: dict[str, float] = {}

    def wait_s(self, client: str) -> int:
        """If a client may make a request now, count this request and return 0. Otherwise return for how many seconds
        the client must wait, rounded up. `client` must not be a name that clients can invent, since each name is
        remembered."""
        self._full[client], wait = self._rate.taken(self._full.get(client, -math.inf), self._clock())
        return math.ceil(wait)
