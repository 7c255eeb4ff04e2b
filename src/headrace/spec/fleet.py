"""The fleet: pools of similar machines, in regions, connected by links."""

from __future__ import annotations

import math

from headrace.errors import ConfigError
from headrace.spec.address import StoreAddress
from headrace.spec.noun import Noun
from headrace.spec.stage import Resources

HOME = "local"
"""The region of a pool or store that names no region."""


def amount(number: float, noun: str) -> str:
    """Return a number with its noun.

    >>> amount(1, "cpu"), amount(1.5, "cpu"), amount(4, "gpu")
    ('1 cpu', '1.5 cpus', '4 gpus')
    """
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


class Shape(Noun, frozen=True):
    """What one machine has: cpus, GiB of memory, gpus, and the kind of its gpus (None if the kind has no name)."""

    cpu: float
    memory_gib: float
    gpus: int = 0
    gpu_kind: str | None = None


class Pool(Noun, frozen=True):
    """Similar machines of one provider, in one region, behind one backend.

    `cpu`, `memory_gib` and `gpus` are the totals of all machines. `usd_per_hour` is the price of the whole pool.
    `gpu_kind` is None if the kind of the gpus has no name. `nodes` is the number of machines. `machines` has
    each kind of machine in the pool once; if it is empty, the totals are divided among the machines evenly. `spot` is
    true if the provider may take the machines away.
    """

    name: str
    backend: str = "local"
    provider: str = "local"
    region: str = HOME
    cpu: float = 1.0
    memory_gib: float = 1.0
    gpus: int = 0
    gpu_kind: str | None = None
    nodes: int = 1
    usd_per_hour: float = 0.0
    spot: bool = False
    machines: tuple[Shape, ...] = ()

    def __post_init__(self) -> None:
        finite = math.isfinite(self.cpu) and math.isfinite(self.memory_gib) and math.isfinite(self.usd_per_hour)
        if (
            not finite
            or self.cpu <= 0
            or self.memory_gib <= 0
            or self.nodes < 1
            or self.usd_per_hour < 0
            or self.gpus < 0
        ):
            raise ConfigError(
                f"pool `{self.name}` has cpu={self.cpu:g} memory_gib={self.memory_gib:g} nodes={self.nodes} "
                f"gpus={self.gpus} usd_per_hour={self.usd_per_hour:g}",
                hint="cpu, memory_gib and nodes are finite and above 0; gpus and usd_per_hour are 0 or more",
            )

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What one machine of each kind has."""
        if self.machines:
            return self.machines
        gpus = math.ceil(self.gpus / self.nodes)
        cpu, memory_gib = self.cpu / self.nodes, self.memory_gib / self.nodes
        return (Shape(cpu=cpu, memory_gib=memory_gib, gpus=gpus, gpu_kind=self.gpu_kind),)

    def holds(self, need: Resources) -> str | None:
        """Return why this pool can never hold an attempt that needs `need`, or None if the pool can hold such an
        attempt. Each node of the attempt takes a machine of its own, which must have what `need` says."""
        if need.nodes > self.nodes:
            return f"it has {amount(self.nodes, 'node')}"
        if need.gpu_kind and need.gpu_kind != self.gpu_kind:
            return f"its gpus are {self.gpu_kind or 'of no named kind'}" if self.gpus else "it has no gpu"
        return self._lacks(need) or self._machines_lack(need)

    def _lacks(self, need: Resources) -> str | None:
        if need.cpu * need.nodes > self.cpu:
            return f"it has {amount(self.cpu, 'cpu')}"
        if need.memory_gib * need.nodes > self.memory_gib:
            return f"it has {self.memory_gib:.3g} GiB of memory"
        if need.gpus * need.nodes > self.gpus:
            return f"it has {amount(self.gpus, 'gpu')}" if self.gpus else "it has no gpu"
        return None

    def _machines_lack(self, need: Resources) -> str | None:
        shapes = self.shapes
        if any(
            need.cpu <= each.cpu and need.memory_gib <= each.memory_gib and need.gpus <= each.gpus for each in shapes
        ):
            return None
        if need.cpu > (most := max(each.cpu for each in shapes)):
            return f"it has {amount(self.cpu, 'cpu')}, but at most {most:g} on one machine"
        if need.memory_gib > (most := max(each.memory_gib for each in shapes)):
            return f"it has {self.memory_gib:.3g} GiB of memory, but at most {most:.3g} GiB on one machine"
        if need.gpus > (most := max(each.gpus for each in shapes)):
            return f"it has {amount(self.gpus, 'gpu')}, but at most {most} on one machine"
        memory = [f"{need.memory_gib:.3g} GiB of memory"] if need.memory_gib else []
        gpus = [amount(need.gpus, "gpu")] if need.gpus else []
        return f"no machine of it has {' and '.join([amount(need.cpu, 'cpu'), *memory, *gpus])} at once"

    def share(self, need: Resources) -> float:
        """Return the share of the pool that an attempt uses (0 to 1): the largest of its cpu, memory and gpu shares."""
        nodes = need.nodes
        shares = [need.cpu * nodes / self.cpu, need.memory_gib * nodes / self.memory_gib]
        if self.gpus:
            shares.append(need.gpus * nodes / self.gpus)
        return min(1.0, max(shares))


class Region(Noun, frozen=True):
    """A place with a store.

    `jurisdiction` names the law that applies to the region's data, such as `EU`. It is recorded, but has no effect yet.
    """

    name: str
    store: StoreAddress
    jurisdiction: str | None = None


class Link(Noun, frozen=True):
    """A network link from one region to another: its speed in bits per second, and its price in US dollars per GB
    (10**9 bytes)."""

    source: str
    target: str
    bits_per_s: float
    usd_per_gb: float

    def usd(self, size: int) -> float:
        """Return the price of sending `size` bytes, in US dollars."""
        return size / 1e9 * self.usd_per_gb

    def seconds(self, size: int) -> float:
        """Return how many seconds it takes to send `size` bytes."""
        return size * 8 / self.bits_per_s


class Fleet(Noun, frozen=True):
    """All pools, regions and links that a project may use."""

    pools: tuple[Pool, ...]
    regions: tuple[Region, ...] = ()
    links: tuple[Link, ...] = ()
