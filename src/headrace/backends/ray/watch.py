"""Looks, beside the drive loop, whether the cluster's head answers, and what workers wait for that have not begun."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from headrace.backends.ray.cluster import Cluster

EVERY_S = 1.0


class Watch:
    """A thread of its own, since such questions take as long as the network likes."""

    def __init__(self, cluster: Cluster, labels: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._labels = labels
        self._asked: Mapping[int, Mapping[str, float]] = {}
        self._told: dict[int, str] = {}
        self._stopped = threading.Event()
        self._answered_at = self._looked_at = time.monotonic()
        self._since: float | None = None
        threading.Thread(target=self._run, name="headrace-ray-watch", daemon=True).start()

    @property
    def unheard_s(self) -> float:
        """How long the head has not answered. One that is stopped takes connections still, and answers nothing."""
        now = self._looked_at if self._since is None else time.monotonic()
        return now - self._answered_at

    def ask(self, needs: Mapping[int, Mapping[str, float]]) -> None:
        """Have it find out what these workers wait for, which need this much of Ray's resources each."""
        self._asked = needs

    def told(self) -> dict[int, str]:
        """Give what has been found out since the last time."""
        told, self._told = self._told, {}
        return told

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self._since = time.monotonic()
            if self._cluster.answers():
                with suppress(Exception):  # whatever Ray raises as the cluster goes: the next look tells that it has
                    self._cluster.ping()
                    self._answered_at = time.monotonic()
                    asked = self._asked
                    self._told = {worker: self._cluster.lacking(each, self._labels) for worker, each in asked.items()}
            self._looked_at, self._since = time.monotonic(), None
