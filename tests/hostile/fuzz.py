"""Fuzzing of what reads a stranger's words: gates, contracts, archives, artifacts, models, tensors. From a
shell:

    python -m tests.hostile.fuzz TARGET [SEED] [SECONDS]

Each round changes something sound at random and has it read. What is read must come out right, or be refused by an
error of ours, in time; anything else is a finding, whose round is printed: `TARGET SEED:ROUND` plays it alone.
"""

from __future__ import annotations

import atexit
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.exclusive import alone
from headrace.ledger.inventory import Inventory
from headrace.ledger.ledger import Ledger
from headrace.ledger.transfer.archive import FORMAT, VERSION, Archive, Head, Record, Writer
from headrace.ledger.transfer.archive_check import columns
from headrace.ledger.transfer.transfer import Imported, Importer, Progress, write_rows
from headrace.run.events import Closed, encode_event
from headrace.spec.artifact import Ref
from headrace.spec.intent import Advance, Register
from headrace.stages.ingest._check.contract import Contract
from headrace.store.folder.folder import FolderStore
from headrace.watch.rules import parse
from tests.hostile.models import of_models
from tests.hostile.tensors import of_tensors
from tests.ledger.samples import after, blob, first, open_ledger, result, task_row

PATIENCE_S = 5.0
"""No round may take more of a processor."""

Round = Callable[[random.Random], object]

GATES = (
    "AUC >= 0.7",
    "AUC >= 0.9523 with 95% confidence and log loss < baseline",
    "(accuracy >= 90% or recall of `a b` > previous) and worst-slice gap <= 0.1 with 99.5% confidence",
    "selection rate by `race` <= 0.2 or not worse",
)

CONTRACT = """\
name = "flights"
extra = "allow"
[rows]
shrink = 0.5
grow = 2.0
[columns.id]
type = "int64"
unique = true
[columns.carrier]
type = "string"
values = ["UA", "AA"]
null = 0.1
[columns.delay]
type = "double"
min = -60
max = 1e4
[[references]]
columns = ["carrier"]
table = "carriers"
keys = ["code"]
"""

WORDS = (
    "",
    " ",
    "\n",
    "\0",
    "`",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    "=",
    ",",
    ".",
    "-1",
    "1e400",
    "nan",
    "inf",
    "0x1",
    "%",
    "and",
    "or",
    "by",
    "of",
    "with",
    "confidence",
    "baseline",
    "\ud800",
    "é",
    "\u202e",
    "9" * 400,
    "true",
    "null",
    "1979-05-27",
    "..",
    "../",
)


def text_of(chance: random.Random, sound: str) -> str:
    """Change a text here and there."""
    found = sound
    for _ in range(chance.randint(1, 6)):
        start = chance.randint(0, len(found))
        end = min(len(found), start + chance.choice((0, 0, 1, 2, 8)))
        word = chance.choice(
            (chance.choice(WORDS), chance.choice(WORDS) * 30, chr(chance.randrange(1, 0x250)), found[end : end + 9])
        )
        found = found[:start] + word + found[end:]
    return found


def bytes_of(chance: random.Random, sound: bytes) -> bytes:
    """Change bytes here and there: a bit, a byte, a number, a stretch."""
    found = bytearray(sound)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(found) or 1)
        match chance.randrange(6):
            case 0 | 1 if found:
                found[place] ^= 1 << chance.randrange(8)
            case 2 if found:
                found[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 3:
                found[place : place + 4] = chance.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1)).to_bytes(4, "little")
            case 4:
                del found[place : place + chance.randint(1, 16)]
            case _:
                found[place:place] = found[place : place + chance.randint(1, 16)]
    return bytes(found)


def of_gates() -> Round:
    return lambda chance: parse(text_of(chance, chance.choice(GATES)))


def of_contracts() -> Round:
    return lambda chance: Contract.from_toml(text_of(chance, CONTRACT))


# -- artifacts ---------------------------------------------------------------------------------------------------------


def values() -> list[Any]:
    """A value for each codec that is safe."""
    import pandas as pd
    import polars as pl
    from lightgbm import LGBMRegressor
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeClassifier

    rows = np.arange(40.0).reshape(20, 2)
    table = pa.table(
        {
            "a": [1, None, 3],
            "b": ["x", "yy", None],
            "c": [[1], [], [2, 3]],
            "d": pa.array(["u", "v", "u"]).dictionary_encode(),
        }
    )
    return [
        table,
        table.schema,
        pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=["p", "q"]),
        pl.DataFrame({"a": [1, 2], "b": ["x", None], "c": [[1], [2, 3]]}),
        rows,
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        Ridge().fit(rows, rows[:, 0]),
        DecisionTreeClassifier().fit(rows, [0, 1] * 10),
        LGBMRegressor(n_estimators=1, min_child_samples=1, verbose=-1).fit(rows, rows[:, 0]),
        {"a": (1, 2.5), 3: {4}, "t": msgspec.UNSET is None},
        {("a", 1): [b"x" * 2000]},
        "größer",
    ]


def _folder() -> Path:
    """A folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def of_codecs() -> Round:
    folder = _folder()
    store, codecs = FolderStore(folder / "store"), Codecs()
    refs = [codecs.save(value, store) for value in values()]

    def play(chance: random.Random) -> object:
        ref = _changed(chance, chance.choice(refs), store)
        value = codecs.load(ref, store, scratch=folder / "scratch")
        if isinstance(value, pa.RecordBatchReader):
            value = value.read_all()
        if isinstance(value, pa.Table):
            value.validate(full=True)
            value.to_pylist()
        return None

    return play


def _changed(chance: random.Random, ref: Ref, store: FolderStore) -> Ref:
    """Change the bytes of an artifact, or of one of its parts."""
    if ref.parts:
        place = chance.randrange(len(ref.parts))
        part = _changed(chance, ref.parts[place], store)
        return replace(ref, parts=(*ref.parts[:place], part, *ref.parts[place + 1 :]))
    data = ref.inline if ref.inline is not None else store.path(ref.digest, ref.nonce or "").read_bytes()
    data = bytes_of(chance, data)
    return replace(ref, inline=data, size=len(data), nonce=None)


# -- archives ----------------------------------------------------------------------------------------------------------


def sound_archive(folder: Path) -> Path:
    """An archive of a run with a task, a result, a cursor and a version."""
    file = folder / "sound.headrace"
    head = Head(
        format=FORMAT, version=VERSION, schema=SCHEMA, headrace="1", made=time.time(), project="p", columns=columns()
    )
    out = blob("value")
    with open_ledger(folder / "sound") as ledger, file.open("wb") as to, Inventory() as named:
        with ledger.open_run("flights") as run:
            run.commit(first([encode_event(Closed("succeeded", at=1.0))] * 3, kept=[out]))
            asked = Advance("orders", 0, out), Register("model", "m", out)
            run.commit(
                after(run, tasks=[task_row(out=out)], results=[result(out)], intents=[("fit", each) for each in asked])
            )
        writer = Writer(to, head)
        with closing(ledger.connect()) as db:
            write_rows(db, writer, named, lambda *_: None)
        writer.end()
    return file


def of_archives() -> Round:
    folder = _folder()
    source = sound_archive(folder)
    data = source.read_bytes()
    with Archive(source, schema=SCHEMA) as archive:
        parts = {name: list(archive.rows(name)) for name in archive.end.parts}
        head = archive.head
    target = folder / "changed.headrace"

    def play(chance: random.Random) -> object:
        if chance.random() < 0.4:
            target.write_bytes(bytes_of(chance, data))
        else:
            _write_changed(chance, target, head, parts)
        with open_ledger(folder / "ledger") as ledger:
            try:
                bring(target, ledger, folder)
            except HeadraceError:
                with closing(ledger.connect()) as db:
                    left = [db.execute(f"select count(*) from {name}").fetchone()[0] for name in columns()]
                assert not any(left), f"refused, and yet there are rows: {left}"
                raise
            _look(ledger)
            with closing(ledger.connect()) as db:
                for name in columns():
                    db.execute(f"delete from {name}")
        return None

    return play


def bring(file: Path, ledger: Ledger, folder: Path, progress: Progress = lambda *_: None) -> Imported:
    """Import the rows of an archive."""
    with Archive(file, schema=SCHEMA) as archive, alone(ledger, "a test") as lease:
        return Importer(ledger, archive, FolderStore(folder / "store"), lease, progress).bring(None)


def _look(ledger: Ledger) -> None:
    """Look at what came in."""
    with closing(ledger.connect()) as db:
        assert db.execute("select count(*) from runs where id = ''").fetchone()[0] == 0
        assert db.execute("select count(*) from tasks where name = ''").fetchone()[0] == 0


def _write_changed(chance: random.Random, target: Path, head: Head, parts: dict[str, list[Record]]) -> None:
    """Write an archive whose digests are right, and whose rows or columns aren't."""
    told = {name: list(each) for name, each in head.columns.items()}
    if chance.random() < 0.2:
        names = chance.choice(list(told.values()))
        names[chance.randrange(len(names))] = chance.choice(("x", "key", "run", "id", ""))
    with target.open("wb") as out:
        writer = Writer(out, replace(head, columns=told))
        for name, rows in parts.items():
            writer.rows(name, [_row(chance, record) if chance.random() < 0.3 else record for record in rows])
        writer.end()


ODD = (None, "", 0, -1, 1 << 40, 1.5, float("nan"), True, b"", b"\xc0", "\0", "../../x", [], [1], {}, "x" * 300)


def _row(chance: random.Random, record: Record) -> Record:
    table, row = record[0], list(record[1])
    match chance.randrange(5):
        case 0:
            table = chance.choice((*columns(), "named", "nonsense", ""))
        case 1 if row:
            del row[chance.randrange(len(row))]
        case 2:
            row.insert(chance.randint(0, len(row)), chance.choice(ODD))
        case 3 if row:
            place = chance.randrange(len(row))
            value = row[place]
            row[place] = bytes_of(chance, value) if isinstance(value, bytes) and value else chance.choice(ODD)
        case _ if row:
            row[chance.randrange(len(row))] = chance.choice(ODD)
    return table, row


# -- playing -----------------------------------------------------------------------------------------------------------

TARGETS: dict[str, Callable[[], Round]] = {
    "archives": of_archives,
    "codecs": of_codecs,
    "contracts": of_contracts,
    "gates": of_gates,
    "models": lambda: of_models(_folder()),
    "tensors": lambda: of_tensors(text_of, bytes_of),
}


def fuzz(target: str, seed: str, seconds: float) -> tuple[int, list[str]]:
    """Play rounds for so long, or the one that `seed` names; return how many, and what was found."""
    seed, _, only = seed.partition(":")
    play = TARGETS[target]()
    found: list[str] = []
    end, count = time.monotonic() + seconds, 0
    while (time.monotonic() < end or (only and count == 0)) and len(found) < 5:
        number = int(only) if only else count
        began = time.process_time()
        print(f"\r{target} {seed}:{number}", end="", file=sys.stderr, flush=True)  # what is told of one that crashes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                play(random.Random(f"{target} {seed} {number}"))
            except HeadraceError:
                pass
            except BaseException:  # noqa: BLE001  whatever it is, it is a finding
                found.append(f"{target} {seed}:{number}\n{traceback.format_exc(limit=-6)}")
        if (took := time.process_time() - began) > PATIENCE_S:
            found.append(f"{target} {seed}:{number} took {took:.1f} s")
        count += 1
        if only:
            break
    return count, found


def main() -> int:
    """Play as the words say."""
    target = sys.argv[1]
    seed = sys.argv[2] if len(sys.argv) > 2 else str(time.time_ns() % 10**9)
    count, found = fuzz(target, seed, float(sys.argv[3]) if len(sys.argv) > 3 else 60)
    print(f"\n{target}: {count} rounds of seed {seed}, {len(found)} findings")
    for each in found:
        print(each)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
