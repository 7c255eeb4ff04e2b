"""Backups of a project's ledger: snapshots in a separate store, with the blobs that the ledger names.

    backups = Backups(store)
    backups.add(ledger, stores, head, lease)
    backups.keep(7, lease, schema=SCHEMA)
    with backups.archive(backups.find(), schema=SCHEMA) as archive: ...

A snapshot is an archive without blobs, and is stored as a blob itself. A snapshot is valid only if the store also has a
note about it (in the spool, where other stores keep the reports of workers). The note is written last, when everything
that the snapshot needs is durable. So if a backup is killed, the earlier snapshots stay intact. A blob that the store
already has is not copied again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing
from itertools import groupby, islice
from operator import attrgetter

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import BlobDamaged, BlobMissing, LedgerError, NotFoundError
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Lease
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.exclusive import beating
from headrace.ledger.inventory import Generation, Inventory
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import erased
from headrace.ledger.transfer.archive import Archive, ArchivedBlob, Head, Writer
from headrace.ledger.transfer.blob_sources import have
from headrace.ledger.transfer.erased_rows import erased_in, write_again
from headrace.ledger.transfer.transfer import BATCH_BLOBS, BATCH_BYTES, Progress, absent, write_rows
from headrace.ledger.upkeep.gc import DELETED, GRACE_S
from headrace.spec.artifact import ERASED
from headrace.spec.noun import UNREADABLE
from headrace.store.store import Store

PREFIX = "backup-"
NOTE = "snapshot"


class Snapshot(Struct, frozen=True, kw_only=True):
    """A backup of a ledger at one moment. `digest` and `nonce` name its archive; `bytes` is the total size of its
    blobs.

    At that moment, the blobs in `lacking` were damaged, or in no store.
    """

    name: str
    made: float
    project: str
    runs: int
    blobs: int
    bytes: int
    digest: str
    nonce: str
    lacking: tuple[str, ...] = ()


class BackedUp(Struct, frozen=True, kw_only=True):
    """The result of a backup: the new snapshot, the number and bytes of copied blobs, and the older snapshots and blobs
    that were deleted. `erased` is how many older snapshots were written again because they contained an erased
    person."""

    snapshot: Snapshot
    copied: int
    copied_bytes: int
    forgotten: tuple[str, ...] = ()
    deleted: int = 0
    erased: int = 0


class Backups:
    """The backups in a store. The store must be used for backups only."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def snapshots(self) -> list[Snapshot]:
        """Return all snapshots, the oldest first."""
        found = []
        for name in self.store.spool.runs():
            if name.startswith(PREFIX):
                data = b"".join(data for note, data in self.store.spool.spills(name) if note == NOTE)
                try:
                    found.append(msgspec.json.decode(data, type=Snapshot))
                except UNREADABLE:
                    continue  # the process that wrote it was killed
        return sorted(found, key=lambda snapshot: (snapshot.made, snapshot.name))

    def find(self, name: str | None = None) -> Snapshot:
        """Return the snapshot whose name begins with `name`, or the newest snapshot if `name` is None.

        If a backup was killed while it erased a person, this snapshot may be there twice: the old one, perhaps without
        its archive, and a copy without the person. Then the copy is returned, whichever of the two has the name.

        Raises:
            NotFoundError: there is no such snapshot, or the names of several snapshots begin with `name`.
        """
        found = self.snapshots()
        if not found:
            raise NotFoundError(f"there is no backup in `{self.store.url}`", hint="`headrace backup` makes one")
        named = found[-1:] if name is None else [each for each in found if each.name.startswith(name)]
        if len({each.made for each in named}) != 1:
            names = ", ".join(f"`{each.name}`" for each in found[-3:])
            raise NotFoundError(
                f"{'several backups begin with' if named else 'there is no backup'} `{name}` in `{self.store.url}`",
                hint=f"the newest are {names}",
            )
        twins = [each for each in found if each.made == named[0].made]
        return named[0] if len(twins) == 1 else max(twins, key=self._erased_count)

    def _erased_count(self, snapshot: Snapshot) -> int:
        """Return how many generations were erased in a snapshot's ledger, or -1 if its archive can't be read."""
        try:
            with self.archive(snapshot, schema=SCHEMA) as archive:
                return len(set(erased_in(archive)))
        except LedgerError:
            return -1

    def archive(self, snapshot: Snapshot, *, schema: int) -> Archive:
        """Return a snapshot's archive, opened after a check of its bytes against its digest.

        Raises:
            LedgerError: the archive is missing or damaged.
        """
        try:
            self.store.verify(snapshot.digest, snapshot.nonce)
        except (BlobDamaged, BlobMissing) as error:
            raise LedgerError(
                f"the backup `{snapshot.name}` can't be used: {error.message}",
                hint="use an earlier one (`headrace restore --list` names them)",
            ) from error
        return Archive(self.store.path(snapshot.digest, snapshot.nonce), schema=schema)

    def blobs(self, missing: Inventory) -> Iterator[ArchivedBlob]:
        """Yield each blob in `missing` that the backups have."""
        return have({"backup": self.store}, missing, lambda *_: None)

    def add(
        self,
        ledger: Ledger,
        stores: Mapping[str, Store],
        head: Head,
        lease: Lease,
        *,
        deep: bool = False,
        progress: Progress = lambda *_: None,
    ) -> BackedUp:
        """Make a snapshot. Runs may be active meanwhile. With `deep`, blobs that were copied earlier are read and
        checked, and are copied again if they are damaged."""
        with Inventory() as named, Inventory() as missing, self.store.draft() as draft:
            writer = Writer(draft.file, head)
            with closing(ledger.connect()) as db:
                write_rows(db, writer, named, progress)
            absent(self.store, named, missing, lease)
            if deep:
                missing.add((digest, nonce, 0, size) for digest, nonce, size in self._damaged(named, lease))
            copied, size = self._copy(have(stores, missing, writer.lacks), missing.bytes(), lease, writer, progress)
            end = writer.end()
            archive = draft.keep()
            snapshot = Snapshot(
                name=f"{PREFIX}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(head.made))}-{os.urandom(2).hex()}",
                made=head.made,
                project=head.project,
                runs=end.runs,
                blobs=len(named) - len(end.lacking),
                bytes=named.bytes(),
                digest=archive.digest,
                nonce=archive.nonce,
                lacking=tuple(end.lacking),
            )
        self.store.spool.spill(snapshot.name, NOTE, msgspec.json.encode(snapshot))
        return BackedUp(snapshot=snapshot, copied=copied, copied_bytes=size)

    def erase(self, ledger: Ledger, head: Head, lease: Lease) -> int:
        """Delete the bytes that were erased in the ledger from the backups. Older snapshots that still contain erased
        rows are written again without them, under new names. Return how many snapshots were written again.

        Raises:
            LedgerError: a snapshot can't be read. This is raised after all others are done.
        """
        with closing(ledger.connect()) as db:
            gone, past, count, failed = erased(db), list[Snapshot](), 0, list[LedgerError]()
            for _, same in groupby(self.snapshots() if gone else (), key=attrgetter("made")):
                lease.renew()
                twins = [*same]
                try:
                    kept = self._erase_from(twins, db, gone, head, lease)
                except LedgerError as error:
                    failed.append(error)
                    continue
                past += [each for each in twins if each is not kept]
                count += kept not in twins
            self.store.delete_all([(each.digest, each.nonce) for each in past])
            for each in past:  # only now: nobody finds an archive without its note
                self.store.spool.forget(each.name)
            for some in scan.chunks(sorted(each for each in gone if each[1] != ERASED), DELETED):
                lease.renew()
                self.store.delete_all(some)
        if failed:
            raise failed[0]
        return count

    def _erase_from(
        self, twins: Sequence[Snapshot], db: Database, gone: Set[Generation], head: Head, lease: Lease
    ) -> Snapshot:
        """Return a snapshot in which the generations `gone` are erased: one of `twins` or, if there is none, a copy of
        one that is written now. The others can be deleted then.

        Twins are snapshots of the same moment. Usually there is only one. If a backup was killed while it erased, there
        are two: the old one, perhaps without its archive, and its copy.

        Raises:
            LedgerError: none of the twins can be read.
        """
        readable, failed = list[Snapshot](), list[LedgerError]()
        for each in twins:
            try:
                with self.archive(each, schema=SCHEMA) as archive:
                    if gone <= frozenset(erased_in(archive)):
                        return each
            except LedgerError as error:
                failed.append(error)
            else:
                readable.append(each)
        if not readable:
            raise failed[0]
        with self.archive(readable[0], schema=SCHEMA) as archive:
            return self._write_again(readable[0], archive, db, replace(head, made=archive.head.made), lease)

    def _write_again(self, snapshot: Snapshot, archive: Archive, db: Database, head: Head, lease: Lease) -> Snapshot:
        with self.store.draft() as draft:
            writer = Writer(draft.file, head)
            blobs, size = write_again(archive, writer, db, lease.renew)
            end, made = writer.end(), draft.keep()
        stamp = snapshot.name.rpartition("-")[0]
        again = replace(
            snapshot,
            name=f"{stamp}-{os.urandom(2).hex()}",
            blobs=blobs - len(end.lacking),
            bytes=size,
            digest=made.digest,
            nonce=made.nonce,
            lacking=tuple(end.lacking),
        )
        self.store.spool.spill(again.name, NOTE, msgspec.json.encode(again))
        return again

    def keep(self, count: int, lease: Lease, *, schema: int) -> tuple[tuple[str, ...], int]:
        """Keep the newest `count` snapshots and delete the others, then delete the blobs that no kept snapshot needs.
        Return the names of the deleted snapshots and the number of deleted blobs."""
        found = self.snapshots()
        kept = found[-count:] if count else []
        edge = self.store.now() - GRACE_S
        past = [each for each in found if each not in kept]
        with Inventory() as needed, Inventory() as lost:
            for snapshots, into in ((kept, needed), (past, lost)):
                for each in snapshots:
                    into.add([(each.digest, each.nonce, 0, 0)])
                    self._names(each, into, schema=schema, is_kept=into is needed)
            for each in past:
                lease.renew()
                self.store.spool.forget(each.name)
            doomed = (
                (blob.digest, blob.nonce)
                for blob in beating(lease, self.store.blobs())
                if (blob.digest, blob.nonce) not in needed
                and ((blob.digest, blob.nonce) in lost or blob.modified < edge)
            )
            deleted = 0
            while some := list(islice(doomed, DELETED)):
                self.store.delete_all(some)
                deleted += len(some)
        return tuple(each.name for each in past), deleted

    def _names(self, snapshot: Snapshot, into: Inventory, *, schema: int, is_kept: bool) -> None:
        """Add to `into` the blobs that a snapshot needs. If the snapshot is damaged, raise an error if `is_kept` is
        True; otherwise skip the snapshot."""
        try:
            with self.archive(snapshot, schema=schema) as archive:
                into.add((digest, nonce, 0, size) for digest, nonce, size in archive.named())
        except LedgerError:
            if is_kept:
                raise

    def _damaged(self, named: Inventory, lease: Lease) -> Iterator[tuple[str, str, int]]:
        for digest, nonce, size in named:
            lease.renew()
            try:
                self.store.verify(digest, nonce)
            except BlobMissing:
                continue
            except BlobDamaged:
                yield digest, nonce, size

    def _copy(
        self, blobs: Iterator[ArchivedBlob], expected: int, lease: Lease, writer: Writer, progress: Progress
    ) -> tuple[int, int]:
        count = total = 0
        while True:
            before, size = count, 0
            with self.store.batch() as batch:
                for blob in blobs:
                    try:
                        batch.replicate(blob.digest, blob.nonce, blob.file)  # type: ignore[arg-type]
                        count, size = count + 1, size + blob.size
                    except (BlobDamaged, BlobMissing):  # in the store that it is copied from
                        writer.lacks(blob.digest, blob.nonce)
                    progress("blobs", total + size, expected)
                    if count - before >= BATCH_BLOBS or size >= BATCH_BYTES:
                        break
            lease.renew()
            total += size
            if count == before:
                return count, total
