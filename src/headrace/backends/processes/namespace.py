"""The Linux namespace that workers may run in: they see only the part of the file system that they need."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
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
"""The capabilities that root keeps in a namespace that isn't `closed`: root can read and write other users' files, as
usual."""
_OWN = (Path("/tmp"), Path("/var/tmp"), Path("/run"), Path("/dev/shm"))
_OWN_BYTES = 1 << 28
"""How many bytes each of these folders of a `private` namespace holds: its files are in memory."""
_SETTINGS = Path("/etc")
_SETTINGS_SHOWN = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "python3*", "os-release"),
    *("passwd", "group", "nsswitch.conf", "hosts", "localtime", "timezone", "locale.alias", "locale.conf"),
    *("mime.types", "fonts", "OpenCL", "ssl/openssl.cnf", "ssl/certs", "pki/tls/openssl.cnf", "pki/tls/certs"),
    *("pki/ca-trust", "crypto-policies"),
)
"""What a `private` namespace shows of `/etc`: what Python and its libraries may read when they load. The rest may be
secret, such as the digests of passwords and the host's keys, which root can read even without rights of its own."""
_ACCELERATORS = ("nvidia", "dri", "kfd", "dxg", "accel", "vfio", "infiniband", "gdrdrv")


class Namespace(Struct, frozen=True, kw_only=True):
    """A namespace that hides folders from workers, and on request also the network.

    Each folder of `hidden` looks empty, except for folders of `shown` and `readable` inside it. `hidden` may also name
    files. Such a file can't be read until somebody outside replaces it by a new file. Workers can't write to folders of
    `readable`, except for folders of `shown` inside them; a folder that is in both lists can be written to. Process ids
    in the namespace are separate, and workers see only the namespace's own processes. If `network` is false, workers
    can only connect to processes of this namespace. If `closed` is true, the only devices that workers see are
    accelerators and the devices that programs commonly need, and a worker that runs as root has no more rights than a
    worker of any other user.

    If `private` is true, the namespace is also `closed`, and nothing that is written in it can be seen outside: the
    whole file system can only be read, but the namespace has empty folders of its own for temporary files and sockets.
    `/etc` has only what programs commonly need. Hidden folders that don't exist are no error then. All processes of the
    namespace end when the thread that started it ends.
    """

    hidden: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    network: bool = True
    closed: bool = False
    private: bool = False

    def command(self) -> list[str]:
        """Return the arguments to put before a command, so that the command runs inside the namespace.

        The command has process id 1 inside the namespace. So when the command ends, all processes inside the namespace
        end.
        """
        closed = self.closed or self.private
        root = (
            ["--ro-bind" if self.private else "--bind", "/", "/", *_devices()] if closed else ["--dev-bind", "/", "/"]
        )
        words = [bubblewrap() or "bwrap", *root]
        words += ["--unshare-pid", "--as-pid-1", "--proc", "/proc", "--cap-drop", "ALL"]
        if closed:  # its files belong to root, who may write them even without capabilities
            words += ["--ro-bind-try", "/proc/sys", "/proc/sys"]
        if not closed and os.geteuid() == 0:
            words += [word for right in _RIGHTS for word in ("--cap-add", right)]
        own = {folder.resolve() for folder in _OWN if folder.is_dir()} if self.private else set()
        files = [each for each in self.hidden if each.is_file()]
        folders = {each for each in self.hidden if each not in own and (each.is_dir() or not self.private)} - {*files}
        hidden = sorted(folders | {_SETTINGS} if self.private else folders)
        settings = _settings(folders) if self.private else ()
        python = [folder for folder in _python() if any(folder.is_relative_to(each) for each in (*own, *hidden))]
        mounts = [(folder, ["--size", str(_OWN_BYTES), "--tmpfs", str(folder)]) for folder in own]
        mounts += [(folder, ["--tmpfs", str(folder)]) for folder in hidden]
        mounts += [(folder, ["--ro-bind", str(folder), str(folder)]) for folder in (*settings, *self.readable, *python)]
        mounts += [(folder, ["--bind", str(folder), str(folder)]) for folder in self.shown]
        mounts.sort(key=itemgetter(0))  # a later mount covers what is inside its folder
        words += [word for _, mount in mounts for word in mount]
        words += [word for file in files if _is_seen(file, mounts) for word in ("--ro-bind", os.devnull, str(file))]
        if self.private:
            words += [word for folder in hidden for word in ("--remount-ro", str(folder))]
            words += ["--die-with-parent", "--chdir", "/"]
        if not self.network:
            words.append("--unshare-net")
        return [*words, "--"]


def _settings(hidden: Collection[Path]) -> list[Path]:
    """Return the files and folders of `/etc` that a `private` namespace shows. Those inside folders of `hidden` are
    left out."""
    found = [path for name in _SETTINGS_SHOWN for path in _SETTINGS.glob(name) if path.exists()]
    return [path for path in found if not any(path.is_relative_to(each) for each in {*hidden} - {_SETTINGS})]


def _is_seen(file: Path, mounts: Sequence[tuple[Path, list[str]]]) -> bool:
    """Return whether a file can be seen after these mounts. If several mounted folders contain the file's path, the
    last one decides: the file can't be seen if this folder is an empty one."""
    places = [words for folder, words in mounts if file.is_relative_to(folder)]
    return not places or "--tmpfs" not in places[-1]


def _devices() -> list[str]:
    """Return bubblewrap's arguments for a namespace that shows only the devices that programs need.

    The kernel's settings in `/sys` can be read, but not changed.
    """
    words = ["--dev", "/dev", "--ro-bind-try", "/sys", "/sys"]
    with suppress(OSError):
        for name in sorted(os.listdir("/dev")):
            if name.startswith(_ACCELERATORS):
                words += ["--dev-bind-try", f"/dev/{name}", f"/dev/{name}"]
    return words


def bubblewrap() -> str | None:
    """Return the path of the program bubblewrap (`bwrap`), or None if it isn't installed."""
    return shutil.which("bwrap")


def works(*, closed: bool = False, private: bool = False, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this machine can make a namespace. Some systems have bubblewrap, but forbid it to make
    namespaces. To find out, one is made by a process with the variables `environment`."""
    program = bubblewrap()
    if program is None:
        return False
    quiet = os.open(os.devnull, os.O_RDWR)
    try:
        pid = os.posix_spawn(
            program,
            [*Namespace(closed=closed, private=private).command(), "true"],
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, quiet, 2)],
        )
        return os.waitpid(pid, 0)[1] == 0
    except OSError:  # the file `bwrap` isn't a program that can be run
        return False
    finally:
        os.close(quiet)


def circumstances() -> str:
    """Return a text that changes whenever the result of `works` may change. A cached result is valid as long as the
    text is the same.

    The text names bubblewrap's file, the user, the kernel's rules and the container. All of these can be read within
    0.1 ms.
    """
    facts = [f"user {os.geteuid()}", "with numbers of its own"]  # so that cached results of older versions don't count
    with suppress(OSError):
        facts.append(f"in {os.readlink('/proc/self/ns/mnt')}")
    with suppress(OSError):
        program = bubblewrap() or ""
        state = os.stat(program)
        facts.append(f"{program} {state.st_ino} {state.st_size} {state.st_mtime_ns}")
    for rule in _RULES:
        with suppress(OSError):
            facts.append(f"{rule} {Path('/proc/sys', rule).read_text().strip()}")
    return "\n".join(facts)


def _python() -> Sequence[Path]:
    """Return the folders that contain the Python interpreter and Headrace itself."""
    return sorted({Path(sys.prefix), Path(sys.base_prefix), _PACKAGE})
