"""The namespace that workers may live in: a view of the file system that lacks what is none of their business."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

_RULES = (
    "kernel/random/boot_id",
    "kernel/apparmor_restrict_unprivileged_userns",
    "kernel/unprivileged_userns_clone",
    "user/max_user_namespaces",
)
_PACKAGE = Path(__file__).resolve().parents[2]
_RIGHTS = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID")
"""What root keeps in a namespace that merely hides: files of others are root's to read and write, as ever."""
_ACCELERATORS = ("nvidia", "dri", "kfd", "dxg", "accel", "vfio", "infiniband", "gdrdrv")


class Namespace(Struct, frozen=True, kw_only=True):
    """What workers don't see: each folder of `hidden` is empty for them, but for the folders of `shown` inside it, and
    those of `readable`, which they can't change.

    They have numbers of their own, and see no processes but their own. Without `network`, they reach no address but
    their own. `closed` to root too: a worker of root's has no more rights than another user's, and of the devices it
    sees accelerators only.
    """

    hidden: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    network: bool = True
    closed: bool = False

    def command(self) -> list[str]:
        """Return the words to put before a command, so that it runs inside, as the process with the number 1: with its
        end, all that was begun inside ends."""
        words = [bubblewrap() or "bwrap", *(_devices() if self.closed else ("--dev-bind", "/", "/"))]
        words += ["--unshare-pid", "--as-pid-1", "--proc", "/proc", "--cap-drop", "ALL"]
        if self.closed:  # root's by its number, with or without rights
            words += ["--ro-bind-try", "/proc/sys", "/proc/sys"]
        if not self.closed and os.geteuid() == 0:
            words += [word for right in _RIGHTS for word in ("--cap-add", right)]
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


def _devices() -> list[str]:
    """Return the words by which all is seen, of devices only those that a program needs, and the kernel's settings can
    only be read."""
    words = ["--bind", "/", "/", "--dev", "/dev", "--ro-bind-try", "/sys", "/sys"]
    with suppress(OSError):
        for name in sorted(os.listdir("/dev")):
            if name.startswith(_ACCELERATORS):
                words += ["--dev-bind-try", f"/dev/{name}", f"/dev/{name}"]
    return words


def bubblewrap() -> str | None:
    """Give the path of bubblewrap, or None where it isn't installed."""
    return shutil.which("bwrap")


def works(*, closed: bool = False) -> bool:
    """Say whether a namespace can be had here: some systems have bubblewrap, and forbid what it does."""
    program = bubblewrap()
    if program is None:
        return False
    quiet = os.open(os.devnull, os.O_RDWR)
    try:
        pid = os.posix_spawn(
            program,
            [*Namespace(closed=closed).command(), "true"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, quiet, 2)],
        )
        return os.waitpid(pid, 0)[1] == 0
    except OSError:  # what is there under its name is no program that can be run
        return False
    finally:
        os.close(quiet)


def circumstances() -> str:
    """Give what `works` depends on, as far as that can be told in 0.1 ms: the program, the user, the kernel's rules and
    the container."""
    told = [f"user {os.geteuid()}", "with numbers of its own"]  # notes of before are about less
    with suppress(OSError):
        told.append(f"in {os.readlink('/proc/self/ns/mnt')}")
    with suppress(OSError):
        program = bubblewrap() or ""
        found = os.stat(program)
        told.append(f"{program} {found.st_ino} {found.st_size} {found.st_mtime_ns}")
    for rule in _RULES:
        with suppress(OSError):
            told.append(f"{rule} {Path('/proc/sys', rule).read_text().strip()}")
    return "\n".join(told)


def _python() -> Sequence[Path]:
    """Give the folders that the interpreter and Headrace itself are in."""
    return sorted({Path(sys.prefix), Path(sys.base_prefix), _PACKAGE})
