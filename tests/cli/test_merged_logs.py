"""`headrace gc` merges the small tables of a day of a prediction log, and nobody who reads the log notices."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import chdir, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from headrace.inspect.endpoints.labels import labelled
from headrace.inspect.endpoints.predictions import predictions
from headrace.inspect.views import read
from headrace.ledger.upkeep.gc import Collector
from headrace.ledger.upkeep.merged_parts import MergedLog
from headrace.ledger.upkeep.old_parts import Together
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.operate.upkeep.prediction_logs import LogRules
from headrace.operate.upkeep.transfer import import_ledger
from headrace.operate.upkeep.upkeep import Keep, collect
from headrace.project import project as projects
from headrace.project.state import open_ledger, stores
from headrace.spec.artifact import Ref, blobs, decode_ref
from tests.cli.conftest import Shell
from tests.cli.test_labels import feedback, log
from tests.cli.test_predictions import WATCH, watched
from tests.serve.predictions.samples import answered

DAY_S = 86_400.0
COUNT = 60
"""So many predictions aren't kept in the ledger's row."""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell(tmp_path)
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", WATCH)
    monkeypatch.chdir(tmp_path)
    return shell


def noon(*, days: int) -> float:
    """The middle of the day (UTC) so many days ago: parts that are sealed one after the other are of one day."""
    return (time.time() // DAY_S - days + 0.5) * DAY_S


def seal(number: int, *, days: int, endpoint: str = "delays", count: int = COUNT, label: bool = False) -> None:
    """Seal `count` predictions `number`, which are so many days old, as a part of their own; and a label of one."""
    at = noon(days=days) + number * 60
    (identity, *_) = log(replace(answered(number, count=count), at=at, endpoint=endpoint))
    if label:
        log(replace(feedback(at, {identity: number}), endpoint=endpoint))
    seal_predictions(projects.load())


def seen(endpoint: str = "delays") -> list[dict[str, Any]]:
    """All predictions of an endpoint with their labels, as everybody reads them."""
    project = projects.load()
    with read(project) as views:
        found = labelled(project, views, endpoint, predictions(project, views, endpoint))
    return [dict(row) for row in found.to_pylist()]


def tables(endpoint: str = "delays") -> Counter[str]:
    """The tables in the store that the parts of an endpoint name, and by how many parts."""
    with read(projects.load()) as views:
        return Counter(each.digest for part in views.prediction_parts(endpoint) for each in blobs(decode_ref(part.out)))


def test_the_parts_of_a_day_become_one_table_and_everything_is_read_as_before(shell: Shell) -> None:
    for number in range(5):
        seal(number, days=3, label=number == 2)
    for number in range(5, 8):
        seal(number, days=2)
    seal(8, days=0)
    seal(9, days=0)
    seal(10, days=3, endpoint="other")
    before, logs = seen(), shell("predictions", "--json").out
    assert len(tables()) == 10
    dry = shell("gc", "--dry-run")
    assert "would merge 8 parts of the log of endpoint `delays` into 2 tables" in dry.out
    assert len(tables()) == 10
    done = shell("gc", "--json").json
    assert done["merged"] == [{"endpoint": "delays", "parts": 8, "tables": 2}]
    assert sorted(tables().values()) == [1, 1, 3, 5]
    assert len(tables("other")) == 1
    assert (seen(), shell("predictions", "--json").out) == (before, logs)
    assert shell("fsck", "--deep").code == 0
    again = shell("gc", "--json").json
    assert again["merged"] == []
    assert seen() == before


def test_a_cursor_in_the_midst_of_a_merged_table_goes_on_after_its_last_part(shell: Shell) -> None:
    for number in range(3):
        seal(number, days=3)
    assert watched(shell, "run", "watch") == [0] * COUNT + [1] * COUNT + [2] * COUNT
    for number in range(3, 6):
        seal(number, days=3)
    assert shell("gc", "--json").json["merged"][0]["parts"] == 6
    assert watched(shell, "run", "watch") == [3] * COUNT + [4] * COUNT + [5] * COUNT
    seal(6, days=0)
    assert watched(shell, "run", "watch") == [6] * COUNT
    assert shell("fsck", "--deep").code == 0


def test_a_merged_table_of_which_a_part_is_forgotten_is_written_anew(shell: Shell) -> None:
    for number in range(4):
        seal(number, days=3)
    for number in (5, 7):
        seal(number, days=0)
    assert shell("gc", "--json").json["merged"][0] == {"endpoint": "delays", "parts": 4, "tables": 1}
    shell("gc")
    (before,) = {digest for digest, parts in tables().items() if parts == 4}
    shell.write("headrace.toml", f'[endpoint.delays]\nkeep = "{int(time.time() - noon(days=3)) - 90}s"\n')
    dry, done = (shell("gc", *words, "--json").json for words in (["--dry-run"], []))
    assert (done["logs"], done["merged"]) == (dry["logs"], dry["merged"])
    assert done["logs"][0]["parts"] == 2
    assert done["merged"] == [{"endpoint": "delays", "parts": 2, "tables": 1}]
    assert before not in tables()
    assert sorted({row["output"]["predicted"] for row in seen()}) == [2, 3, 5, 7]
    for path in (shell.folder / ".headrace" / "store" / "blobs").rglob("*"):
        os.utime(path, (0, 0))  # what no row names is kept for an hour
    assert shell("gc", "--json").json["merged"] == []
    assert not any(before in path.name for path in (shell.folder / ".headrace" / "store").rglob("*"))
    assert shell("fsck", "--deep").code == 0


def test_what_another_process_has_changed_meanwhile_is_left_for_the_next_time(shell: Shell) -> None:
    for number in range(4):
        seal(number, days=3)
    project, before = projects.load(), seen()
    with open_ledger(project) as ledger, Collector(ledger, stores(project)) as collector:
        found = collector.collect(Keep(), logs=Changed(project), now=ledger.now())
    assert found.merged == ()
    assert len(tables()) == 3, "and one part is empty"
    after = [row for row in before if row["at"] != before[0]["at"]]
    assert seen() == after
    assert collect(project, Keep(), dry_run=False).merged == (MergedLog(endpoint="delays", parts=3, tables=1),)
    assert seen() == after


class Changed(LogRules):
    """While tables are merged, somebody empties a part."""

    def merged(self, outs: Sequence[Ref], beat: Callable[[], None], *, dry_run: bool) -> list[Together]:
        found = super().merged(outs, beat, dry_run=dry_run)
        if found:
            with open_ledger(self._project) as ledger, closing(ledger.connect()) as db:
                empty = msgspec.msgpack.encode(self.empty(is_labels=False))
                db.execute(db.sql.FORGET_PREDICTION_PARTS, (empty, "delays", noon(days=3) + 30))
        return found


def test_a_merger_that_is_killed_before_its_rows_are_written_changes_nothing(shell: Shell) -> None:
    for number in range(4):
        seal(number, days=3)
    project, before = projects.load(), seen()
    with open_ledger(project) as ledger, Collector(ledger, stores(project)) as collector, pytest.raises(Killed):
        collector.collect(Keep(), logs=Stopped(project), now=ledger.now())
    assert (seen(), len(tables())) == (before, 4)
    assert shell("gc", "--json").json["merged"][0]["parts"] == 4
    assert seen() == before
    assert shell("fsck", "--deep").code == 0


class Killed(BaseException):
    """What ends a merger in the midst."""


class Stopped(LogRules):
    """Ends once the larger table is stored."""

    def merged(self, outs: Sequence[Ref], beat: Callable[[], None], *, dry_run: bool) -> list[Together]:
        super().merged(outs, beat, dry_run=dry_run)
        raise Killed


def test_tables_of_other_columns_and_damaged_ones_are_left_alone(shell: Shell) -> None:
    for number in range(4):
        seal(number, days=3)
    for number in (4, 5):
        given = b"[%s]" % b",".join([b'{"y": "a"}'] * COUNT)
        log(replace(answered(number, count=COUNT, given=given), at=noon(days=3)))
        seal_predictions(projects.load())
    before = seen()
    with read(projects.load()) as views:
        first = decode_ref(views.prediction_parts("delays")[0].out)
    path = next((shell.folder / ".headrace" / "store" / "blobs").rglob(f"*{first.nonce}*"))
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:-1] + b"?")
    assert shell("gc", "--json").json["merged"] == [{"endpoint": "delays", "parts": 5, "tables": 2}]
    assert sorted(tables().values()) == [1, 2, 3]
    path.write_bytes(data)
    assert seen() == before


def test_old_archives_add_nothing_to_a_merged_log_and_new_ones_bring_it(shell: Shell, tmp_path: Path) -> None:
    for number in range(4):
        seal(number, days=3, label=True)
    assert shell("ledger", "export", "old.headrace").code == 0
    before = seen()
    assert shell("gc", "--json").json["merged"][0]["parts"] == 4
    shell("gc")
    done = shell("ledger", "import", "old.headrace")
    assert done.code == 0, done.err
    assert (seen(), sorted(tables().values())) == (before, [4])
    assert shell("ledger", "export", "new.headrace").code == 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "headrace.toml").write_text("")
    with chdir(other):
        import_ledger(projects.load(), shell.folder / "new.headrace", blobs=True, progress=lambda *_: None)
        assert (seen(), sorted(tables().values())) == (before, [4])
