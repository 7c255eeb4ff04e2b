"""Labels of predictions are recorded once each, join their predictions, are corrected and withdrawn."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

import headrace as hr
from headrace.inspect.endpoints.predictions import prediction_log
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.project import project
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.prediction import Answered
from headrace.serve.predictions.writer import Settled
from headrace.spec.endpoint import Label
from tests.cli.conftest import Shell
from tests.serve.predictions.samples import answered

PATIENCE_S = 60.0


@pytest.fixture
def shell(empty: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A project without pipelines."""
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", "")
    monkeypatch.chdir(empty.folder)
    return empty


def log(*entries: Answered | Feedback) -> list[str]:
    """Log answers and feedback of the project in the current folder, and close the segment. Return the ids of the
    first prediction of each request."""
    found, settled = prediction_log(project.load()), list[Settled]()
    writer = found.writer(settled.extend)
    for each in entries:
        writer.log(each, None)
    assert writer.close(PATIENCE_S)
    found.close()
    return [str(each.first) for each in settled if each.first is not None]


def feedback(at: float, labels: Mapping[str, Label], source: str = "people") -> Feedback:
    """Return labels by the ids of their predictions."""
    return Feedback(endpoint="delays", source=source, at=at, labels=tuple(labels.items()))


def labels_of(shell: Shell) -> list[tuple[object, str | None]]:
    """Return the label of each prediction and its source, in the order of the predictions."""
    rows = shell("predictions", "delays", "--labels", "--json").json["predictions"]
    return [(row["label"], row["label_source"]) for row in rows]


def sources(shell: Shell) -> dict[str, dict[str, int]]:
    """Return the numbers of each source that aren't 0."""
    found = shell("labels", "delays", "--json").json["sources"]
    return {each.pop("source"): {state: count for state, count in each.items() if count} for each in found}


@pytest.mark.parametrize("is_sealed", [False, True])
def test_labels_join_their_predictions_whether_they_are_sealed_or_not(shell: Shell, is_sealed: bool) -> None:
    one, two, _ = log(*(answered(number) for number in range(3)))
    log(feedback(5.0, {one: 1, two: 2.5}), feedback(6.0, {one: 3}, "billing"))
    log(feedback(4.0, {one: 7}), feedback(6.0, {"0a1b2c3d4e5f-9-0-0000000000000000": 1}))
    if is_sealed:
        assert seal_predictions(project.load()) == 8
    assert labels_of(shell) == [(3.0, "billing"), (2.5, "people"), (None, None)]
    assert sources(shell) == {
        "billing": {"recorded": 1, "counting": 1},
        "people": {"recorded": 4, "counting": 1, "corrected": 2, "unknown": 1},
    }
    (overview,) = shell("predictions", "--json").json["endpoints"]
    assert (overview["labels"], overview["predictions"] + overview["unsealed"]) == (5, 3)
    table = hr.predictions("delays", labels=True)
    assert table.column("label").to_pylist() == [3.0, 2.5, None]
    assert hr.predictions("delays").column_names == table.column_names[:-3]
    assert "labelled" in shell("predictions", "delays", "--labels").out
    assert "label" not in shell("predictions", "delays", "--json").json["predictions"][0]
    shell("predictions", "delays", "--labels", "--to", "all.jsonl")
    lines = [json.loads(line) for line in (shell.folder / "all.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == [3.0, 2.5, None]
    assert lines[0]["labelled_at"].startswith("1970-01-01")


def test_what_a_source_has_sent_is_withdrawn_and_what_it_sends_later_counts(shell: Shell) -> None:
    one, two = log(answered(0), answered(1))
    log(feedback(5.0, {one: 1}), feedback(6.0, {one: 2, two: 2}, "billing"))
    done = shell("withdraw", "delays", "billing", "--why", "a wrong month", "--json")
    assert (done.code, done.json["source"], done.json["why"]) == (0, "billing", "a wrong month")
    assert labels_of(shell) == [(1, "people"), (None, None)]
    assert sources(shell)["billing"] == {"recorded": 2, "withdrawn": 2}
    log(feedback(done.json["at"] + 1, {two: 3}, "billing"))
    assert labels_of(shell) == [(1, "people"), (3, "billing")]
    shown = shell("labels", "delays").out
    assert "a wrong month" in shown
    seal_predictions(project.load())
    assert shell("gc", "--keep", "1s").code == 0
    assert shell("fsck", "--deep").code == 0
    assert labels_of(shell) == [(1, "people"), (3, "billing")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("labels",), "missing argument"),
        (("labels", "delay"), "there is no label of an endpoint `delay`"),
        (("labels", ""), "ENDPOINT is empty"),
        (("withdraw", "delays"), "missing argument"),
        (("withdraw", "delays", "people"), "--why"),
        (("withdraw", "delays", "people", "--why", " "), "`--why` is empty"),
        (("withdraw", "delays", "peple", "--why", "x"), "did you mean `people`"),
        (("withdraw", "other", "people", "--why", "x"), "there is no label of an endpoint `other`"),
        (("predictions", "--labels"), "are about one endpoint"),
    ],
)
def test_a_wrong_word_is_told(shell: Shell, words: tuple[str, ...], told: str) -> None:
    (one,) = log(answered(0))
    log(feedback(5.0, {one: 1}))
    done = shell(*words)
    assert (done.code, told in done.err) == (2, True), done.err
    assert "Traceback" not in done.err


def test_an_endpoint_without_labels_says_so(shell: Shell) -> None:
    log(answered(0))
    done = shell("labels", "delays")
    assert (done.code, "endpoint `delays` has no labels yet" in done.err) == (0, True)
    assert "no source has sent any" in shell("withdraw", "delays", "x", "--why", "y").err
