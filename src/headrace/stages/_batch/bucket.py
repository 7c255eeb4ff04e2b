"""The stage behind `deploy.batch` that writes answers to a bucket: to one Parquet object, or to a folder of parts.

An object appears when all of its bytes have arrived, so a single object needs nothing else. In a folder, the object
`headrace.json` names the parts that belong together, and is replaced when all of them are there:

    rents/headrace.json
    rents/answers-5f0c1d2e3a4b5c6d/part-00000.parquet
    rents/answers-5f0c1d2e3a4b5c6d/part-00001.parquet

Each delivery has a subfolder of its own, so parts that a reader knows of are never written over. All attempts of a task
in its run use the same subfolder, so a later attempt only sends the parts that are missing.
"""

from __future__ import annotations

import os
import re
import secrets as randomness
import tempfile
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pyarrow as pa
from blake3 import blake3
from msgspec import Meta

from headrace.define.attempt import attempt
from headrace.define.log import log, warn
from headrace.define.ports import current
from headrace.define.stage import ready
from headrace.errors import ConfigError, SourceError, UsageError
from headrace.spec.address import SCHEMES, StoreAddress
from headrace.spec.noun import UNREADABLE, Noun
from headrace.stages._batch.parquet import SUFFIX, foreign, mark_of, write_table
from headrace.stages.bucket import bucket_errors, open_bucket, open_object
from headrace.stages.tables.parts import part_rows

LIST = "headrace.json"
"""The name of the object that names a folder's parts."""
KEEP_S = 86_400.0
"""Subfolders of earlier deliveries are kept at least for this time in seconds. Somebody may be reading them, or the
delivery may still go on."""
FOOTER_BYTES = 1 << 16
LIST_BYTES = 1 << 26
RUN = "HEADRACE_RUN"
ERRORS = bucket_errors({"url": "to", "endpoint": "bucket_endpoint", "region": "bucket_region"})

_ANSWERS = re.compile(r"(answers-[0-9a-f]{16})/part-\d{5,}\.parquet")


class Part(Noun, frozen=True):
    """A part of a delivery: its path from the folder on, the number of its rows, and its size in bytes."""

    path: str
    rows: int
    bytes: int


class Delivery(Noun, frozen=True, tag="deploy.batch", tag_field="written_by"):
    """What `headrace.json` says: the digest of the answers, the number of rows, and the parts in the order of rows."""

    output: str
    rows: int
    parts: Annotated[list[Part], Meta(min_length=1)]

    @property
    def folder(self) -> str:
        """The subfolder that has the parts."""
        return self.parts[0].path.partition("/")[0]


def is_bucket(to: Any) -> bool:
    """Return whether `to` is the URL of an object or a folder in a bucket."""
    return isinstance(to, str) and to.partition("://")[0] in SCHEMES and "://" in to


def check_bucket(to: str, endpoint: str | None, region: str | None) -> None:
    """Check the URL of an object or a folder in a bucket, and the address of the bucket.

    Raises:
        UsageError: the URL or the address isn't valid.
    """
    start, name = _split(to)
    try:
        StoreAddress(url=start, endpoint=endpoint, region=region)
    except ConfigError as error:
        message = error.message.replace("the store's URL", "`to`").replace("the store's endpoint", "`bucket_endpoint`")
        raise UsageError(message, hint=error.hint) from error
    parts = name.removesuffix("/").split("/")
    if not name.endswith((SUFFIX, "/")) or not all(parts) or {".", ".."} & set(parts):
        raise UsageError(
            f"`to` is `{to:.80}`",
            hint=f"name one object that ends with `{SUFFIX}`, or a folder for parts that ends with `/`:"
            f" `{start}/answers/`",
        )


@ready("deploy.batch.bucket", version=1, on=("pyarrow", "obstore"), kind="deploy", name="batch_to_bucket", cache=False)
def to_bucket(table: pa.Table, url: str, *, endpoint: str | None = None, region: str | None = None) -> pa.Table:
    """Write the answers in `table` to an object or to a folder of a bucket, and return `table`. If the object or the
    folder has the same answers, it is left as it is.

    Raises:
        DataError: there is something else that `deploy.batch` didn't write.
        SourceError: the bucket can't be reached or written.
    """
    start, name = _split(url)
    ref = attempt().ref("table")
    with ERRORS:
        bucket = open_bucket(start, endpoint, region)
        target = _Target(bucket, start, name, "" if ref is None else ref.digest)
        if name.endswith("/"):
            target.send_parts(table)
        else:
            target.send_object(table)
    return table


def _split(url: str) -> tuple[str, str]:
    """Return the URL of a bucket, and the name of an object or a folder in it.

    >>> _split("s3://models/out/rents.parquet")
    ('s3://models', 'out/rents.parquet')
    """
    scheme, _, rest = url.partition("://")
    bucket, _, name = rest.partition("/")
    return f"{scheme}://{bucket}", name


class _Target:
    """The place in a bucket for answers with the digest `digest`. `name` is the name of an object or a folder."""

    def __init__(self, bucket: Any, start: str, name: str, digest: str) -> None:
        self._bucket = bucket
        self._start = start
        self._name = name
        self._digest = digest

    def send_object(self, table: pa.Table) -> None:
        """Write the answers to one object, unless it has them already."""
        mark = self._mark()
        if mark is None or not self._digest or mark.get("output") != self._digest:
            self._send(self._name, table, {"output": self._digest})

    def send_parts(self, table: pa.Table) -> None:
        """Write the answers to a folder, unless it has them already. A part is about 64 MiB before it is compressed."""
        before = self._delivered()
        if before is not None and self._digest and before.output == self._digest and self._is_whole(before):
            return
        at_once = part_rows(table.schema)
        folder = self._folder(at_once)
        sent, counts = self._sizes(folder), dict[str, int]()
        for number, first in enumerate(range(0, max(1, table.num_rows), at_once)):
            piece, path = table.slice(first, at_once), f"{folder}/part-{number:05}{SUFFIX}"
            mark = {"output": self._digest, "first": first, "rows": piece.num_rows}
            # The last part is always sent: the newest object of the subfolder then shows that it is in use (`_clean`).
            is_last = first + piece.num_rows == table.num_rows
            if is_last or path not in sent or self._mark_of(self._name + path, sent[path]) != mark:
                self._send(self._name + path, piece, mark)
            counts[path] = piece.num_rows
            log("rows written", first + piece.num_rows)
        sent = self._sizes(folder)
        if missing := [path for path in counts if path not in sent]:
            raise SourceError(f"`{self._shown}{missing[0]}` was deleted while it was needed", hint="resume the run")
        parts = [Part(path=path, rows=rows, bytes=sent[path]) for path, rows in counts.items()]
        self._send(self._name + LIST, Delivery(output=self._digest, rows=table.num_rows, parts=parts))
        self._clean({folder} if before is None else {folder, before.folder})

    @property
    def _shown(self) -> str:
        return f"{self._start}/{self._name}"

    def _folder(self, at_once: int) -> str:
        """Return the name of the subfolder for parts of `at_once` rows. It is the same for all attempts of a task in
        its run."""
        run = os.environ.get(RUN) or randomness.token_hex(8)
        job = f"{run}/{attempt().task}/{self._digest}/{at_once}/{self._shown}"
        return f"answers-{blake3(job.encode()).hexdigest()[:16]}"

    def _mark(self) -> dict[str, object] | None:
        """Return the mark of the object, or None if there is no such object.

        Raises:
            DataError: `deploy.batch` didn't write the object.
        """
        while (found := self._bucket.look(self._name)) is not None:
            mark = self._mark_of(self._name, found.size)
            if mark is not None:
                return mark
            if self._bucket.look(self._name) == found:  # otherwise, it was replaced while it was read
                raise foreign(self._shown)
        return None

    def _mark_of(self, name: str, size: int) -> dict[str, object] | None:
        with open_object(self._bucket, name, size, ERRORS, FOOTER_BYTES) as file:
            return mark_of(file)

    def _delivered(self) -> Delivery | None:
        """Return what the folder has, or None if there is no whole delivery.

        Raises:
            DataError: something else has written to the folder.
        """
        name = self._name + LIST
        if self._bucket.head(name) is None:
            for each in self._bucket.objects(self._name):
                if each.size and not _ANSWERS.fullmatch(each.name.removeprefix(self._name)):
                    raise foreign(f"{self._start}/{each.name}")
            return None
        data, _ = self._bucket.begin(name, LIST_BYTES)
        try:
            return msgspec.json.decode(data, type=Delivery)
        except UNREADABLE as error:
            raise foreign(f"{self._start}/{name}") from error

    def _is_whole(self, delivery: Delivery) -> bool:
        sizes = self._sizes(delivery.folder)
        return all(sizes.get(part.path) == part.bytes for part in delivery.parts)

    def _sizes(self, folder: str) -> dict[str, int]:
        """Return the sizes of the objects in a subfolder, by their paths from the folder on."""
        found = self._bucket.objects(self._name + folder)
        return {each.name.removeprefix(self._name): each.size for each in found}

    def _send(self, name: str, value: pa.Table | Delivery, mark: Mapping[str, object] | None = None) -> None:
        """Write an object: a table as a Parquet file with a mark, or a delivery as JSON. The object is sent as a
        multipart upload, even if it is small, because some servers keep a part of an object that was cut off.

        Raises:
            SourceError: the disk of this machine is full.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="headrace-", dir=Path.cwd() if current() else None) as folder:
                path = Path(folder) / "object"
                if isinstance(value, Delivery):
                    path.write_bytes(msgspec.json.encode(value))
                else:
                    write_table(value, path, mark or {})
                self._bucket.put_file(name, path, path.stat().st_size, alone=False)
        except OSError as error:
            raise SourceError(
                f"can't write a temporary file for `{self._shown}`: {error.strerror or error}",
                hint="make room on the machine that runs the task, and resume the run",
            ) from error

    def _clean(self, kept: Set[str]) -> None:
        """Delete the subfolders of earlier deliveries, except those in `kept` and those to which something was written
        in the last `KEEP_S` seconds by the server's clock."""
        earlier: dict[str, list[Any]] = {}
        try:
            with ERRORS:
                now = self._bucket.look(self._name + LIST)
                for each in self._bucket.objects(self._name):
                    matched = _ANSWERS.fullmatch(each.name.removeprefix(self._name))
                    if matched and matched[1] not in kept:
                        earlier.setdefault(matched[1], []).append(each)
                for objects in earlier.values():
                    if now is not None and now.modified - max(each.modified for each in objects) > KEEP_S:
                        self._bucket.delete(*(each.name for each in objects))
        except SourceError as error:
            warn(f"parts of earlier deliveries in `{self._shown}` weren't deleted: {error.message}")
