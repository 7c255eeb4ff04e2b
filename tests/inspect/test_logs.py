"""Whose bytes are whose in the file of a worker that runs one attempt after another."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from headrace.inspect.logs import _divide, _grown
from headrace.ledger.views.rows import attempt_views
from headrace.run.events import Failed, Launched, Recalled, Span, Succeeded
from headrace.run.story import Story
from headrace.spec.artifact import Ref
from headrace.spec.failure import Failure, FailureKind

OUT = Ref(digest="", size=0, codec="json", type="builtins.int")


def launched(task: str, worker: int = 1) -> Launched:
    return Launched(task=task, attempt=1, key="", workers=(worker,), pool="local", why="", inputs=b"")


def ended(task: str, start: int, end: int, log: str = "1-77") -> Succeeded:
    return Succeeded(task=task, attempt=1, out=OUT, started=0.0, seconds=0.0, log=Span(log, start, end))


def died(task: str, kind: FailureKind) -> Failed:
    return Failed(task=task, attempt=1, failure=Failure(kind, "it died"), at=0.0)


BEGUN = (launched("a"), launched("b"), launched("c"), ended("a", 0, 1))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_bytes_are_divided_where_attempts_ended(sizes: list[int]) -> None:
    story, start = Story(), 0
    for number, size in enumerate(sizes):
        story.hear(launched(f"t{number}"))
        story.hear(ended(f"t{number}", start, start + size))
        start += size
    data = b"".join(str(number).encode() * size for number, size in enumerate(sizes))
    pieces = list(_divide(story.written["1"], 0, data, "1"))
    assert [(piece.task, len(piece.data)) for piece in pieces] == [(f"t{n}", size) for n, size in enumerate(sizes)]
    assert all(set(piece.data) == {ord(piece.task[1])} for piece in pieces)


def test_what_has_not_ended_belongs_to_the_attempt_whose_turn_it_is(tmp_path: Path) -> None:
    (tmp_path / "1-77").write_bytes(b"aaab")
    (tmp_path / "0-76").write_bytes(b"hello")
    story, read = Story.of((launched("a"), launched("b"), ended("a", 0, 3))), dict[str, int]()
    pieces = list(_grown([tmp_path], story.written, read, None))
    assert [(piece.task, piece.data) for piece in pieces] == [
        ("(the pipeline's body)", b"hello"),
        ("a", b"aaa"),
        ("b", b"b"),
    ]
    with (tmp_path / "1-77").open("ab") as file:
        file.write(b"bb")
    assert [(piece.task, piece.data) for piece in _grown([tmp_path], story.written, read, "b")] == [("b", b"bb")]
    assert list(_grown([tmp_path], story.written, read, None)) == []


def test_an_attempt_that_was_taken_back_has_printed_nothing_and_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "1-77").write_bytes(b"accc")
    story = Story.of((*BEGUN, Recalled("b", 1)))
    pieces = _grown([tmp_path], story.written, {}, None)
    assert [(piece.task, piece.data) for piece in pieces] == [("a", b"a"), ("c", b"ccc")]
    assert [(view.task, view.state) for view in attempt_views(story)] == [("a", "succeeded"), ("c", "running")]


def test_an_attempt_that_was_taken_back_before_its_launch_is_known_changes_nothing() -> None:
    story, before = Story.of((*BEGUN, Recalled("d", 1))), Story.of(BEGUN)
    assert (story.launched, story.written) == (before.launched, before.written)


def test_what_a_worker_printed_before_it_died_is_kept(tmp_path: Path) -> None:
    (tmp_path / "1-77").write_bytes(b"aSegmentation fault")
    story = Story.of((*BEGUN, died("b", "crash"), died("c", "lost")))
    assert [(piece.task, piece.data) for piece in _grown([tmp_path], story.written, {}, None)] == [
        ("a", b"a"),
        ("b", b"Segmentation fault"),
    ]


def test_what_an_attempt_printed_that_was_lost_with_its_driver_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "1-77").write_bytes(b"abb")
    for order in (("b", "c"), ("c", "b")):
        story = Story.of((*BEGUN, *(died(task, "lost") for task in order)))
        pieces = [(piece.task, piece.data) for piece in _grown([tmp_path], story.written, {}, None)]
        assert pieces == [("a", b"a"), ("b", b"bb")]


def test_files_of_workers_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for worker in (9, 10):
        (tmp_path / f"{worker}-77").write_bytes(b"x")
    story = Story.of((launched("early", 9), launched("late", 10)))
    assert [piece.task for piece in _grown([tmp_path], story.written, {}, None)] == ["early", "late"]


def test_a_run_without_files_printed_nothing(tmp_path: Path) -> None:
    assert list(_grown([tmp_path / "none"], {}, {}, None)) == []
