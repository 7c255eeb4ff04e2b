"""Training by several processes: `torchrun` starts them on each node, and they talk to the attempt over a socket."""

from __future__ import annotations

import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import torch

from headrace.define.attempt import attempt
from headrace.errors import HeadraceError
from headrace.stages.train._torch.host import Host

RESTARTS = 3
"""If a process dies and the training has only one node, all processes start again from the last checkpoint, at most
this many times."""
LOOK_S = 0.05
PATIENCE_S = 10.0
CHECKPOINT, FITTED, TRAINING = "checkpoint.pt", "fitted.pt", "training.pkl"
ADDRESS, KEY = "HEADRACE_TRAIN_ADDRESS", "HEADRACE_TRAIN_KEY"


class RankFailed(HeadraceError):
    """A training process raised an exception, or died and could not be started again."""


class Gang:
    """The training processes of this node. The values and checkpoints of rank 0 go to the `Host` of the attempt. If one
    process fails, all processes end."""

    def __init__(self, host: Host, folder: Path, procs: int) -> None:
        self._host = host
        self._folder = folder
        self._procs = procs
        self._heard: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._lines: list[Connection] = []
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="headrace-checkpoint")
        self._saving: Future[Any] | None = None
        self._cut_off = ""

    def train(self) -> Any:
        """Train on all ranks. Return the result of rank 0, or None if rank 0 is on another node.

        Raises:
            RankFailed: a rank raised an exception, or processes died more than `RESTARTS` times (or once, if there
                are several nodes).
        """
        found = self._host.checkpoint()
        if found is not None:
            torch.save(found, self._folder / CHECKPOINT)
        with self._listening() as (address, key):
            agent = subprocess.Popen(
                self._command(), stdin=subprocess.PIPE, env=self._environment(address, key), cwd=self._folder
            )
            try:
                self._serve(agent)
            finally:
                _end(agent)
                self._saver.shutdown(wait=True, cancel_futures=True)
        self._report_saved()
        if agent.returncode:
            again = ", and so did those that were begun in its place" if attempt().nodes == 1 else ""
            more = f"; {self._cut_off}" if self._cut_off else ""
            raise RankFailed(
                f"a process of the training died{again}{more}",
                hint="`headrace logs` has what it printed last; was there enough memory?",
            )
        fitted = self._folder / FITTED
        return torch.load(fitted, weights_only=False) if fitted.exists() else None

    def _serve(self, agent: subprocess.Popen[bytes]) -> None:
        """Until torchrun has ended, handle the messages of the ranks, and pass the driver's requests on to them."""
        while agent.poll() is None or not self._heard.empty():
            self._report_saved()
            if (word := self._host.told()) is not None:
                self._tell(word)
            try:
                message = self._heard.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            match message:
                case ("log", name, value, step):
                    self._host.log(name, value, step)
                case ("say", text):
                    self._host.say(text)
                case ("checkpoint", path):
                    self._save(path)
                case ("cut off", text):
                    self._cut_off = text
                case ("failed", rank, error):
                    raise _of_rank(rank, error)

    def _save(self, path: str) -> None:
        """Write the checkpoint in the file `path` to the store, unless an earlier one is still being written."""
        if self._saving is None:
            # memory-mapped, since the next checkpoint may replace the file before this one is read
            packed = torch.load(path, weights_only=False, mmap=True)
            self._saving = self._saver.submit(self._host.save, packed)

    def _report_saved(self) -> None:
        if self._saving is not None and self._saving.done() and not self._saving.cancelled():
            saving, self._saving = self._saving, None
            self._host.keep(saving.result())

    def _tell(self, word: str) -> None:
        for line in self._lines:
            with suppress(OSError):
                line.send(word)

    def _command(self) -> list[str]:
        here = attempt()
        words = [sys.executable, "-m", "headrace.stages.train._torch.gang", f"--nproc-per-node={self._procs}"]
        words += ["--monitor-interval=0.1"]
        if here.nodes == 1:
            words += ["--standalone", f"--max-restarts={RESTARTS}", "--local-addr=127.0.0.1"]
        else:  # one node can't start again alone: the whole attempt starts again
            address, port = self._meet()
            words += [f"--nnodes={here.nodes}", f"--node-rank={here.rank}", "--max-restarts=0", "--rdzv-backend=static"]
            words += [f"--master-addr={address}", f"--master-port={port}"]
        return [*words, "-m", "headrace.stages.train._torch.rank", str(self._folder)]

    def _meet(self) -> tuple[str, str]:
        """Return the address and the port at which the first node listens for the other nodes."""
        said = attempt().meet(f"{socket.gethostname()} {_own_address()} {_free_port()}")
        hosts = [each.split()[:2] for each in said]
        _, address, port = said[0].split()
        if all(each == hosts[0] for each in hosts):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
            return "127.0.0.1", port
        return address, port

    def _environment(self, address: str, key: bytes) -> dict[str, str]:
        threads = max(1, int(os.environ.get("OMP_NUM_THREADS", "1")) // self._procs)
        found = {**os.environ, ADDRESS: address, KEY: key.hex(), "OMP_NUM_THREADS": str(threads)}
        found["PYTHONPATH"] = os.pathsep.join(each for each in sys.path if each)
        found["PYTHONUNBUFFERED"] = "1"
        if attempt().nodes == 1:
            found.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
        return found

    @contextmanager
    def _listening(self) -> Iterator[tuple[str, bytes]]:
        """Return a context that listens for ranks. It yields the address and the key that ranks need. When the context
        ends, the ranks end."""
        # a socket's path may have 100 characters at most, and paths in the attempt's folder are longer
        with tempfile.TemporaryDirectory(prefix="hr-", ignore_cleanup_errors=True) as folder:
            address, key = os.path.join(folder, "line"), secrets.token_bytes(32)
            with Listener(address, family="AF_UNIX", backlog=64, authkey=key) as listener:
                threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
                try:
                    yield address, key
                finally:
                    for line in self._lines:
                        line.close()

    def _accept(self, listener: Listener) -> None:
        while True:
            try:
                line = listener.accept()
            except OSError:
                return
            except Exception:  # noqa: BLE001  a client without the key, or one that died meanwhile
                continue
            self._lines.append(line)
            threading.Thread(target=self._hear, args=(line,), daemon=True).start()

    def _hear(self, line: Connection) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._heard.put(line.recv())


_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


def _of_rank(rank: int, error: BaseException) -> BaseException:
    """Return the error that a rank raised. If the error isn't written for the user, return one that names the rank and
    has the text of the original error."""
    if isinstance(error, HeadraceError | MemoryError):
        return error
    return RankFailed(f"rank {rank} raised {type(error).__name__}: {error}", hint="`headrace logs` has the traceback")


def _end(agent: subprocess.Popen[bytes]) -> None:
    """End torchrun, and its ranks with it."""
    if agent.stdin is not None:
        with suppress(OSError):
            agent.stdin.close()  # torchrun ends when this is closed
    if agent.poll() is None:
        agent.terminate()
    try:
        agent.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait()


def _own_address() -> str:
    """Return the address at which other machines reach this machine: the address of the default network route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.connect(("10.255.255.255", 1))  # sends nothing
            return str(out.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def _agent() -> None:
    """Run `torchrun`, and end it when the standard input of this process is closed. The input is closed when the parent
    process is gone."""
    from torch.distributed.run import main  # noqa: PLC0415  0.1 s, needed only in this process

    def watch() -> None:
        while os.read(0, 1 << 10):
            pass
        os.kill(os.getpid(), signal.SIGTERM)  # then torchrun ends its ranks

    threading.Thread(target=watch, daemon=True).start()
    main(sys.argv[1:])


if __name__ == "__main__":
    _agent()
