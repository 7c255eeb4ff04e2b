"""Export, import and migration of a project's ledger: `headrace ledger export`, `import` and `migrate`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.errors import StoreError, UsageError
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.database.upgrade import Migrated, migrate
from headrace.ledger.exclusive import alone
from headrace.ledger.inventory import Inventory
from headrace.ledger.transfer.archive import FORMAT, VERSION, Archive, Head, Writer
from headrace.ledger.transfer.archive_check import LOG, columns
from headrace.ledger.transfer.blob_sources import have
from headrace.ledger.transfer.printed_logs import write_printed
from headrace.ledger.transfer.transfer import Imported, Importer, Look, Progress, write_rows
from headrace.operate.erasure.erase import resume
from headrace.project.project import Project
from headrace.project.state import ledger_address, open_ledger, open_store, stores
from headrace.run.events import Span
from headrace.store.folder.logs import FolderLogs
from headrace.store.store import Logs, Store

__all__ = ["Exported", "Imported", "Migrated", "Progress", "export_ledger", "import_ledger", "migrate_ledger"]


LOOKED_AT = {"arrow": "arrow", "arrow-stream": "arrow-stream", "pandas": "arrow", "polars": "arrow"}
"""For each codec of tables, the codec that checks the bytes of such a table."""


class Exported(Struct, frozen=True, kw_only=True):
    """What an export has written: the file, the numbers of runs and blobs, and the blobs' size in bytes.

    `lacking` are the digests of blobs that are missing or damaged in all stores.
    """

    file: str
    runs: int
    blobs: int
    bytes: int
    lacking: tuple[str, ...]


def head(project: Project) -> Head:
    """Return the head of an archive of the project's ledger: the archive's format, three versions (of the format,
    of the ledger's tables and of Headrace), the present time, the project's name, and the columns of each table."""
    return Head(
        format=FORMAT,
        version=VERSION,
        schema=SCHEMA,
        headrace=version("headrace"),
        made=time.time(),
        project=project.name,
        columns=columns(),
    )


def export_ledger(project: Project, file: Path, *, blobs: bool, progress: Progress) -> Exported:
    """Write the project's whole ledger to a file, and return what was written. With `blobs`, also write the blobs that
    the ledger names.

    Runs may go on meanwhile: the file holds what was stored at one moment.

    Raises:
        UsageError: the file exists already, or can't be written.
    """
    if file.exists():
        raise UsageError(f"`{file}` is there already", hint="name another file, or remove it first")
    with _written(file) as out, open_ledger(project) as ledger, alone(ledger, "headrace ledger export") as lease:
        writer = Writer(out, head(project))
        with Inventory() as named:
            with closing(ledger.connect()) as db:
                written, places = write_rows(db, writer, named, progress), list(stores(project).values())
                write_printed(db, writer, written, partial(_printed, places), partial(_sizes, places))
            if blobs:
                done, expected = 0, named.bytes()
                for blob in have(stores(project), named, writer.lacks):
                    lease.renew()
                    writer.blob(blob.digest, blob.nonce, blob.size, blob.file)
                    done += blob.size
                    progress("blobs", done, expected)
        end = writer.end()
    return Exported(file=str(file), runs=end.runs, blobs=end.blobs, bytes=end.bytes, lacking=tuple(end.lacking))


def import_ledger(project: Project, file: Path, *, blobs: bool, progress: Progress) -> Imported:
    """Import an exported file into the project's ledger, and return what was imported. With `blobs`, also import the
    file's blobs into the store.

    The blobs are copied before the rows.

    Raises:
        UsageError: the file isn't an export, or a run in it differs from the same run here. The ledger is unchanged.
    """
    with (
        Archive(file, schema=SCHEMA) as archive,
        open_ledger(project) as ledger,
        alone(ledger, "headrace ledger import") as lease,
    ):
        store = open_store(project)
        importer = Importer(ledger, archive, store, lease, progress, _logs(store), looking(store))
        imported = importer.bring(archive.missing if blobs else None)
    erase_again(project)
    return imported


def erase_again(project: Project) -> None:
    """From the data that was imported, erase the persons who were erased before the import. What can't be erased now is
    left to `headrace erase --resume`."""
    resume(project, waits=False, say=lambda _: None, all_=False)


def looking(store: Store) -> Look:
    """Return a function that checks the bytes of tables that were imported into a store.

    Tables of pandas and polars are checked as Arrow tables, so neither library is needed.
    """
    codecs = Codecs()
    return lambda ref: codecs.check(replace(ref, codec=LOOKED_AT[ref.codec]), store)


def _printed(places: Sequence[Store], run: str, span: Span) -> Iterator[bytes]:
    """Yield the output that an attempt printed: from its worker's log file if that is on this machine, else from the
    stores."""
    own = (FolderLogs(store.local / "logs", own=True) for store in places)
    for logs in (*own, *(store.logs for store in places)):
        pieces = logs.read(run, span.log, span.start, span.end)
        try:
            if (first := next(pieces, None)) is not None:
                yield first
                yield from pieces
                return
        except (StoreError, OSError):
            continue


def _sizes(places: Sequence[Store], run: str) -> dict[str, int]:
    """Return the sizes, by file name, of those log files of a run's workers that are on this machine."""
    sizes: dict[str, int] = {}
    for store in places:
        with suppress(OSError):  # there is no such folder, or it was deleted meanwhile
            for path in (store.local / "logs" / run).iterdir():
                if LOG.fullmatch(path.name):
                    sizes.setdefault(path.name, path.stat().st_size)
    return sizes


def _logs(store: Store) -> tuple[Logs, ...]:
    """Return the places to which an import writes printed output: the store's logs, which all machines read, and this
    machine's log folder.

    Commands look in the log folder for the output of attempts that didn't report their end.
    """
    beside = FolderLogs(store.local / "logs", own=False)
    return (beside,) if store.url == str(store.local) else (store.logs, beside)


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file to write to. When the context ends, it is synced and renamed to `file`, or deleted after
    an error.

    Raises:
        UsageError: the file can't be written.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        _forget_torn(file)
        with aside.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        aside.rename(file)
        descriptor = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(
            f"`{file}` can't be written: {error.strerror}",
            hint="name a file in a folder with room that you may write to",
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _forget_torn(file: Path) -> None:
    """Delete the temporary files that earlier exports to `file` left when they were killed."""
    for path in file.parent.glob(f".{file.name}.*.part"):
        path.unlink(missing_ok=True)


def migrate_ledger(project: Project) -> Migrated:
    """Migrate the project's ledger to this version's tables, and return the versions before and after.

    Raises:
        NotFoundError: there is no ledger yet.
        LedgerVersionError: a newer Headrace wrote the ledger.
    """
    return migrate(ledger_address(project))
