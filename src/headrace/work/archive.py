"""The archive of a bundle: all its files in one blob. The same files make the same bytes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from blake3 import blake3

from headrace.errors import BlobDamaged, StoreError
from headrace.run.wire import Hello, decode_order
from headrace.spec.bundle import Bundle
from headrace.spec.noun import UNREADABLE
from headrace.store.folder.fsync import sync, sync_all
from headrace.store.open_store import open_store
from headrace.store.store import Store
from headrace.waits import locked

LOCK_S = 30.0
"""How long a process waits for the lock of the unpacked bundles, in seconds. Others hold it for some milliseconds."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of these files; the keys are their paths (POSIX, relative to the bundle)."""
    return _encode(sorted(files.items()))


def files_of(archive: bytes) -> dict[str, bytes]:
    """Return an archive's files by path.

    Raises:
        StoreError: the bytes aren't an archive, or a path leads out of the bundle's folder.
    """
    try:
        files = dict(_decode(archive))
    except UNREADABLE as error:
        raise StoreError("a bundle can't be read", hint="run the pipeline again") from error
    for path in files:
        if path.startswith("/") or ".." in path.split("/"):
            raise StoreError(f"a bundle has a file `{path}`, outside of its folder", hint="run the pipeline again")
    return files


def unpack(bundle: Bundle, store: Store, local: Path) -> Path:
    """Return the folder of a bundle's files, which is below `local`. If the folder doesn't exist yet, write it. It
    never changes afterwards, and stays for at least an hour after the last call, or as long as a run has the bundle.

    Raises:
        StoreError: the bundle is damaged; or another process has the folders of bundles locked for too long.
    """
    folder = local / "bundles" / bundle.digest
    if _is_there(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not (ignoring := folder.parent / ".gitignore").exists():
        ignoring.write_text("*\n")  # if a store is in a project's folder, neither Git nor a bundle takes these files
    aside = folder.parent / f".new-{os.urandom(8).hex()}"
    aside.mkdir(0o755)
    try:
        archive = store.path(bundle.digest, bundle.nonce).read_bytes()
        if blake3(archive).hexdigest() != bundle.digest:
            raise BlobDamaged(
                f"the run's code can't be read: bundle `{bundle.digest[:12]}` is damaged in the store",
                hint="run the pipeline again, or resume with `--new-code`",
            )
        written: list[Path] = []
        for name, data in files_of(archive).items():
            path = aside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o444)
            written.append(path)
        sync_all(written)
        os.rename(aside, folder)
        sync(folder.parent)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _is_there(folder: Path) -> bool:
    """Return whether a bundle's folder exists. If so, note that it's used now (see `clear`)."""
    try:
        with _alone(folder.parent):
            os.utime(folder)
    except FileNotFoundError:
        return False
    except OSError:  # it can't be written in a worker's namespace; its run has the bundle
        return folder.is_dir()
    return True


def clear(local: Path, needed: Collection[str], before: float) -> None:
    """Delete the folders below `local` of those bundles whose digests aren't in `needed`, if nobody has asked for them
    since the time `before` (Unix seconds). Also delete unfinished folders that are older.

    Raises:
        StoreError: another process has the folders locked for too long.
    """
    bundles, doomed = local / "bundles", list[Path]()
    if not bundles.is_dir():
        return
    with _alone(bundles):
        for path in bundles.iterdir():
            with suppress(FileNotFoundError):  # an unfinished folder may be finished meanwhile
                if path.is_dir() and path.name not in needed and path.stat().st_mtime < before:
                    aside = path.with_name(f".old-{os.urandom(8).hex()}")
                    doomed.append(path.rename(aside))  # whoever asks for the bundle from now on unpacks it again
    for path in doomed:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _alone(bundles: Path) -> Iterator[None]:
    """Let one process at a time note that it uses a bundle, or find out that nobody does. If the disk has no file
    locks, nothing is locked.

    Raises:
        StoreError: another process holds the lock for more than `LOCK_S` seconds.
    """
    with locked(bundles / ".lock", LOCK_S) as is_ours:
        if not is_ours:
            raise StoreError(
                f"another process holds the lock `{bundles / '.lock'}` and doesn't give it up",
                hint="let this process go on if it is stopped (SIGSTOP), or kill it; `fuser FILE` shows its id",
            )
        yield


def main() -> None:
    """Read the run's `Hello` from stdin, and unpack its bundle. This is run before the workers of a machine start in
    a Linux namespace, since inside the namespace the bundle's folder is read-only."""
    hello = decode_order(sys.stdin.buffer.read())
    assert isinstance(hello, Hello)
    local = Path(hello.local)
    unpack(hello.bundle, open_store(hello.store, local=local, own=hello.own), local)


if __name__ == "__main__":
    main()
