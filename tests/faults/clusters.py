"""Disturbances of a Ray cluster: workers, nodes and the head killed, nodes suspended, its link cut or slow."""

from __future__ import annotations

import subprocess

from tests.faults.grounds import Ground
from tests.faults.rounds import Disturbance, Round, kill, remains
from tests.servers.proxy import Proxy
from tests.servers.ray import Node


class OfCluster(Disturbance):
    """It happens to a cluster."""

    weight = 3.0
    uses = frozenset({"fleet"})

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.backend == "ray"


class KillActors(OfCluster):
    """A process of a worker on the cluster is killed: the worker, or what began it."""

    name = "kill Ray worker"
    weight = 4.0

    def strike(self, now: Round) -> None:
        pids = [int(each.split()[0]) for each in remains(now.world)]
        if pids:
            kill(now.rng.choice(sorted(pids)))


class KillNode(OfCluster):
    """A node of the cluster is killed, and another one comes."""

    name = "kill Ray node"

    def __init__(self) -> None:
        self._killed = False

    def strike(self, now: Round) -> None:
        cluster = now.world.ray
        cluster.kill(now.rng.choice(cluster.nodes))
        self._killed = True

    def heal(self, now: Round) -> None:
        if self._killed:
            self._killed = False
            now.world.ray.add()


class HoldNode(OfCluster):
    """A node of the cluster is suspended for a while."""

    name = "suspend Ray node"
    weight = 2.0

    def __init__(self) -> None:
        self._held: Node | None = None

    def strike(self, now: Round) -> None:
        self._held = now.rng.choice(now.world.ray.nodes)
        self._held.hold()

    def heal(self, now: Round) -> None:
        if self._held is not None:
            self._held.go_on()


class KillHead(OfCluster):
    """The head of the cluster is killed, and with it the cluster; another one comes, at the same address."""

    name = "kill Ray head"
    weight = 2.0

    def strike(self, now: Round) -> None:
        now.world.ray.kill_head()

    def heal(self, now: Round) -> None:
        cluster = now.world.ray
        if cluster.head is None:
            for node in list(cluster.nodes):
                cluster.kill(node)
            cluster.start((0, 2, 2))


class HoldHead(OfCluster):
    """The head of the cluster is suspended for a while: it takes connections, and answers nothing."""

    name = "suspend Ray head"
    weight = 2.0

    def strike(self, now: Round) -> None:
        if now.world.ray.head is not None:
            now.world.ray.head.hold()

    def heal(self, now: Round) -> None:
        if now.world.ray.head is not None:
            now.world.ray.head.go_on()


class OfLink(OfCluster):
    """It happens to the link between us and a cluster on a machine apart, which reaches our S3 by it, too."""

    weight = 2.0
    uses = frozenset({"fleet", "s3"})

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return super().fits(ground) and ground.store == "s3"

    def ready(self, now: Round) -> None:
        far, apart = now.world.far, now.world.apart
        self._proxy = Proxy(now.world.s3.port, host=apart.ours)
        now.project.environment |= far.credentials
        now.project.environment[f"HEADRACE__POOL__{now.place.ground.sections[-1].upper()}__ADDRESS"] = (
            far.client_address
        )
        now.project.environment["HEADRACE__STORE__ENDPOINT"] = self._proxy.endpoint

    def heal(self, now: Round) -> None:
        now.world.apart.heal()

    def clear(self, now: Round) -> None:
        self._proxy.stop()


class LinkCut(OfLink):
    """Nothing passes, and nobody is told."""

    name = "cluster's link cut"

    def strike(self, now: Round) -> None:
        now.world.apart.cut()


class LinkSlow(OfLink):
    """Little passes at a time."""

    name = "cluster's link slow"

    def strike(self, now: Round) -> None:
        rate = now.rng.choice(["200kbit", "1mbit", "5mbit"])
        _tc(now, "add", "tbf", "rate", rate, "burst", "4kb", "latency", "200ms")

    def heal(self, now: Round) -> None:
        _tc(now, "del")


def _tc(now: Round, what: str, *words: str) -> None:
    """Add a rule to our end of the link, or remove it; one that isn't there is no error."""
    subprocess.run(
        ["tc", "qdisc", what, "dev", now.world.apart.link, "root", *words], check=what == "add", capture_output=True
    )
