"""A claim: how much of a pool a live run wants, uses and was granted."""

from __future__ import annotations

from headrace.spec.noun import Noun


class Amount(Noun, frozen=True):
    """An amount of a pool's resources: cpus, GiB of memory and gpus."""

    cpu: float = 0.0
    memory_gib: float = 0.0
    gpus: int = 0


class Claim(Noun, frozen=True):
    """A live run's claim on a pool.

    `want` is all that the run would use, including `used`, which it uses now. `least` is what its next attempt needs;
    zero means not known, and one cpu's worth of the amount wanted is assumed. `held` is the last grant. `served` orders
    the runs by when their grants last grew: the later, the larger.
    """

    want: Amount
    used: Amount = Amount()
    least: Amount = Amount()
    held: Amount = Amount()
    served: int = 0
