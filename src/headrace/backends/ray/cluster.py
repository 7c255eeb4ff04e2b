"""A connection to a Ray cluster. This is an existing cluster, or a new one on this machine that ends with this
process."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar, cast

import ray
from ray._private import worker  # Ray has no public switch for its printed notices about dead workers and nodes
from ray._private.authentication import authentication_token_setup as tokens  # `ray.init` calls it first too
from ray._private.state import available_resources_per_node  # Ray's public function has only the sum
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # Ray has no public way to ask a cluster before joining
from ray.util.client import ray as client

from headrace.backends.ray.answers import Answer, ask
from headrace.backends.ray.cluster_token import MODE, PATH, TOKEN, OwnToken, home_token, is_wanted
from headrace.backends.ray.connection import connection
from headrace.backends.ray.messages import NAMESPACE, Handle
from headrace.errors import BackendError, ConfigError, PoolUnreachable
from headrace.waits import waiting

T = TypeVar("T")

CLIENT = "ray://"
_VERSIONS = re.compile(
    r"The cluster was started with: (Ray: \S+ Python: \S+).* was started with: (Ray: \S+ Python: \S+)"
)
_SLOW = "Starting Ray client server failed"  # on a busy head, the start may take longer than Ray waits
TRIES = 3
REACH_S = 5.0
HEAD_S = 30.0
"""How long the head may take to answer a call, in seconds."""
OBJECTS_BYTES = 100_000_000
"""The size of Ray's own object store in a cluster that we start. We put nothing large into this store."""


class Cluster:
    """A Ray cluster: starts and finds actors, and reports which resources are free.

    `pool` is the name of the pool for error messages. `address` is the address of an existing cluster. Connecting to it
    is tried for up to `reach_s` seconds. If `address` is None, a cluster is started on this machine, with `cpu` cpus,
    `memory_gib` GiB of memory (None: as much as the machine has) and `gpus` gpus.
    """

    def __init__(
        self,
        pool: str,
        address: str | None = None,
        *,
        cpu: float | None = None,
        memory_gib: float | None = None,
        gpus: int = 0,
        reach_s: float = REACH_S,
    ) -> None:
        self.pool = pool
        self.address = address
        self.is_lost = False
        if address and not _reaches(_target(pool, address), reach_s):
            raise PoolUnreachable(
                f"pool `{pool}`: nothing answers at `{address}`",
                hint="check `address`, call `ray status` on the cluster's head, and check that this host can reach it",
            )
        self._joined = connection.join(pool, address)
        if not ray.is_initialized():
            _quieten()
            self._connect(cpu, memory_gib, gpus)
            _quieten()  # again, because connecting has reset the log levels
        elif address and not self._joined and not address.startswith(CLIENT):
            _check_same(pool, address)
        self._target = _target(pool, address or str(ray.get_runtime_context().gcs_address))

    def begin(self, kind: Handle, name: str, options: Mapping[str, Any], *given: object) -> Handle:
        """Start an actor that outlives this process, and return its handle. The actor itself may take long to start."""
        wanted = kind.options(name=name, namespace=NAMESPACE, lifetime="detached", max_restarts=0, **options)
        return self._in_time(lambda: wanted.remote(*given))

    def names(self, run: str) -> list[str]:
        """Return the names of a run's actors in this pool: those that are alive, and those that wait to start."""
        named = self._in_time(lambda: ray.util.list_named_actors(all_namespaces=True))
        ours = f"{run}/{self.pool}/"
        return [each["name"] for each in named if each["namespace"] == NAMESPACE and each["name"].startswith(ours)]

    def find(self, run: str) -> dict[str, Handle]:
        """Return the handles of a run's actors in this pool by name."""
        handles = {}
        for name in self.names(run):
            with suppress(ValueError):  # the actor has ended meanwhile
                handles[name] = self._in_time(partial(ray.get_actor, name, namespace=NAMESPACE))
        return handles

    def kill(self, handle: Handle) -> None:
        """Kill an actor. If it hasn't started, cancel its start."""
        self._in_time(lambda: ray.kill(handle, no_restart=True))

    def _in_time(self, call: Callable[[], T]) -> T:
        """Call the cluster's head in a separate thread, and return the result.

        The thread is needed because Ray would wait forever for a head that is stopped.

        Raises:
            BackendError: there was no answer within `HEAD_S`.
        """
        results: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

        def ask_it() -> None:
            try:
                results.put((call(), None))
            except BaseException as error:  # noqa: BLE001  it is raised again in the caller's thread
                results.put((None, error))

        Thread(target=ask_it, name="headrace-ray-call", daemon=True).start()
        try:
            with waiting(f"an answer of the Ray cluster of pool `{self.pool}`", HEAD_S):
                result, error = results.get(timeout=HEAD_S)
        except Empty:
            raise self.lost(HEAD_S) from None
        if error is not None:
            raise error
        return cast("T", result)

    def lost(self, silent_s: float) -> BackendError:
        """Record that the cluster is lost, since its head has not answered for `silent_s` seconds. Return the error
        that says so."""
        self.is_lost = True
        return BackendError(
            f"pool `{self.pool}`: the head of the Ray cluster has not answered for {silent_s:g} s",
            hint="`headrace resume` continues the run once this cluster, or another one, can be reached",
        )

    def answers(self) -> bool:
        """Return whether the cluster's head can be reached."""
        try:
            socket.create_connection(self._target, timeout=REACH_S).close()
        except OSError:
            return False
        return True

    def lacking(self, needs: Mapping[int, Mapping[str, float]], labels: Mapping[str, str]) -> dict[int, str]:
        """Return the reason why each actor must wait: what it needs and what is free. The reason is "" if a node has
        enough free.

        If the cluster doesn't say what is free, return a reason only for actors that no node could ever hold.

        `needs` maps each actor's number to the amounts of Ray's resources that it needs; `labels` are the labels that
        its node must have.
        """
        if not needs:
            return {}
        living = _living(labels)
        nodes = _resources(living)
        unfit = {actor: _unfit(need, labels, nodes) for actor, need in needs.items()}
        free = [] if all(unfit.values()) else self._free(living)
        if free is None:
            return {actor: why for actor, why in unfit.items() if why}
        return {actor: why or _full(needs[actor], labels, nodes, free) for actor, why in unfit.items()}

    def unfit(self, needs: Mapping[str, float], labels: Mapping[str, str]) -> str:
        """Return why no node could ever hold an actor with these needs and labels, or "" if a node could."""
        return _unfit(needs, labels, self.nodes(labels))

    def nodes(self, labels: Mapping[str, str]) -> list[Mapping[str, float]]:
        """Return the resources of each living node that has these labels, by Ray's names of the resources."""
        return _resources(_living(labels))

    def _free(self, living: Sequence[Mapping[str, Any]]) -> list[Mapping[str, float]] | None:
        """Return the free resources of each of these nodes, by Ray's names of the resources. Return None if the cluster
        doesn't say what is free."""
        if client.is_connected():  # Ray's client can't ask for this, so a task on the cluster does
            asked = ray.remote(num_cpus=0, max_retries=0)(available_resources_per_node).remote()
            try:
                free = ray.get(asked, timeout=REACH_S)
            except ray.exceptions.RayError:  # it has found no place in time, or failed
                ray.cancel(asked, force=True)  # the next question starts another one
                return None
        else:
            free = available_resources_per_node()
        return [free.get(node["NodeID"], {}) for node in living]

    def ask(
        self, question: Callable[..., object], *given: object, labels: Mapping[str, str], most: int, within_s: float
    ) -> list[Answer]:
        """Call `question` on up to `most` nodes that have these labels, wait up to `within_s` seconds, and return the
        answer of each node."""
        return ask(_living(labels)[:most], question, *given, within_s=within_s)

    def ping(self) -> float:
        """Return how many seconds the cluster's head takes to answer a question."""
        start = time.perf_counter()
        ray.nodes()
        return time.perf_counter() - start

    def leave(self) -> None:
        """Leave the cluster. When the last pool leaves it, this process disconnects. If we started the cluster, it then
        ends, with everything that runs on it.

        A connection that the user's program made stays open. If the cluster is lost, don't wait for the end of the
        connection.
        """
        if self._joined:
            self._joined = False
            connection.leave(self.pool, is_lost=self.is_lost)

    def _connect(self, cpu: float | None, memory_gib: float | None, gpus: int) -> None:
        quiet: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.CRITICAL}
        if self.address is None:
            local = {
                "num_cpus": max(1, int(cpu)) if cpu else None,
                "_memory": int(memory_gib * 2**30) if memory_gib else None,
                "num_gpus": gpus or None,
                "object_store_memory": OBJECTS_BYTES,
            }
            connection.token = OwnToken() if is_wanted() else None
            try:
                ray.init(address="local", include_dashboard=False, **local, **quiet)
            except (OSError, RuntimeError, ValueError) as error:
                connection.drop_token()
                raise BackendError(
                    f"pool `{self.pool}`: no Ray cluster can be started on this machine: {_line(error)}",
                    hint="run `ray start --head` to see why, or give the pool the `address` of a cluster",
                ) from error
            return
        if not self.address.startswith(CLIENT):
            _check(self.pool, self.address)
        for rest in reversed(range(TRIES)):
            try:
                ray.init(address=self.address, **quiet)
                return
            except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                if not rest or _SLOW not in str(error):
                    raise _translated(self.pool, self.address, error) from error


def _quieten() -> None:
    """Stop Ray from printing, because standard output is for our data and we report errors ourselves."""
    for name in (
        "ray",
        "ray.util.client",
        *[logger for logger in logging.root.manager.loggerDict if logger.startswith("ray.")],
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for message in ("More than 10MB of messages", "Ray Client connection timed out"):
        warnings.filterwarnings("ignore", message=message, category=UserWarning)
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = _say_nothing


def _say_nothing(*_: object, **_more: object) -> None:
    """Print nothing."""


def _check(pool: str, address: str) -> None:
    """Check that this process may connect to the cluster, and that this machine is one of its nodes.

    Without this check, Ray would end a process that may not connect, or whose machine isn't a node.

    Raises:
        BackendError: the cluster can't be used from this machine.
        ConfigError: the cluster has another version of Ray or Python.
    """
    try:
        tokens.ensure_token_if_auth_enabled(create_token_if_missing=False)
        with _hushed():
            nodes = GcsClient(address=address).get_all_node_info().values()
    except (OSError, RuntimeError, ray.exceptions.RayError) as error:
        raise _translated(pool, address, error) from error
    if not any(os.path.exists(node.raylet_socket_name) for node in nodes):
        raise PoolUnreachable(
            f"pool `{pool}`: this machine is not a node of the cluster at `{address}`",
            hint="give `ray://host:port` of the cluster's client server (port 10001 by default), or start the run on a"
            " node of the cluster",
        )


def _check_same(pool: str, address: str) -> None:
    """Check that the user's program is connected to the cluster at `address` and not to another one.

    Ray can be connected to only one cluster at a time.

    Raises:
        ConfigError: the program is connected to another cluster.
    """
    with _hushed():
        theirs = {node.hex() for node in GcsClient(address=address).get_all_node_info()}
    if theirs.isdisjoint(node["NodeID"] for node in ray.nodes()):
        raise ConfigError(
            f"pool `{pool}` is the Ray cluster at `{address}`, and this program is connected to another",
            hint="call `ray.shutdown()` first, or run the pipeline with the command `headrace run`",
        )


def _translated(pool: str, address: str, error: Exception) -> BackendError | ConfigError:
    """Return one of Headrace's errors for an error that Ray raised when it connected, with a message of one line."""
    text = str(error)
    if matched := _VERSIONS.search(" ".join(text.split())):
        theirs, ours = matched.groups()
        return ConfigError(
            f"pool `{pool}`: the cluster at `{address}` has {_versions(theirs)}, and this is {_versions(ours)}",
            hint="install the cluster's versions of Ray and Python here, or these versions on the cluster",
        )
    if isinstance(error, ray.exceptions.AuthenticationError) or "uthentication token" in text or "AuthToken" in text:
        return PoolUnreachable(
            f"pool `{pool}`: the cluster at `{address}` needs another token than the one that is set here",
            hint=_token_hint(),
        )
    return PoolUnreachable(
        f"pool `{pool}`: the cluster at `{address}` can't be used: {_line(error)}",
        hint="check that `address` is that of a Ray cluster, and that `ray status` answers there",
    )


def _token_hint() -> str:
    """Return a hint that says how to set the cluster's token. If the user's home holds a token, the hint says how to
    enable it."""
    if (path := home_token()) is not None and not any(name in os.environ for name in (MODE, TOKEN, PATH)):
        return (
            f"set {MODE}=token: Ray then uses `{path}`; "
            f"if that holds another cluster's token, set {PATH} to a file that holds the right one"
        )
    return f"set {MODE}=token, and {PATH} to a file that holds the cluster's token"


def _versions(text: str) -> str:
    return " and ".join(text.replace(":", "").replace(" Python", ", Python").split(", "))


@contextmanager
def _hushed() -> Iterator[None]:
    """Hide what Ray's C++ libraries print directly on standard error, for as long as the `with` block lasts."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def _target(pool: str, address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(
            f"pool `{pool}`: `{address}` is not an address of a Ray cluster",
            hint="on a node of the cluster, give `host:port` of its head; elsewhere, give `ray://host:port` of its"
            " client server",
        )
    return host.strip("[]"), int(port)


def _reaches(target: tuple[str, int], within_s: float) -> bool:
    due = time.monotonic() + within_s
    while True:
        try:
            socket.create_connection(target, timeout=REACH_S).close()
            return True
        except OSError:
            if time.monotonic() > due:
                return False
            time.sleep(0.2)


def _has(there: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether a node has the wanted labels. A value that is an expression, such as `!x` or `in(...)`, isn't
    checked here, because Ray itself checks it."""
    return all(not value[:1].isalnum() or "(" in value or there.get(name) == value for name, value in wanted.items())


def _living(labels: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Return the living nodes that have these labels, as `ray.nodes()` returns them."""
    return [node for node in ray.nodes() if node["Alive"] and _has(node["Labels"], labels)]


def _resources(living: Sequence[Mapping[str, Any]]) -> list[Mapping[str, float]]:
    return [node["Resources"] for node in living]


def _unfit(needs: Mapping[str, float], labels: Mapping[str, str], nodes: Sequence[Mapping[str, float]]) -> str:
    """Return why no node could ever hold an actor with these needs, or "" if one could. `nodes` has the resources of
    each node with these labels."""
    if not nodes:
        return f"no node of the cluster has {_pairs(labels)}"
    if not any(_covers(node, needs) for node in nodes):
        largest = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in needs}
        return f"no node of the cluster has {_said(needs)}: at most {_said(largest)}"
    return ""


def _full(
    needs: Mapping[str, float],
    labels: Mapping[str, str],
    nodes: Sequence[Mapping[str, float]],
    free: Sequence[Mapping[str, float]],
) -> str:
    """Return why no node has room for an actor with these needs now, or "" if one has.

    `nodes` has the resources of each node with these labels, and `free` has what is free on each of them.
    """
    if any(_covers(node, needs) for node in free):
        return ""
    left, total = _summed(free, needs), _summed(nodes, needs)
    there = " and ".join(f"{_amount(name, left[name])} of {_amount(name, total[name])}" for name in needs)
    where = f" on nodes with {_pairs(labels)}" if labels else ""
    split = ", but not on one node" if _covers(left, needs) else ""
    return f"it needs {_said(needs)}, and the cluster has {there} free{where}{split}"


def _pairs(labels: Mapping[str, str]) -> str:
    return " and ".join(f"{name}={value}" for name, value in labels.items())


def _summed(nodes: Sequence[Mapping[str, float]], names: Iterable[str]) -> dict[str, float]:
    return {name: sum(node.get(name, 0.0) for node in nodes) for name in names}


def _covers(has: Mapping[str, float], needs: Mapping[str, float]) -> bool:
    return all(has.get(name, 0.0) + 1e-4 >= need for name, need in needs.items())


def _said(needs: Mapping[str, float]) -> str:
    return " and ".join(_amount(name, need) for name, need in needs.items())


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / 2**30:.3g} GiB"
    return f"{amount:g} {name}"
