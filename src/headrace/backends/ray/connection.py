"""The connection of this process to a Ray cluster. Ray can be connected to only one cluster at a time."""

from __future__ import annotations

import atexit
from threading import Thread

import ray

from headrace.backends.ray.cluster_token import OwnToken
from headrace.errors import ConfigError, PoolUnreachable
from headrace.waits import waiting

LEAVE_S = 15.0
"""How long to wait for Ray to disconnect from a lost cluster, in seconds. Ray needs some 6 s if the head was
killed. If the head is stopped, Ray waits until it goes on."""


class Connection:
    """The connection that Headrace made, if it made one: the cluster's address, and the names of the pools that use it.

    `token` protects a cluster that Headrace started; it is None for other clusters.
    """

    def __init__(self) -> None:
        self.token: OwnToken | None = None
        self._address: str | None = None
        self._pools: list[str] = []
        self._leaving: Thread | None = None

    def join(self, pool: str, address: str | None) -> bool:
        """Record that a pool uses the connection, and return True. Return False if the user's program is connected to a
        cluster: then the pool uses the program's connection.

        Raises:
            ConfigError: another pool uses the connection, and is on another cluster.
            PoolUnreachable: Ray is still connected to a cluster that was lost.
        """
        if self._leaving is not None:
            with waiting("Ray, to disconnect from a lost cluster", LEAVE_S):
                self._leaving.join(LEAVE_S)
            if self._leaving.is_alive():
                raise PoolUnreachable(
                    f"pool `{pool}`: Ray has not disconnected from a lost cluster within {LEAVE_S:g} s",
                    hint="start the program again: Ray can be connected to only one cluster at a time",
                )
            self._leaving = None
        if not ray.is_initialized():
            self._pools.clear()
            self._address = address
        elif not self._pools:
            return False
        elif address != self._address or (address is None and pool not in self._pools):
            raise ConfigError(
                f"pool `{pool}` is on another Ray cluster than pool `{self._pools[0]}`, and a run can use only one",
                hint="give both pools the same `address` and different `labels`, or leave one of the pools out",
            )
        self._pools.append(pool)
        return True

    def leave(self, pool: str, *, is_lost: bool = False) -> None:
        """Record that a pool no longer uses the connection. If it was the last one, disconnect.

        If the cluster is lost, Ray needs several seconds to disconnect, or waits as long as the cluster's head is
        stopped. So a separate thread disconnects. While this thread runs, Ray can't connect or shut down, so `join` and
        the end of the process wait up to `LEAVE_S` for the thread.
        """
        self._pools.remove(pool)
        if self._pools:
            return
        if is_lost:
            self._leaving = Thread(target=self._disconnect, name="headrace-ray-leave", daemon=True)
            self._leaving.start()
            atexit.register(_await, self._leaving)  # it is called before Ray's own, which was registered earlier
        else:
            self._disconnect()

    def _disconnect(self) -> None:
        ray.shutdown()
        self.drop_token()

    def drop_token(self) -> None:
        """Give up the token, if there is one."""
        if self.token is not None:
            self.token.give_up()
            self.token = None


def _await(leaving: Thread) -> None:
    """Wait for Ray to disconnect, since the process ends. If this takes too long, keep Ray from disconnecting again at
    the end of the process: if the cluster's head is stopped, the process would never end."""
    leaving.join(LEAVE_S)
    if leaving.is_alive():
        atexit.unregister(ray.shutdown)


connection = Connection()
"""The connection of this process."""
