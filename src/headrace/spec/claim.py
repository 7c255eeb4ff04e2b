"""A claim: what a live run wants of a pool, uses of it and was granted."""

from __future__ import annotations

from headrace.spec.noun import Noun


class Amount(Noun, frozen=True):
    """Some of a pool."""

    cpu: float = 0.0
    memory_gib: float = 0.0
    gpus: int = 0


class Claim(Noun, frozen=True):
    """A live run's claim on a pool.

    `want` is all that it would use, what it uses now (`used`) included. `least` is what its next attempt needs (zero:
    not known, taken as one cpu's worth of what is wanted). `held` is what it was granted last. `served` is larger the
    later the run last got more.
    """

    want: Amount
    used: Amount = Amount()
    least: Amount = Amount()
    held: Amount = Amount()
    served: int = 0
