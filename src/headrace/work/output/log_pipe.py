"""A worker's hold on the process that masks what it prints, and writes it to its log."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence

from headrace.errors import HeadraceError
from headrace.work.output import log_writer

START_S = 30.0
SETTLE_S = 5.0
"""How long it may take to write what a pipe holds. Where a disk hangs, an attempt isn't held up for longer by it."""


class LogPipe:
    """What is written to `pipe` is masked, and in the log soon: all of it once it has settled."""

    def __init__(self, log: int, secrets: Sequence[str], note: Callable[[int], None]) -> None:
        """Begin the process, and note its number.

        Raises:
            HeadraceError: it can't be begun, and so nothing may be printed.
        """
        import subprocess  # noqa: PLC0415  5 ms in the parent of all workers, few of which are given a secret

        end, self.pipe = os.pipe()
        self._line, line = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", log_writer.__file__, str(end)],
                stdin=line.fileno(),
                stdout=log,
                stderr=subprocess.DEVNULL,
                pass_fds=[end],
                start_new_session=True,  # it is to live on when the worker's is killed
                cwd="/",
            )
        except OSError as error:
            self.leave()
            raise _trouble(error.strerror or str(error)) from error
        finally:
            os.close(end)
            line.close()
        note(self._process.pid)
        if not self._ask(secrets, START_S):
            self.leave()
            raise _trouble("it doesn't answer")

    def learn(self, secrets: Sequence[str]) -> None:
        """Mask these from now on.

        Raises:
            HeadraceError: it doesn't answer, and so nothing may be printed.
        """
        if not self._ask(secrets, START_S):
            raise _trouble("it doesn't answer")

    def settle(self) -> bool:
        """Wait until all that has been written to the pipe is in the log; return whether it is."""
        return self._ask((), SETTLE_S)

    def leave(self) -> None:
        """Let go of it: it ends by itself when nobody can write to the pipe any more."""
        self._line.close()
        os.close(self.pipe)

    def _ask(self, secrets: Sequence[str], patience_s: float) -> bool:
        order = " ".join(secret.encode(errors="surrogateescape").hex() for secret in secrets)
        try:
            self._line.settimeout(patience_s)
            self._line.sendall(f"{order}\n".encode())
            if self._line.recv(1) == log_writer.SETTLED:
                return True
        except OSError:
            pass
        self._line.close()  # a late answer would be taken for the next one
        return False


def _trouble(why: str) -> HeadraceError:
    return HeadraceError(
        f"the process that masks secrets in a stage's output can't be started: {why}",
        hint="check the limits on processes and memory of the worker's machine",
    )
