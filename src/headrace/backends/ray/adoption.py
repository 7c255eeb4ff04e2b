"""Takes over, or ends, the actors that earlier drivers of a run left on the cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress

import ray
from ray.exceptions import GetTimeoutError, RayError

from headrace.backends.ray.cluster import Cluster
from headrace.backends.ray.messages import Handle, Taken, decode_taken
from headrace.spec.noun import UNREADABLE

TAKE_S = 10.0
"""How long an actor may take to answer a call of `take`, in seconds. An actor that hasn't started doesn't answer."""
GONE_S = 10.0
LEAVE_S = 3.0
"""How long an actor whose worker is leaving may take to end, in seconds."""
_POLL_S = 0.02


def take_over(cluster: Cluster, run: str, epoch: int) -> dict[str, tuple[Handle, Taken]]:
    """Take over those actors of a run that answer, and return the handle and the state of each actor, by its name.

    An actor is ended if it doesn't answer, if its worker is leaving, or if it runs a tracer. An actor of a newer driver
    is left alone.
    """
    handles = cluster.find(run)
    asked = {name: handle.take.remote(epoch) for name, handle in handles.items()}
    taken: dict[str, tuple[Handle, Taken]] = {}
    if not asked:
        return taken
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=TAKE_S)
    ending: dict[str, Handle] = {}
    for name, ref in asked.items():
        try:
            answer = ray.get(ref, timeout=0.1)
        except (RayError, GetTimeoutError):
            ending[name] = handles[name]
            continue
        if answer is None:
            continue  # a newer driver has the actor
        try:
            state = decode_taken(answer)
        except UNREADABLE:  # the actor runs another version of Headrace
            ending[name] = handles[name]
            continue
        taken[name] = handles[name], state
        if state.leaving or state.job.role == "tracer":
            handles[name].leave.remote(epoch)
            ending[name] = handles[name]
    _end(cluster, run, ending)
    return taken


def end_all(cluster: Cluster, run: str) -> None:
    """End all remaining actors of a run, and wait until they are gone."""
    _end(cluster, run, cluster.find(run), patience_s=0.0)


def _end(cluster: Cluster, run: str, ending: Mapping[str, Handle], patience_s: float = LEAVE_S) -> None:
    """Wait up to `patience_s` for actors to leave. Then kill those that haven't left, and wait until they are gone."""
    due = time.monotonic() + patience_s
    while ending and not ending.keys().isdisjoint(cluster.names(run)) and time.monotonic() < due:
        time.sleep(_POLL_S)
    for handle in ending.values():
        with suppress(RayError):
            cluster.kill(handle)
    due = time.monotonic() + GONE_S
    while ending and not ending.keys().isdisjoint(cluster.names(run)) and time.monotonic() < due:
        time.sleep(_POLL_S)
