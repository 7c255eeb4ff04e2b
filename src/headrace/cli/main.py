"""The entry of `headrace`. It imports next to nothing, so that ^C is met from the first moment on."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from headrace.app import early


def main() -> None:
    """Run the command line and leave with its exit code."""
    early.begin(sys.argv[1:])
    try:
        code = importlib.import_module("headrace.cli.shell").run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 3
        exec("")  # an interrupt inside of `exec` (namedtuple uses it) would make CPython die by SIGINT when it ends
    except BrokenPipeError:
        # Whoever read our output has seen enough (`headrace runs | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    finally:
        early.end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # else Python, while it ends, lets ^C kill it
    sys.exit(code)


if __name__ == "__main__":
    main()
