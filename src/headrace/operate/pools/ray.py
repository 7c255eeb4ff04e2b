"""Functions that open and check a pool on a Ray cluster. This module imports Ray, so `pools` imports it only if
needed."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
import ray
from msgspec.structs import replace

from headrace.backends.ray.backend import RayBackend
from headrace.backends.ray.cluster import REACH_S, Cluster
from headrace.backends.ray.needs import Needs
from headrace.operate.pools.cluster_state import ClusterState, Trouble
from headrace.project.host_limits import GIB
from headrace.project.project import machines_of
from headrace.project.settings import PoolSection
from headrace.report.measures import count_text
from headrace.run.ports import Spool
from headrace.run.wire import Hello
from headrace.spec.address import StoreAddress
from headrace.spec.fleet import Pool, Shape, amount
from headrace.work.host_check import try_here

NODES, NODES_S = 8, 20.0
"""How many nodes are tried (all at the same time), and for how many seconds. It is enough to try some nodes, because on
most clusters all nodes are alike."""


def open_ray(
    section: PoolSection,
    pool: Pool,
    hello: Hello,
    spool: Spool,
    *,
    epoch: int,
    hidden: Sequence[Path],
    shown: Sequence[Path],
    readable: Sequence[Path],
) -> RayBackend:
    """Connect to the pool's cluster, and return its backend. `epoch` is the epoch of the run's lease.

    `hidden` are folders that workers may not see, except the folders in `shown` and `readable`. They can't write to
    those in `readable`.

    Raises:
        ConfigError: the cluster has other versions of Ray or Python.
        BackendError: the cluster can't be reached.
    """
    cluster = _cluster(section, pool)
    try:
        measured = _measured(section, pool, cluster)
    except BaseException:
        cluster.leave()
        raise
    return RayBackend(
        measured,
        hello,
        spool,
        cluster,
        epoch=epoch,
        namespace=section.namespace,
        hidden=[str(folder) for folder in hidden],
        shown=[str(folder) for folder in shown],
        readable=[str(folder) for folder in readable],
        needs=Needs(labels=section.labels, resources=section.resources),
        headless_s=section.headless_s,
        grace_s=section.stop_s,
    )


def look(section: PoolSection, pool: Pool, store: StoreAddress) -> ClusterState:
    """Connect to the pool's cluster, and return its state, with the nodes on which workers can't start."""
    cluster = _cluster(section, pool)
    try:
        nodes = cluster.nodes(section.labels)
        cpu = _sum(nodes, "CPU")
        where = f"at {section.address}" if section.address else "on this machine"
        release = f"Ray {ray.__version__}, Python {platform.python_version()}"
        return ClusterState(
            words=f"{release} {where}: {count_text(len(nodes), 'node')}, {amount(cpu, 'cpu')}",
            cpu=cpu,
            gpus=_sum(nodes, "GPU"),
            round_trip_s=statistics.median(cluster.ping() for _ in range(5)),
            unfit=cluster.unfit(section.resources, section.labels),
            troubles=_troubles(section, cluster, store),
        )
    finally:
        cluster.leave()


def _troubles(section: PoolSection, cluster: Cluster, store: StoreAddress) -> tuple[Trouble, ...]:
    """Try on up to `NODES` nodes whether workers can start, and return a trouble for each node on which they can't."""
    release = version("headrace")
    address = msgspec.msgpack.encode(store)
    answers = cluster.ask(try_here, release, address, labels=section.labels, most=NODES, within_s=NODES_S)
    troubles = []
    for answer in answers:
        if answer.late:
            hint = f"check that it reaches `{store.endpoint or store.url}`, and that it has a cpu to spare"
            troubles.append(Trouble(node=answer.node, why=answer.why, hint=hint, sure=False))
        elif answer.why:
            troubles.append(Trouble(node=answer.node, why=answer.why, hint=f"install Headrace {release} there"))
        elif answer.given is not None:
            why, hint = answer.given
            troubles.append(Trouble(node=answer.node, why=why, hint=hint))
    return tuple(troubles)


def _measured(section: PoolSection, pool: Pool, cluster: Cluster) -> Pool:
    """Return the pool with its size in the cluster: its machines are the nodes that have the pool's labels, with all
    their cpus, memory and gpus. Limits in the settings are kept."""
    nodes = cluster.nodes(section.labels)
    cpu = (_sum(nodes, "CPU") or pool.cpu) if section.cpu is None else pool.cpu
    memory_gib = (_sum(nodes, "memory") / GIB or pool.memory_gib) if section.memory_gib is None else pool.memory_gib
    gpus = pool.gpus or int(_sum(nodes, "GPU"))
    are_told = any("GPU" in node for node in nodes)  # else the settings may know of gpus that Ray doesn't count
    shapes = [
        Shape(
            cpu=min(node.get("CPU", 0.0), cpu),
            memory_gib=min(node.get("memory", memory_gib * GIB) / GIB, memory_gib),
            gpus=min(int(node.get("GPU", 0.0 if are_told else gpus)), gpus),
        )
        for node in nodes
    ]
    return replace(
        pool,
        nodes=max(len(nodes), pool.nodes),
        cpu=cpu,
        memory_gib=memory_gib,
        gpus=gpus,
        machines=machines_of(section, shapes),
    )


def _sum(nodes: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(node.get(name, 0.0) for node in nodes)


def _cluster(section: PoolSection, pool: Pool) -> Cluster:
    reach_s = min(REACH_S, section.headless_s)
    return Cluster(
        pool.name, section.address, cpu=pool.cpu, memory_gib=pool.memory_gib, gpus=pool.gpus, reach_s=reach_s
    )
