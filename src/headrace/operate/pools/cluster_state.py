"""The state of a cluster at one moment, for `headrace doctor`."""

from __future__ import annotations

from msgspec import Struct


class Trouble(Struct, frozen=True, kw_only=True):
    """The reason why workers can't start on a node, and a hint on what to do. `sure` is False if it is only likely that
    they can't start."""

    node: str
    why: str
    hint: str | None
    sure: bool = True


class ClusterState(Struct, frozen=True, kw_only=True):
    """A cluster's state: a description (`words`), the cpus and gpus of all its machines, and its round-trip time.

    `unfit` says why the pool can't use any node of the cluster; it is empty if the pool can use some. `troubles` are
    nodes on which workers can't start.
    """

    words: str
    cpu: float
    gpus: float
    round_trip_s: float
    unfit: str = ""
    troubles: tuple[Trouble, ...] = ()
