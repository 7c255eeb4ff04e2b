"""The entry point of `headrace`. It imports nothing before it handles ^C."""

from __future__ import annotations

# These three are in every Python process already. The module `signal` takes up to 10 ms to import, `_signal` nothing.
import _signal  # type: ignore[import-not-found]  # typeshed lacks it
import os
import sys

# This stands here and not in `main`, because the imports that follow take a while. Until it has run, Python answers ^C
# with a traceback. A run installs its own handler for ^C. A program that only imports this module (a test, a
# documentation generator) keeps its own handlers.
IS_COMMAND = os.path.basename(sys.argv[0]) in ("headrace", "main.py")
if IS_COMMAND:
    _signal.signal(_signal.SIGINT, lambda *_: os._exit(3))  # 3 is `INTERRUPTED`, which isn't imported yet

import signal  # noqa: E402  see above

from headrace.cli.interrupts import INTERRUPTED, interrupted, leave_at_once, watch  # noqa: E402

if IS_COMMAND:
    signal.signal(signal.SIGINT, leave_at_once)
    watch()


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:2] == ["debug"]:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the debugger needs the place of the interrupt
    import gc  # noqa: PLC0415  all of these: see above
    from contextlib import suppress  # noqa: PLC0415

    from headrace.operate import early_zygote  # noqa: PLC0415

    _open_streams()
    gc.set_threshold(50_000, 20, 20)  # objects made by imports stay in use, and a driver makes little garbage
    early_zygote.begin(sys.argv[1:])
    code = 0
    try:
        from headrace.cli.shell import run  # noqa: PLC0415

        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        code = INTERRUPTED
        words, to = interrupted(str(error) or "interrupted")
        with suppress(OSError):  # nobody may read it
            os.write(to, words)
    except BrokenPipeError:
        # The reader of our output has left (`headrace runs | head`). The exit code still says how a run ended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # this can only be from stdout: `run` has turned all other errors into text
        from headrace.cli.terminal.error_output import show_unwritten  # noqa: PLC0415

        code = show_unwritten(error)
    finally:
        early_zygote.end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _leave(code)


def _open_streams() -> None:
    """If a standard stream is closed, open the null device in its place. Otherwise, a file opened later would get the
    stream's file descriptor."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _leave(code: int) -> None:
    """End the process without the interpreter's own shutdown, which takes 15 ms."""
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
