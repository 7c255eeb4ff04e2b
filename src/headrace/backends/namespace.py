"""The namespace that workers may live in: a view of the file system that lacks what is none of their business."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

_PACKAGE = Path(__file__).resolve().parents[2]


class Namespace(Struct, frozen=True, kw_only=True):
    """What workers don't see: each folder of `hidden` is empty for them, but for the folders of `shown` inside it, and
    those of `readable`, which they can't change.

    Without `network`, they reach no address but their own.
    """

    hidden: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    network: bool = True

    def command(self) -> list[str]:
        """Give the words to put before a command, so that it runs inside."""
        words = [bubblewrap() or "bwrap", "--dev-bind", "/", "/"]
        for folder in self.hidden:
            words += ["--tmpfs", str(folder)]
        for folder in self.shown:
            words += ["--bind", str(folder), str(folder)]
        for folder in self.readable:
            words += ["--ro-bind", str(folder), str(folder)]
        for folder in _python():
            if any(folder.is_relative_to(hidden) for hidden in self.hidden):
                words += ["--ro-bind", str(folder), str(folder)]
        if not self.network:
            words.append("--unshare-net")
        return [*words, "--"]


def bubblewrap() -> str | None:
    """Give the path of bubblewrap, or None where it isn't installed."""
    return shutil.which("bwrap")


def works() -> bool:
    """Say whether a namespace can be had here: some systems have bubblewrap, and forbid what it does."""
    program = bubblewrap()
    if program is None:
        return False
    quiet = os.open(os.devnull, os.O_RDWR)
    try:
        pid = os.posix_spawn(
            program,
            [program, "--dev-bind", "/", "/", "true"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, quiet, 2)],
        )
        return os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(quiet)


def _python() -> Sequence[Path]:
    """Give the folders that the interpreter and Headrace itself are in."""
    return sorted({Path(sys.prefix), Path(sys.base_prefix), _PACKAGE})
