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

    `used` is what the run uses now. `want` is all that it would use if it could, including `used`. `least` is what the
    run's next attempt needs. If `least` is zero, the need isn't known. Each attempt is then assumed to need one cpu,
    and its share of the memory and gpus: what the run still wants of them, divided by the cpus that it still wants.
    `held` is what the run was last granted. `served` tells when the run's grant last grew: the later, the larger the
    number.
    """

    want: Amount
    used: Amount = Amount()
    least: Amount = Amount()
    held: Amount = Amount()
    served: int = 0
