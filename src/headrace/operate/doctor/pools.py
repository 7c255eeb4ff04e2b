"""Checks of the pools: whether this machine has what a local pool promises, whether a cluster can be reached, and
whether workers can start on its nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from headrace.operate.doctor.finding import Answer, State
from headrace.operate.pools.cluster_state import Trouble
from headrace.operate.pools.pools import look_at
from headrace.project import host_limits
from headrace.project.project import Project
from headrace.spec.fleet import Pool, amount


def pool_checks(project: Project) -> dict[str, Callable[[], Answer]]:
    """Return the check of each pool, by name."""
    return {f"pool {pool.name}": partial(_pool, project, pool) for pool in project.pools()}


def _pool(project: Project, pool: Pool) -> Answer:
    promised = f"{amount(pool.cpu, 'cpu')}, {pool.memory_gib:.1f} GiB"
    if pool.backend == "local":
        if pool.cpu > host_limits.cpus() or pool.memory_gib > host_limits.memory_gib():
            return "doubtful", promised, f"lower cpu or memory_gib of pool `{pool.name}` to what the machine gives"
        return "well", promised, None
    seen = look_at(project, pool)
    found = f"{seen.words}; answers in {seen.round_trip_s * 1000:.1f} ms"
    if seen.troubles:
        return _troubled(found, seen.troubles)
    if seen.unfit:
        hint = f"correct `labels` and `resources` of pool `{pool.name}`, or add such nodes: until then its runs wait"
        return "doubtful", f"{found}; {seen.unfit}", hint
    section = project.config.pool[pool.name]
    if seen.cpu < (section.cpu or 0) or seen.gpus < section.gpus:
        return (
            "doubtful",
            f"{found}; the settings promise {amount(section.cpu or seen.cpu, 'cpu')} and {amount(section.gpus, 'gpu')}",
            f"lower cpu or gpus of pool `{pool.name}` to what the cluster has, or add nodes",
        )
    return "well", found, None


def _troubled(found: str, troubles: Sequence[Trouble]) -> Answer:
    """Return the answer for a cluster if workers can't start on some of its nodes. Nodes with the same trouble are
    grouped."""
    nodes: dict[str, list[str]] = {}
    for trouble in troubles:
        nodes.setdefault(trouble.why, []).append(f"`{trouble.node}`")
    listed = "; ".join(f"node {', '.join(dict.fromkeys(names))}: {why}" for why, names in nodes.items())
    hints = dict.fromkeys(trouble.hint for trouble in troubles if trouble.hint)
    state: State = "wrong" if any(each.sure for each in troubles) else "doubtful"
    return state, f"{found}; {listed}", "; ".join(hints) or None
