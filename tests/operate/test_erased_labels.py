"""Labels of erased predictions go too, wherever they are and whenever they come."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import pytest
from msgspec.structs import replace

from headrace.inspect.endpoints.erasures import erasures
from headrace.inspect.endpoints.labels import recorded
from headrace.inspect.endpoints.predictions import prediction_log, predictions
from headrace.inspect.views import read
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.operate.erasure.erase import resume
from headrace.operate.upkeep.transfer import export_ledger, import_ledger
from headrace.project.project import Project
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.log import PredictionLog
from headrace.serve.predictions.writer import Writer
from tests.operate.test_erase import ANNA, NO_PROGRESS, PATIENCE_S, Killed, files_with, load, log, of
from tests.serve.predictions.samples import answered


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "headrace.toml").write_text("")
    return load(tmp_path / "project")


def id_of(project: Project, customer: str) -> str:
    with read(project) as views:
        table = predictions(project, views, "rents")
    rows = zip(table.column("id").to_pylist(), table.column("input").to_pylist(), strict=True)
    (found,) = [identity for identity, row in rows if row["customer"] == customer]
    return str(found)


def wait_for(logged: Sequence[object], count: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while len(logged) < count:
        assert time.monotonic() < until
        time.sleep(0.01)


class Server:
    """A server that has logged labels of predictions, and still writes to its log."""

    def __init__(self, project: Project, ids: Sequence[str]) -> None:
        self._log: PredictionLog = prediction_log(project)
        logged: list[object] = []
        self._writer: Writer = self._log.writer(logged.extend)
        for each in ids:
            told = ((each, f"{ANNA} said so of {each}"),)
            self._writer.log(Feedback(endpoint="rents", source="people", at=2_000.0, labels=told), each)
        wait_for(logged, len(ids))

    def end(self) -> None:
        assert self._writer.close(PATIENCE_S)
        self._log.close()


def labelled(project: Project) -> list[str]:
    with read(project) as views:
        found: list[str] = recorded(project, views, "rents").column("id").to_pylist()
    return found


def waits(project: Project) -> list[tuple[str, ...]]:
    return [each.waits for each in resume(project, waits=False, say=lambda _: None)]


def test_a_label_that_a_living_server_has_goes_when_it_is_sealed(project: Project) -> None:
    log(project, ["bob", ANNA])
    seal_predictions(project)
    bob, anna = id_of(project, "bob"), id_of(project, ANNA)
    server = Server(project, [anna, bob])
    assert of(project).waits != ()
    server.end()
    assert waits(project) == [()]
    assert waits(project) == [()]
    assert labelled(project) == [bob]
    assert not any(f"said so of {anna}".encode() in path.read_bytes() for path in project.root.rglob("*.db*"))


def test_a_label_that_comes_after_the_erasure_is_left_out(project: Project) -> None:
    log(project, ["bob", ANNA])
    seal_predictions(project)
    bob, anna = id_of(project, "bob"), id_of(project, ANNA)
    assert of(project).waits == ()
    Server(project, [anna, bob]).end()
    assert seal_predictions(project) == 1
    assert labelled(project) == [bob]
    with read(project) as views:
        assert [each.done is not None for each in erasures(views)] == [True]


def test_what_an_import_brings_again_of_an_erased_person_is_counted_once(project: Project, tmp_path: Path) -> None:
    log(project, ["bob", ANNA])
    seal_predictions(project)
    anna = id_of(project, ANNA)
    Server(project, [anna, id_of(project, "bob")]).end()
    seal_predictions(project)
    old, new = tmp_path / "old.headrace", tmp_path / "new.headrace"
    export_ledger(project, old, blobs=True, **NO_PROGRESS)
    assert of(project).waits == ()
    export_ledger(project, new, blobs=True, **NO_PROGRESS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "headrace.toml").write_text('[project]\nname = "project"\n')
    other = load(tmp_path / "other")
    for archive in (old, new):  # the other ledger has the person when it hears of the erasure
        import_ledger(other, archive, blobs=True, **NO_PROGRESS)
    for each in (project, other):
        with read(each) as views:
            (erasure,) = erasures(views)
        assert (erasure.predictions, erasure.labels, erasure.parts) == (1, 1, 2)
        assert labelled(each) == [id_of(each, "bob")]
    assert files_with(other.home, f"said so of {anna}") == []


def test_a_label_in_another_segment_than_its_prediction_goes_too(project: Project) -> None:
    log(project, ["carol"])
    seal_predictions(project)
    log(project, [ANNA, "bob"])
    ids = [id_of(project, ANNA), id_of(project, "bob")]
    server = Server(project, ids)
    of(project)
    server.end()
    seal_predictions(project)
    assert labelled(project) == ids[1:]


def test_a_label_that_was_sealed_before_its_prediction_goes_at_the_next_resume(project: Project) -> None:
    log(project, ["bob"])
    seal_predictions(project)
    found = prediction_log(project)
    logged: list[object] = []
    late = found.writer(logged.extend)
    given = b'[{"customer": "%s", "x": 1}]' % ANNA.encode()
    late.log(replace(answered(given=given), endpoint="rents", version="rents:1"), None)
    wait_for(logged, 1)
    anna = id_of(project, ANNA)
    Server(project, [anna]).end()
    seal_predictions(project)
    assert labelled(project) == [anna]
    assert of(project).waits != ()
    assert late.close(PATIENCE_S)
    found.close()
    assert waits(project) == [()]
    assert labelled(project) == []
    assert files_with(project.root) == []


def test_a_request_that_nobody_can_read_is_counted_in_the_record(project: Project) -> None:
    found = prediction_log(project)
    for is_sealed in (True, False):
        writer = found.writer(lambda _: None)
        hidden = replace(answered(count=2, given=b"\x00\xff"), endpoint="rents", version="rents:1")
        writer.log(hidden, None)
        assert writer.close(PATIENCE_S)
        if is_sealed:
            assert seal_predictions(project) == 2
    found.close()
    done = of(project)
    assert (done.waits, done.predictions, done.unreadable) == ((), 2, 4)
    with read(project) as views:
        assert [each.unreadable for each in erasures(views)] == [4]


def test_a_prediction_that_was_sealed_by_a_process_that_was_killed_then_counts_once(project: Project) -> None:
    log(project, ["bob", ANNA])

    def killed(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "drop":
            sys.setprofile(None)
            raise Killed

    sys.setprofile(killed)
    try:
        with pytest.raises(Killed):
            seal_predictions(project)
    finally:
        sys.setprofile(None)
    assert len(files_with(project.home / "predictions")) == 1, "the segment is still there"
    told = of(project)
    assert (told.predictions, told.unsealed, told.waits) == (1, 0, ())
    assert files_with(project.root) == []


def test_a_person_whose_number_is_written_as_a_decimal_is_erased_as_a_number_too(project: Project) -> None:
    log(project, ["17.00", "17", "17.5", "18"])
    seal_predictions(project)
    assert of(project, "17.00").predictions == 2
    with read(project) as views:
        rows = predictions(project, views, "rents").column("input").to_pylist()
    assert [row["customer"] for row in rows] == ["17.5", "18"]
