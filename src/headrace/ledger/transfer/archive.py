"""An archive of a ledger: one tar file, so that other tools too can list and extract its contents.

    headrace-ledger.json   the head: the archive's version, the tables' version, and the tables' columns
    runs/NUMBER.rows       a run's rows, compressed: the run's row, its events, tasks, blobs and signals
    named.rows             the blobs that belong to the ledger, sorted: digest, nonce, size
    results.rows           outputs that may be reused; not in a run's file, since many runs may share an output
    cursors.rows           cursors
    registry.rows          versions of models and datasets, aliases, and the moves of aliases
    logs/NUMBER.rows       the printed output of the run's attempts
    blobs/DIGEST.NONCE     the bytes of the artifacts
    end.json               the digest of the head and of each part of rows, and the blobs that are missing
    end.digest             the digest of `end.json`

Each row is stored as a record, which has the table's name and the row's values. The length of the record is stored
before the record. `ledger.standing.tables` declares what lives between runs, and in which part it is. An archive of
older tables may lack such a part. An archive without `end.json` is refused: the process that wrote it was killed.
Archives of version 1 have no digests of the head and of `end.json`. In these archives, the important contents of the
two files are checked in another way: they must agree with the form of the rows (`ledger.transfer.archive_check`).
"""

from __future__ import annotations

import io
import tarfile
import tempfile
import zlib
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import msgspec
from blake3 import blake3
from msgspec import Struct

from headrace.errors import LedgerError, LedgerVersionError, StoreError, UsageError
from headrace.ledger.standing.tables import PARTS
from headrace.spec.noun import UNREADABLE

FORMAT = "headrace-ledger"
VERSION = 2
HEAD, END, SEAL = "headrace-ledger.json", "end.json", "end.digest"
RESULTS, NAMED = "results.rows", "named.rows"
RUNS, BLOBS, LOGS = "runs/", "blobs/", "logs/"
HEAD_BYTES = 1 << 20
IN_MEMORY_BYTES = 16 << 20
PIECE_BYTES = 1 << 20
RECORD_BYTES = 256 << 20
"""The largest row to accept. Our rows are smaller, and a forged archive of a few MB could otherwise fill the memory."""

Record = tuple[str, list[Any]]
"""A table's name, and the values of one of its rows."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class Head(Struct, frozen=True, kw_only=True):
    """The head of an archive: its format, three versions (of the format, of the ledger's tables, and of Headrace), the
    time of the export (`made`), and the project's name. `columns` lists each table's columns, in the order of a row's
    values."""

    format: str
    version: int
    schema: int
    headrace: str
    made: float
    project: str
    columns: dict[str, list[str]]


class End(Struct, frozen=True, kw_only=True):
    """A summary of an archive's contents: the digest of each part of rows, the numbers of runs, blobs and bytes, and
    the blobs that the archive lacks. `head` is the digest of the archive's first file."""

    parts: dict[str, str]
    runs: int
    blobs: int
    bytes: int
    lacking: list[str] = []
    head: str = ""


class ArchivedBlob(Struct, frozen=True):
    """A blob in an archive. `file` can be read until the next blob is requested."""

    digest: str
    nonce: str
    size: int
    file: IO[bytes]


class Writer:
    """Writes an archive, part by part. `end` completes it."""

    def __init__(self, file: BinaryIO, head: Head) -> None:
        self._file = file
        self._parts: dict[str, str] = {}
        self._runs = self._blobs = self._bytes = 0
        self._lacking: list[str] = []
        self._head = self._add_bytes(HEAD, msgspec.json.encode(head))

    def rows(self, name: str, records: Iterable[Record]) -> None:
        """Write these records as the part `name` of the archive."""
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            squeeze = zlib.compressobj(1)
            for record in records:
                data = _encode(record)
                file.write(squeeze.compress(len(data).to_bytes(4, "big") + data))
            file.write(squeeze.flush())
            size = file.tell()
            file.seek(0)
            self._parts[name] = self._add(name, size, file)
        self._runs += name.startswith(RUNS)

    def blob(self, digest: str, nonce: str, size: int, file: IO[bytes]) -> bool:
        """Write a blob; return whether its bytes match its digest. If they don't, the archive lists the blob as
        lacking."""
        if self._add(f"{BLOBS}{digest}.{nonce}", size, file) != digest:
            self.lacks(digest, nonce)
            return False
        self._blobs += 1
        self._bytes += size
        return True

    def lacks(self, digest: str, nonce: str) -> None:
        """Record that the archive lacks a blob."""
        self._lacking.append(f"{digest}.{nonce}")

    def end(self) -> End:
        """Complete the archive; return its summary."""
        end = End(
            parts=self._parts,
            runs=self._runs,
            blobs=self._blobs,
            bytes=self._bytes,
            lacking=self._lacking,
            head=self._head,
        )
        self._add_bytes(SEAL, self._add_bytes(END, msgspec.json.encode(end)).encode())
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        return end

    def _add_bytes(self, name: str, data: bytes) -> str:
        return self._add(name, len(data), io.BytesIO(data))

    def _add(self, name: str, size: int, file: IO[bytes]) -> str:
        """Add a file of exactly `size` bytes and return its digest. The size is written before the bytes, so if the
        file is shorter than `size`, zeros are added."""
        member = tarfile.TarInfo(name)
        member.size = size
        member.mode = 0o644
        self._file.write(member.tobuf(tarfile.GNU_FORMAT))
        hasher, rest = blake3(), size
        while rest:
            piece = _read(file, min(rest, PIECE_BYTES)) or bytes(min(rest, PIECE_BYTES))
            hasher.update(piece)
            self._file.write(piece)
            rest -= len(piece)
        self._file.write(bytes(-size % tarfile.BLOCKSIZE))
        return hasher.hexdigest()


class Archive:
    """Reads an archive. Each part is checked against its digest while it is read.

    Raises:
        UsageError: the file doesn't exist, is no archive, or is incomplete.
        LedgerVersionError: a newer Headrace wrote the archive.
        LedgerError: a part of the archive is damaged. If the part has rows, the error is raised while the part is read.
    """

    def __init__(self, path: Path, *, schema: int) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise UsageError(
                f"the archive `{path}` can't be read: {error.strerror}",
                hint="name a file that `headrace ledger export` has written",
            ) from error
        try:
            self.head, self.end = self._look(schema)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def runs(self) -> list[str]:
        """Return the names of the parts that hold runs, the oldest run first."""
        return [name for name in self._places if name.startswith(RUNS)]

    def has(self, name: str) -> bool:
        """Return whether the archive has a part of this name."""
        return name in self._places

    def rows(self, name: str) -> Iterator[Record]:
        """Yield the records of a part. Yield nothing if the archive is of older tables and lacks the part.

        Raises:
            LedgerError: the part is damaged.
        """
        if name in PARTS and name not in self._places:
            return
        place, size = self._places[name]
        unsqueeze, hasher, rest, whole = zlib.decompressobj(), blake3(), bytearray(), size
        self._file.seek(place)
        try:
            while size:
                if not (piece := self._file.read(min(size, PIECE_BYTES))):
                    raise self._damaged(name)
                place, size = place + len(piece), size - len(piece)
                hasher.update(piece)
                while piece:
                    rest += unsqueeze.decompress(piece, PIECE_BYTES)
                    piece, start = unsqueeze.unconsumed_tail, 0
                    while (end := start + 4) <= len(rest):
                        past = end + int.from_bytes(rest[start:end], "big")
                        if past - end > RECORD_BYTES:
                            raise self._damaged(name)
                        if past > len(rest):
                            break
                        yield _decode(rest[end:past])
                        start = past
                    del rest[:start]
                self._file.seek(place)  # the caller may have read another part in between
        except (zlib.error, *UNREADABLE) as error:
            raise self._damaged(name) from error
        is_cut = bool(rest) or (whole > 0 and not unsqueeze.eof) or bool(unsqueeze.unused_data)
        if is_cut or hasher.hexdigest() != self.end.parts.get(name):
            raise self._damaged(name)

    def check(self) -> None:
        """Check each part of rows against its digest, before any row is used.

        Raises:
            LedgerError: a part is damaged or missing, or the archive has a part that its writer didn't list.
        """
        for name in self._places.keys() - self.end.parts.keys() - {END, SEAL}:
            raise self._damaged(name)
        for name, digest in self.end.parts.items():
            if name not in self._places:
                raise self._damaged(name)
            place, size = self._places[name]
            hasher = blake3()
            self._file.seek(place)
            while size and (piece := self._file.read(min(size, PIECE_BYTES))):
                hasher.update(piece)
                size -= len(piece)
            if hasher.hexdigest() != digest:
                raise self._damaged(name)

    def blobs(self) -> Iterator[ArchivedBlob]:
        """Yield the blobs that are complete in the archive."""
        lacking = set(self.end.lacking)
        self._file.seek(0)
        for member in _members(self._file):
            digest, _, nonce = member.name.removeprefix(BLOBS).partition(".")
            if member.name.startswith(BLOBS) and f"{digest}.{nonce}" not in lacking:
                file = _Part(self._file, member.offset_data, member.size)
                yield ArchivedBlob(digest, nonce, member.size, io.BufferedReader(file, PIECE_BYTES))

    def named(self) -> Iterator[tuple[str, str, int]]:
        """Yield the digest, nonce and size in bytes of each blob of the archived ledger, whether or not the archive has
        the blob."""
        return ((digest, nonce, size) for _, (digest, nonce, size) in self.rows(NAMED))

    def missing(self, wanted: Container[tuple[str, str]]) -> Iterator[ArchivedBlob]:
        """Yield the blobs in the archive that are in `wanted`."""
        return (blob for blob in self.blobs() if (blob.digest, blob.nonce) in wanted)

    def _look(self, schema: int) -> tuple[Head, End]:
        """Find the place of each part in the file, and check that the archive is complete. Return the archive's head
        and its end."""
        self._places: dict[str, tuple[int, int]] = {}
        head: Head | None = None
        try:
            for member in _members(self._file):
                if head is None:
                    head = self._head(member, schema)
                elif not member.name.startswith(BLOBS):
                    if member.name in self._places:
                        raise self.changed(f"`{member.name}` is there twice")
                    self._places[member.name] = member.offset_data, member.size
        except tarfile.TarError as error:
            if head is None:
                raise self._foreign() from error
            if isinstance(error, tarfile.HeaderError):  # the header's checksum is wrong
                raise self.changed() from error
            raise self._torn() from error
        if head is None:
            raise self._foreign()
        if END not in self._places:
            raise self._torn()
        data = self._read(*self._places[END])
        try:
            end = msgspec.json.decode(data, type=End)
        except UNREADABLE as error:
            raise self.changed() from error
        self._check_ends(head, end, data)
        return head, end

    def _check_ends(self, head: Head, end: End, data: bytes) -> None:
        """Check the first file and `end.json` against their digests. Archives of version 1 have no such digests."""
        if SEAL not in self._places and not end.head and head.version < 2:
            return
        if SEAL not in self._places:
            raise self._torn()
        sealed = self._read(*self._places[SEAL]).decode("ascii", "replace")
        if blake3(data).hexdigest() != sealed or end.head != self._head_digest:
            raise self.changed()

    def _head(self, member: tarfile.TarInfo, schema: int) -> Head:
        if member.name != HEAD or member.size > HEAD_BYTES:
            raise self._foreign()
        data = self._read(member.offset_data, member.size)
        self._head_digest = blake3(data).hexdigest()
        try:
            head = msgspec.json.decode(data, type=Head)
        except UNREADABLE as error:
            raise self._foreign() from error
        if head.format != FORMAT:
            raise self._foreign()
        if head.version > VERSION or head.schema > schema:
            raise LedgerVersionError(
                f"the archive `{self.path}` was written by a newer Headrace, {head.headrace} (its archive format is"
                f" {head.version}, and this Headrace reads up to {VERSION}; its tables are version {head.schema}, and"
                f" those here {schema})",
                hint="upgrade Headrace here: pip install --upgrade headrace",
            )
        return head

    def _read(self, place: int, size: int) -> bytes:
        self._file.seek(place)
        return self._file.read(size)

    def _foreign(self) -> UsageError:
        return UsageError(
            f"`{self.path}` is not an archive of a ledger", hint="name a file that `headrace ledger export` has written"
        )

    def _torn(self) -> UsageError:
        return UsageError(
            f"the archive `{self.path}` is not whole: its end is missing",
            hint="the export or the copy was interrupted: export or copy it again",
        )

    def changed(self, what: str = "some of its bytes aren't what was written") -> LedgerError:
        """Return the error for an archive whose contents no Headrace can have written. `what` describes these
        contents."""
        return LedgerError(
            f"the archive `{self.path}` is damaged, or forged: {what}",
            hint="copy it again, or export it again; nothing was imported",
        )

    def _damaged(self, name: str) -> LedgerError:
        return LedgerError(
            f"the archive `{self.path}` is damaged: the bytes of `{name}` don't match its digest",
            hint="copy it again, or export it again",
        )


class _Part(io.RawIOBase):
    """A section of a file, as a file object."""

    def __init__(self, file: BinaryIO, place: int, size: int) -> None:
        self._file = file
        self._place = place
        self._rest = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._rest]
        self._file.seek(self._place)
        count = self._file.readinto(view) if len(view) else 0  # type: ignore[attr-defined]
        self._place += count
        self._rest -= count
        return int(count)


def _read(file: IO[bytes], size: int) -> bytes:
    try:
        return file.read(size)
    except (OSError, StoreError):
        return b""  # the digest will then differ


def _members(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar's files one by one. `tarfile` would keep all of them in memory."""
    place = 0
    end = file.seek(0, io.SEEK_END)
    while True:
        file.seek(place)
        block = file.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it has no end")
        if not any(block):
            return
        member = tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
        member.offset_data = place + tarfile.BLOCKSIZE
        place = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if place > end or member.size < 0:  # a forged header could point back, and loop for ever
            raise tarfile.ReadError("it has no end")
        yield member
