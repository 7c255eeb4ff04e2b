"""A worker's pipe to the process that masks the worker's output and writes it to its log."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence

from headrace.errors import HeadraceError
from headrace.work.output import log_writer

START_S = 30.0
SETTLE_S = 5.0
"""The most seconds to wait until a pipe's content is written. If a disk hangs, an attempt waits no longer than this."""


class LogPipe:
    """Bytes that are written to `pipe` are masked, and a little later written to the log. When `settle` has returned
    True, all of them are in the log."""

    def __init__(self, log: int, secrets: Sequence[str], note: Callable[[int], None]) -> None:
        """Start the masking process, and pass its id to `note`.

        Raises:
            HeadraceError: the process can't be started, so nothing may be printed.
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
                start_new_session=True,  # it must survive when the worker's session is killed
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
        """Mask these secrets from now on.

        Raises:
            HeadraceError: the masking process doesn't answer, so nothing may be printed.
        """
        if not self._ask(secrets, START_S):
            raise _trouble("it doesn't answer")

    def settle(self) -> bool:
        """Wait until everything that was written to the pipe is in the log, at most `SETTLE_S` seconds. Return whether
        it is in the log now."""
        return self._ask((), SETTLE_S)

    def leave(self) -> None:
        """Close the pipe. The masking process ends by itself when no other process can write to the pipe any more."""
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
        self._line.close()  # a late answer would be read as the answer to the next request
        return False


def _trouble(why: str) -> HeadraceError:
    return HeadraceError(
        f"the process that masks secrets in a stage's output can't be started: {why}",
        hint="check the limits on processes and memory of the worker's machine",
    )
