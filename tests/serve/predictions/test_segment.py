"""A segment holds each batch that was appended, whole, whatever happens to the process and to the file's end."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import LogError, UsageError
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.prediction import Answered, PredictionId, parsed
from headrace.serve.predictions.segment import Segment, read
from tests.serve.predictions.samples import answered, any_answered, any_feedback, feedback


@given(st.lists(st.lists(any_answered() | any_feedback(), min_size=1, max_size=4), max_size=4))
def test_what_was_appended_is_read_as_it_was(batches: Sequence[Sequence[Answered | Feedback]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        segment = Segment.begin(Path(folder), "0a1b2c3d4e5f", 7, now=1_000.0)
        offsets = [offset for batch in batches for offset in segment.append(batch)]
        entries = [each for batch in batches for each in batch]
        for is_closed in (False, True):
            found = read(segment.path)
            assert (found.writer, found.number, found.begun) == ("0a1b2c3d4e5f", 7, 1_000.0)
            assert [each.answered for each in found.logged] == [each for each in entries if isinstance(each, Answered)]
            assert [*found.feedback] == [each for each in entries if isinstance(each, Feedback)]
            both = zip(entries, offsets, strict=True)
            assert [each.offset for each in found.logged] == [at for each, at in both if isinstance(each, Answered)]
            if not is_closed:
                segment.close()
        assert not segment.path.with_name(segment.path.name + "-wal").exists()


@given(st.lists(st.integers(1, 5), max_size=10))
def test_each_prediction_has_an_id_that_says_where_it_is(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        segment = Segment.begin(Path(folder), "0a1b2c3d4e5f", 7, now=0.0)
        segment.append([answered(number, count=count) for number, count in enumerate(counts)])
        segment.close()
        logged = read(segment.path).logged
    ids = [PredictionId("0a1b2c3d4e5f", 7, offset, each.salt).texts(each.count) for offset, each in logged]
    made = [parsed(text) for texts in ids for text in texts]
    assert [each.offset for each in made] == list(range(sum(counts)))
    assert [str(each) for each in made] == [text for texts in ids for text in texts]
    assert [each.salt for each in made] == [number for number, count in enumerate(counts) for _ in range(count)]


@pytest.mark.parametrize("text", ["", "x", "0a1b2c3d4e5f-7-120-ff", "0A1B2C3D4E5F-7-120-00000000000000ff", "../../etc"])
def test_a_text_that_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not the id of a prediction"):
        parsed(text)


def test_ids_are_as_clients_see_them() -> None:
    assert str(PredictionId("0a1b2c3d4e5f", 7, 120, (1 << 64) - 1)) == "0a1b2c3d4e5f-7-120-ffffffffffffffff"


@pytest.mark.parametrize(("is_buffered", "step"), [(False, 97), (True, 997)])
def test_a_loss_of_power_at_any_byte_leaves_whole_batches_in_their_order(
    tmp_path: Path, is_buffered: bool, step: int
) -> None:
    """What is on disk after a loss of power is the file, and some beginning of the log of changes beside it."""
    segment = Segment.begin(tmp_path, "0a1b2c3d4e5f", 1, now=0.0, is_buffered=is_buffered)
    batches: list[list[Answered | Feedback]] = [
        [*(answered(3 * batch + number) for number in range(3)), feedback(2 * batch), feedback(2 * batch + 1)]
        for batch in range(5)
    ]
    wal = segment.path.with_name(segment.path.name + "-wal")
    synced = []
    for batch in batches:
        segment.append(batch)
        synced.append(wal.stat().st_size)
    data, log = segment.path.read_bytes(), wal.read_bytes()
    whole = [each for batch in batches for each in batch if isinstance(each, Answered)]
    told = [each for batch in batches for each in batch if isinstance(each, Feedback)]
    lengths = set()
    for cut in sorted({*range(0, len(log), step), *synced, len(log)}):
        left = tmp_path / f"cut{cut}"
        left.mkdir()
        (left / segment.path.name).write_bytes(data)
        (left / wal.name).write_bytes(log[:cut])
        acknowledged = 3 * sum(size <= cut for size in synced)
        contents = read(left / segment.path.name)
        found = [each.answered for each in contents.logged]
        assert found == whole[: len(found)]
        assert [*contents.feedback] == told[: 2 * len(found) // 3]
        assert len(found) >= acknowledged
        assert len(found) % 3 == 0
        lengths.add(len(found))
        shutil.rmtree(left)
    assert lengths == {0, 3, 6, 9, 12, 15}
    segment.close()


def test_a_file_that_is_no_segment_is_told(tmp_path: Path) -> None:
    path = tmp_path / "000000001.db"
    path.write_bytes(b"no database at all, but long enough to look at" * 100)
    with pytest.raises(LogError, match="can't be used: file is not a database"):
        read(path)
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 3")
    with pytest.raises(LogError, match="its format is 3, and this release reads formats 1 to 2"):
        read(path)


def test_a_segment_of_the_first_format_is_read(tmp_path: Path) -> None:
    """It had no feedback."""
    segment = Segment.begin(tmp_path, "0a1b2c3d4e5f", 7, now=0.0)
    segment.append([answered(1)])
    segment.close()
    with closing(sqlite3.connect(segment.path)) as db:
        db.execute("DROP TABLE feedback")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    contents = read(segment.path)
    assert [each.answered for each in contents.logged] == [answered(1)]
    assert contents.feedback == ()


def test_a_segment_whose_writer_was_stopped_while_it_began_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "000000001.db"
    path.write_bytes(b"")
    assert read(path).logged == ()
