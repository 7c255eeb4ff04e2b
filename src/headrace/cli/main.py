"""The entry of `headrace`. It imports next to nothing, so that ^C is met from the first moment on."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import signal
import sys

from headrace.app import early


def main() -> None:
    """Run the command line and leave with its exit code."""
    gc.set_threshold(50_000, 20, 20)  # what imports make is no garbage, and a driver makes little
    early.begin(sys.argv[1:])
    try:
        code = importlib.import_module("headrace.cli.shell").run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 3
    except BrokenPipeError:
        # Whoever read our output has seen enough (`headrace runs | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    finally:
        early.end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _leave(code)


def _leave(code: int) -> None:
    """End the process, but don't take the interpreter apart: that takes 15 ms, and lets ^C kill it meanwhile."""
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
