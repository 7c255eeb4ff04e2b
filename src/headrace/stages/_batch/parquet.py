"""The stage behind `deploy.batch` that writes answers to a Parquet file. Readers see either the old file or the
complete new file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from headrace.define.attempt import attempt
from headrace.define.stage import ready
from headrace.errors import DataError, SourceError
from headrace.stages._batch.folders import check_real, place_of

SUFFIX = ".parquet"
MARK = b"headrace.batch"
"""The key in a Parquet file's metadata which shows that `deploy.batch` wrote the file. Its value is JSON with `output`,
the digest of the answers. If the file is one of several parts, the value also has the number of its `first` row and of
all its `rows`."""
GROUP_ROWS = 1 << 17


@ready("deploy.batch.parquet", version=1, on=("pyarrow",), kind="deploy", name="batch_to_parquet", cache=False)
def to_parquet(table: pa.Table, path: str) -> pa.Table:
    """Write the answers in `table` to a Parquet file, and return `table`. If `deploy.batch` wrote the file earlier, the
    file is replaced in one step; if the file has the same answers, it is left as it is.

    A relative path starts at the project's folder. Missing folders in the project's folder are created.

    Raises:
        DataError: the file exists, and `deploy.batch` didn't write it.
        SourceError: the file can't be written.
    """
    target = _target(path)
    ref = attempt().ref("table")
    digest = "" if ref is None else ref.digest
    if _is_there(target, digest):
        _sync(target)  # an attempt may have been killed after it had replaced the file
        return table
    with _written(target) as aside:
        write_table(table, aside, {"output": digest})
    return table


def write_table(table: pa.Table, path: Path, mark: Mapping[str, object]) -> None:
    """Write a table to a Parquet file. The file's metadata has `mark`, which shows that `deploy.batch` wrote it."""
    import pyarrow.parquet as pq  # noqa: PLC0415  25 ms for each tracer that imports `deploy`

    schema = table.schema.with_metadata({**(table.schema.metadata or {}), MARK: json.dumps(mark).encode()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, max(1, table.num_rows), GROUP_ROWS):
            piece = table.slice(start, GROUP_ROWS)
            writer.write_table(piece.replace_schema_metadata(schema.metadata), GROUP_ROWS)


def mark_of(file: Path | BinaryIO) -> dict[str, object] | None:
    """Return the mark in the metadata of a Parquet file, or None if `deploy.batch` didn't write the file."""
    import pyarrow.parquet as pq  # noqa: PLC0415  as above

    try:
        found: dict[bytes, bytes] = pq.read_schema(file).metadata or {}
    except (pa.ArrowException, OSError):
        return None
    if MARK not in found:
        return None
    with suppress(ValueError):
        if isinstance(mark := json.loads(found[MARK]), dict):
            return mark
    return {}


def _target(path: str) -> Path:
    """Return the full path of the file to write, in a folder that exists.

    Raises:
        SourceError: the path leads out of the project, workers don't see the folder, or the folder can't be created.
    """
    target, project = place_of(Path(path)), attempt().project
    try:
        if project is not None and target.is_relative_to(project):
            target.parent.mkdir(parents=True, exist_ok=True)
        real = target.parent.resolve(strict=True)
    except OSError as error:
        raise _unwritten(target, error) from error
    check_real(real)
    target = real / target.name
    return target.resolve() if target.is_symlink() else target


def _is_there(target: Path, digest: str) -> bool:
    """Return whether the file `target` exists and has the answers with this digest.

    Raises:
        DataError: the file exists, and `deploy.batch` didn't write it.
    """
    if not os.path.lexists(target):
        return False
    mark = mark_of(target)
    if mark is None:
        raise foreign(str(target))
    return bool(digest) and mark.get("output") == digest


def foreign(target: str) -> DataError:
    """Return the error that something else has written what is there already."""
    return DataError(
        f"`{target}` is there already, and `deploy.batch` didn't write it",
        hint="move it away, or give another path by `to=`",
    )


@contextmanager
def _written(target: Path) -> Iterator[Path]:
    """Yield a path to write to. At the end of the `with` block, the file at this path is flushed to the disk and
    renamed to `target`. If a killed attempt left a file at this path, that file is overwritten.

    Raises:
        SourceError: another process is writing the file, the disk is full, or the file can't be written for another
            reason.
    """
    aside = target.with_name(f".{target.name[:100]}.part")
    try:
        with aside.open("ab") as file:
            if not _is_mine(file.fileno(), aside):
                raise SourceError(f"another task is writing `{target}`", hint="wait for it, and resume the run")
            try:
                yield aside
                os.fsync(file.fileno())
                os.replace(aside, target)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
        _sync(target)
    except OSError as error:
        raise _unwritten(target, error) from error


def _is_mine(descriptor: int, path: Path) -> bool:
    """Try to lock an open file. Return whether this process has the lock and the file still has this path: the process
    that had the lock before may have renamed the file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


def _sync(target: Path) -> None:
    """Flush the name of a file to the disk, so that the name survives a crash of the machine.

    Raises:
        SourceError: the file's folder can't be flushed to the disk.
    """
    try:
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unwritten(target, error) from error


def _unwritten(target: Path, error: OSError) -> SourceError:
    why = os.strerror(error.errno) if error.errno else str(error)  # Arrow's own text is longer
    return SourceError(
        f"can't write `{target}`: {why}", hint="make room or give another path by `to=`, and resume the run"
    )
