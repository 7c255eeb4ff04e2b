"""Notebooks that are played in kernels. A kernel begins in some milliseconds: it is forked from a process that has
imported what a kernel with Headrace imports. What it runs, and how it ends, is as ever."""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.command import read_at_start

ROOT = Path(__file__).parents[1]
PATIENCE_S = 110


def play(folder: Path, *cells: str, is_forked: bool = True) -> list[list[dict[str, Any]]]:
    """Run a notebook's cells in a kernel, and return what each showed.

    The kernel isn't forked, but begins as a user's does, where Python must begin otherwise, and where the test says so.
    """
    order = json.dumps({"folder": str(folder), "environment": dict(os.environ), "cells": cells})
    player, begun_with = _player()
    if is_forked and begun_with == read_at_start(os.environ):
        assert player.stdin is not None
        assert player.stdout is not None
        player.stdin.write(order + "\n")
        player.stdin.flush()
        answer = player.stdout.readline()
    else:
        done = subprocess.run(
            [sys.executable, "-m", "tests.notebooks", "once"],
            cwd=ROOT, input=order, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False,
        )  # fmt: skip
        answer = done.stdout
    found = json.loads(answer)
    assert isinstance(found, list), found
    return found


@cache
def _player() -> tuple[subprocess.Popen[str], dict[str, str]]:
    """The process that kernels are forked from, which ends when this one does; and what Python read as it began."""
    player = subprocess.Popen(
        [sys.executable, "-m", "tests.notebooks"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def end() -> None:
        player.communicate()

    atexit.register(end)
    return player, read_at_start(os.environ)


def _serve() -> None:
    """Play a notebook for each order, in a fork, until the tests have ended."""
    filters = warnings.filters[:]
    for each in ("headrace.operate.notebook.display", "headrace.operate.session"):
        import_module(each)  # before IPython is: this process is no notebook
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in ("ipykernel.kernelapp", "nbclient", "pandas"):  # pyarrow imports pandas when it makes an array
            import_module(each)
        import_module("nbformat.v4").new_code_cell()  # it compiles a schema
    sys.path.remove(str(ROOT))
    warnings.filters[:] = filters  # type: ignore[index]
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        ours, theirs = socket.socketpair()
        if (pid := os.fork()) == 0:
            ours.close()
            _answer(json.loads(line), theirs)
        theirs.close()
        with ours, ours.makefile("r") as answers:
            found = answers.read()
        _, status = os.waitpid(pid, 0)
        print(found or json.dumps(f"the client of the kernel ended with status {status}"), flush=True)


def _answer(order: dict[str, Any], line: socket.socket) -> None:
    """Play a notebook, and end this process."""
    signal.alarm(PATIENCE_S)
    try:
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        kernel = _Kernel(line)
        with _launching(kernel):
            found = _played(order["cells"])
        line.sendall(json.dumps(found).encode())
    except Exception:  # noqa: BLE001  # whoever plays is told
        line.sendall(json.dumps(traceback.format_exc()).encode())
    finally:
        os._exit(0)


def _played(cells: Sequence[str]) -> list[object]:
    warnings.simplefilter("ignore")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, allow_errors=True, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


class _Kernel:
    """A process that becomes a kernel as soon as it is told its arguments. It has what `Popen` has."""

    stdin = stdout = stderr = None

    def __init__(self, unused: socket.socket) -> None:
        self._line, theirs = socket.socketpair()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            unused.close()
            self._line.close()
            _become_kernel(theirs)
        theirs.close()

    def launch(self, command: Sequence[str], *, env: Mapping[str, str], cwd: str | None = None, **_: object) -> _Kernel:
        """What Jupyter calls to start a kernel."""
        parent = {"JPY_PARENT_PID": str(os.getpid())}
        order = {"command": command, "environment": {**env, **parent}, "folder": cwd or os.getcwd()}
        self._line.sendall(json.dumps(order).encode() + b"\n")
        assert self._line.recv(1), "it has a session of its own"
        return self

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


@contextmanager
def _launching(kernel: _Kernel) -> Iterator[None]:
    from jupyter_client.provisioning import local_provisioner

    local_provisioner.launch_kernel = kernel.launch  # type: ignore[assignment]
    try:
        yield
    finally:
        if kernel.poll() is None:
            kernel.kill()
            kernel.wait()


def _become_kernel(line: socket.socket) -> None:
    """Do what `python -m ipykernel_launcher` and then `import headrace` do."""
    signal.alarm(0)
    os.setsid()
    with line, line.makefile("r") as orders:
        told = orders.readline()
        if not told:
            os._exit(0)
        order = json.loads(told)
        line.sendall(b"1")
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in range(3):
        os.dup2(nothing, each)
    from ipykernel.kernelapp import IPKernelApp

    from headrace.operate.notebook.display import register

    sys.argv = order["command"][2:]
    app = IPKernelApp.instance()
    app.initialize(sys.argv[1:])
    register()
    app.start()
    atexit._run_exitfuncs()
    os._exit(0)  # to take down all that was imported would take as long as to import it


def _once() -> None:
    order = json.loads(sys.stdin.read())
    os.chdir(order["folder"])
    print(json.dumps(_played(order["cells"])))


if __name__ == "__main__":
    _once() if sys.argv[1:] else _serve()
