"""Where the Ray backend stands for its contract, and connects to clusters of tests."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from headrace.testing.backend_setup import WorkerStand
from tests.servers.ray import Ray

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[client]'")

from ray._private.authentication_test_utils import reset_auth_token_state

from headrace.backends.ray.backend import RayBackend
from headrace.backends.ray.cluster import Cluster

RUN = "HEADRACE_RUN"
TOKEN = "RAY_AUTH_TOKEN_PATH"


class RayStand(WorkerStand):
    """The Ray backend on a cluster that others have used before."""

    def __init__(self, folder: Path, cluster: Cluster, *, beside: Path | None = None) -> None:
        super().__init__(folder, beside=beside)
        self.hello = replace(self.hello, variables=(TOKEN,))  # by which `of_run` tells clusters apart
        self.hides = self.isolated = beside is not None
        self._cluster = cluster
        self._epochs = itertools.count(1)

    def backend(self, **options: Any) -> RayBackend:
        return RayBackend(
            self.pool,
            self.hello,
            self.store.spool,
            self._cluster,
            epoch=next(self._epochs),
            grace_s=0.5,
            hidden=(str(self.home),),
            shown=(str(self.store.local),),
            readable=(str(self.other),),
            **options,
        )

    def living(self) -> list[object]:
        """Return the processes that workers consist of, and the actors that hold them."""
        return [*self._cluster.names(self.hello.run), *of_run(self.hello.run)]


def of_run(run: str) -> Iterator[psutil.Process]:
    """Go over the processes that were begun for a run on the cluster that this process has the token of."""
    ours = os.environ[TOKEN]
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if (
                environment.get(RUN) == run
                and environment.get(TOKEN) == ours
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                yield process
        except psutil.Error:
            continue


class Lasting(Cluster):
    """A connection that many backends use, one after another."""

    def leave(self) -> None:
        """Keep it: the next test uses it."""

    def end(self) -> None:
        """Let go of it."""
        super().leave()


@contextmanager
def connected(server: Ray, address: str) -> Iterator[Lasting]:
    """Return a connection to a cluster, which is stopped at the end."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.credentials.items():
            patch.setenv(name, value)
        reset_auth_token_state()  # Ray has looked when it was imported
        try:
            cluster = Lasting("here", address)
            yield cluster
            cluster.end()
        finally:
            server.stop()
