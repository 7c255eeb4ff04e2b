"""A Ray cluster of several nodes on this machine, with a token of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from tests.servers.missing import Missing
from tests.servers.ports import free_port

STORE_BYTES = 80_000_000
PATIENCE_S = 90.0
MARK = "HEADRACE_TEST_NODE"
SOON = {"RAY_health_check_initial_delay_ms": "500", "RAY_health_check_period_ms": "200"}
"""The head misses a node that was killed within a second, and not in 17: it asks more often. A node that lives and is
slow has as much time to answer as ever."""


FORKS = {"GRPC_ENABLE_FORK_SUPPORT": "0"}
"""Ray's client server begins a process for each driver, and has threads when it forks for that. With gRPC's care for
forks such a child hung now and then before it was another program, and its driver waited for half a minute and more."""


class Node:
    """One node: all processes that were begun for it, in a session of its own."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._mark = os.urandom(8).hex()
        environment = {**environment, MARK: self._mark}
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self.pid = self._process.pid

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill all of it at once, as when its machine loses power."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def hold(self) -> None:
        """Stop all of it, as when its machine is suspended."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for _ in range(3):  # what is being begun just now is met in the next round
            for process in self._processes():
                with suppress(psutil.Error):
                    process.send_signal(number)

    def _processes(self) -> list[psutil.Process]:
        """Return the processes that were begun for it, whoever their parent is by now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self._mark:
                    found.append(process)
        return found


class Ray:
    """A cluster with a head and other nodes, whose Python is `python`. `labels` are those of each node (`region=eu`),
    the head's first. `prefix` are words before each command, such as those of a namespace.

    Its files lie in a folder of their own with a short name: paths of sockets may not be long.
    """

    def __init__(
        self,
        *,
        cpus: Sequence[int] = (2, 2),
        labels: Sequence[str] = (),
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        head_options: Sequence[str] = (),
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if find_spec("ray") is None:
            raise Missing("Ray is not installed: pip install 'ray[client]'")
        self.folder = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))
        self.host, self.port, self.client_port = host, free_port(), free_port()
        self._prefix = list(prefix)
        self._python = python
        token = self.folder / "token"
        token.write_text(os.urandom(32).hex())
        token.chmod(0o600)
        self.credentials = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self._environment = {
            **os.environ,
            **self.credentials,
            "RAY_TMPDIR": str(self.folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONWARNINGS": "ignore",
            **SOON,
            **FORKS,
            **(environment or {}),
        }
        self._head_options = list(head_options)
        self._labels = [f"--labels={each}" for each in labels]
        self.head: Node | None = None
        self.nodes: list[Node] = []
        self._count = 0
        self.start(cpus)

    @property
    def address(self) -> str:
        """Its address, for a driver on one of its nodes."""
        return f"{self.host}:{self.port}"

    @property
    def client_address(self) -> str:
        """Its address for a driver elsewhere."""
        return f"ray://{self.host}:{self.client_port}"

    def start(self, cpus: Sequence[int] = (2, 2)) -> None:
        """Start the head and, behind it, the other nodes; wait until all are there."""
        self.head = self._begin(
            [
                "--head", f"--port={self.port}", f"--ray-client-server-port={self.client_port}",
                "--include-dashboard=false", "--no-monitor", *self._head_options, *self._labels[:1],
            ],
            cpus[0],
        )  # fmt: skip
        self._wait_for(1)
        for place, number in enumerate(cpus[1:], 1):
            self.add(number, *self._labels[place : place + 1])

    def add(
        self,
        cpus: int = 2,
        *options: str,
        host: str | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Node:
        """Start one more node, and wait until it is there; on another host by the words that lead there."""
        node = self._begin([f"--address={self.address}", *options], cpus, host, prefix, environment)
        self.nodes.append(node)
        self._wait_for(1 + len(self.nodes))
        return node

    def kill_head(self) -> None:
        """Kill the head."""
        if self.head is not None:
            self.head.kill()
            self.head = None

    def kill(self, node: Node) -> None:
        """Kill a node."""
        node.kill()
        self.nodes.remove(node)

    def stop(self) -> None:
        """Kill all of it, and remove its files."""
        for node in self.nodes:
            node.kill()
        self.nodes.clear()
        self.kill_head()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(
        self,
        options: Sequence[str],
        cpus: int,
        host: str | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Node:
        self._count += 1
        words = [
            *self._prefix, *prefix, self._python, "-m", "ray.scripts.scripts", "start", "--block", *options,
            f"--num-cpus={cpus}", f"--node-ip-address={host or self.host}", f"--object-store-memory={STORE_BYTES}",
            "--disable-usage-stats", "--include-log-monitor=false",
        ]  # fmt: skip
        return Node(words, {**self._environment, **(environment or {})}, self.folder / f"log-{self._count}")

    def _wait_for(self, count: int) -> None:
        """Wait until so many nodes have come up: the last word of each in its log."""
        due = time.monotonic() + PATIENCE_S
        node = [*([self.head] if self.head else []), *self.nodes][-1]
        log = self.folder / f"log-{self._count}"
        while "Ray runtime started" not in log.read_text():
            if not node.lives or time.monotonic() > due:
                raise RuntimeError(f"node {count} of the Ray cluster did not come up: {log.read_text()[-3000:]}")
            time.sleep(0.1)
