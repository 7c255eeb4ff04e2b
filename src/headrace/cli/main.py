"""The entry of `headrace`. It imports next to nothing, so that ^C is met from the first moment on."""

from __future__ import annotations

import os
import signal
import sys

from headrace.cli.interrupts import INTERRUPTED, leave_at_once, watch

# Here and not in `main`, since what follows takes a while to import; a run answers ^C in a way of its own. Whoever
# merely imports this module (a test, a program that makes documentation) keeps what it has.
if os.path.basename(sys.argv[0]) in ("headrace", "main.py"):
    signal.signal(signal.SIGINT, leave_at_once)
    watch()


def main() -> None:
    """Run the command line and leave with its exit code."""
    if sys.argv[1:2] == ["debug"]:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the debugger wants to know where
    import gc  # noqa: PLC0415  all of these: see above

    from headrace.operate import early_zygote  # noqa: PLC0415

    _open_streams()
    gc.set_threshold(50_000, 20, 20)  # what imports make is no garbage, and a driver makes little
    early_zygote.begin(sys.argv[1:])
    code = 0
    try:
        from headrace.cli.shell import run  # noqa: PLC0415

        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough (`headrace runs | head`); how a run ended stays the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # only from stdout, here too: all else is text by now
        from headrace.cli.terminal.error_output import show_unwritten  # noqa: PLC0415

        code = show_unwritten(error)
    finally:
        early_zygote.end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _leave(code)


def _open_streams() -> None:
    """Open those of the three standard streams that are closed: none of our files may get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _leave(code: int) -> None:
    """End the process, but don't take the interpreter apart: that takes 15 ms."""
    import atexit  # noqa: PLC0415

    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


if __name__ == "__main__":
    main()
