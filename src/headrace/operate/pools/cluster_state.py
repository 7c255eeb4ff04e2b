"""A cluster as it was seen."""

from __future__ import annotations

from msgspec import Struct


class Trouble(Struct, frozen=True, kw_only=True):
    """What keeps workers from beginning on a node, and what to do. `sure` is False when this is only likely."""

    node: str
    why: str
    hint: str | None
    sure: bool = True


class ClusterState(Struct, frozen=True, kw_only=True):
    """What a cluster is, in words, what its machines hold together, and how far away it is. `unfit` says why none of
    its nodes is one that the pool may use."""

    words: str
    cpu: float
    gpus: float
    round_trip_s: float
    unfit: str = ""
    troubles: tuple[Trouble, ...] = ()
