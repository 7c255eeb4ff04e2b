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
"""How much too early a request may come: numbers of the computer are rounded."""


class Rate(Noun, frozen=True):
    """How many requests a client may make: `per_s` each second on average, and as many as that, but at least one, at
    once.

    It is a token bucket (or GCRA, as ITU-T I.371 calls it): a bucket with room for `burst` requests, which are put
    back one by one, `per_s` each second.
    """

    per_s: float

    @property
    def burst(self) -> float:
        """How many requests may come at once, after a rest."""
        return max(1.0, self.per_s)

    def taken(self, full: float, now: float) -> tuple[float, float]:
        """Return what becomes of a bucket when a request comes: when it is full again, and for how many seconds the
        client must wait if there is no room for its request, or else 0. `full` is when it would be full without this
        request. All times are of one clock, in seconds.

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
    """Return the rate that a text tells, such as `100/s`, `600/m` or `10/h`.

    Raises:
        ConfigError: it tells none.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"`{text:.80}` is no rate", hint='give a number of requests with its time: "100/s", "600/m"')
    return Rate(per_s=int(found[1]) / _SECONDS[found[2]])


class Rates:
    """Counts what clients ask, in one process."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._full: dict[str, float] = {}

    def wait_s(self, client: str) -> int:
        """Return 0 if a client may ask now, and count that it does; or else for how many seconds it must wait, rounded
        up. The name of a client must be none that it invents: each name is remembered."""
        self._full[client], wait = self._rate.taken(self._full.get(client, -math.inf), self._clock())
        return math.ceil(wait)
