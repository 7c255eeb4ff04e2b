"""Labels from labelling functions: what is voted, what is made of the votes, and what is said of both."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import DefinitionError, UsageError
from headrace.stages import prepare
from headrace.stages.prepare._labels.consensus import combine, majority, right
from headrace.stages.prepare._labels.votes import named
from tests.projects import Done, lent

REVIEWS = pa.table(
    {
        "text": ["great film", "a great mess", "dull", "", "great, never dull", "a mess"],
        "truth": ["good", "bad", "bad", None, "good", None],
    }
)


def has(row: dict[str, Any], *, word: str, vote: str) -> str | None:
    return vote if word in row["text"] else None


def great(row: dict[str, Any]) -> str | None:
    return has(row, word="great", vote="good")


def dull(batch: pa.RecordBatch) -> list[str | None]:
    return ["bad" if "dull" in text and "never" not in text else None for text in batch["text"].to_pylist()]


MESS = partial(has, word="mess", vote="bad")
NEVER = partial(has, word="never", vote="good")


def drawn(rates: list[float], cover: float, rows: int, seed: int, copies: int = 0) -> tuple[Any, Any]:
    """Votes of functions that are right at given rates; the first is copied some times."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, rows)
    codes = np.stack(
        [np.where(rng.random(rows) < cover, np.where(rng.random(rows) < rate, truth, 1 - truth), -1) for rate in rates],
        axis=1,
    ).astype(np.int8)
    return np.concatenate([codes, *[codes[:, :1]] * copies], axis=1), truth


def test_functions_of_rows_and_of_batches_vote_and_the_table_gets_labels() -> None:
    found = prepare.label(REVIEWS, functions=[great, dull, MESS, NEVER], into="weak", known="truth")
    assert found.table["weak"].to_pylist()[:5] == ["good", found.table["weak"][1].as_py(), "bad", None, "good"]
    assert found.votes.column_names == [
        "great",
        "dull",
        "has(word='mess', vote='bad')",
        "has(word='never', vote='good')",
    ]
    assert found.votes["great"].to_pylist() == ["good", "good", None, None, "good", None]
    assert found.table["weak_disagreement"].to_pylist() == [0, 0.5, 0, None, 0, 0]
    field = found.table.schema.field("weak_probabilities")
    assert json.loads(field.metadata[b"classes"]) == ["bad", "good"]
    assert found.table["weak_probabilities"][3].as_py() == [0.5, 0.5]
    facts = {fact.name: fact.value for fact in found.report.facts}
    assert facts["rows"] == 6
    assert facts["coverage"] == pytest.approx(5 / 6)
    assert facts["conflict"] == pytest.approx(1 / 6)
    lines = {row[0]: row[1:] for row in found.report.grids[0].rows}
    assert lines["great"][:4] == ("good", 0.5, round(2 / 6, 4), round(1 / 6, 4))
    assert lines["great"][5] == round(2 / 3, 4)
    assert lines["great"][8] == 3  # rows of known truth


def test_a_function_that_is_right_more_often_counts_more() -> None:
    codes, truth = drawn([0.9, 0.6, 0.6], 0.9, 4000, seed=1)
    found = combine(codes, 2)
    assert found.scores[0, 1, 1] > found.scores[1, 1, 1] + 0.03
    assert found.scores[1, 1, 1] > 0
    gain = right(found.probabilities, truth) - right(majority(codes, 2), truth)
    assert gain.mean() > 0.02


def test_the_probabilities_are_careful_where_functions_are_independent() -> None:
    codes, truth = drawn([0.85, 0.75, 0.7, 0.65, 0.6, 0.6], 0.7, 20000, seed=2)
    found = combine(codes, 2)
    likely = found.probabilities[:, 1]
    for low in (0.0, 0.2, 0.6, 0.8):
        chosen = (likely >= low) & (likely < low + 0.2)
        share, said = truth[chosen].mean(), likely[chosen].mean()
        assert share <= said + 0.02 if low < 0.5 else share >= said - 0.02


@pytest.mark.parametrize("seed", range(5))
def test_a_function_given_several_times_does_not_overrule_the_rest(seed: int) -> None:
    codes, truth = drawn([0.6, 0.75, 0.75, 0.75, 0.75], 0.8, 4000, seed, copies=2)
    found = combine(codes, 2)
    assert found.parts.tolist() == [pytest.approx(1 / 3), 1, 1, 1, 1, pytest.approx(1 / 3), pytest.approx(1 / 3)]
    once = right(combine(codes[:, :5], 2).probabilities, truth).mean()
    assert right(found.probabilities, truth).mean() > once - 0.03


def test_a_single_function_is_taken_at_its_word() -> None:
    codes = np.array([[0], [1], [-1]], dtype=np.int8)
    found = combine(codes, 2).probabilities
    assert found.tolist() == [
        [pytest.approx(0.7), pytest.approx(0.3)],
        [pytest.approx(0.3), pytest.approx(0.7)],
        [0.5, 0.5],
    ]


def test_the_classes_shares_tip_the_scale() -> None:
    codes, _ = drawn([0.75, 0.75], 0.9, 2000, seed=5)
    found = combine(codes, 2, np.array([0.9, 0.1])).probabilities
    assert (found[(codes == [0, 1]).all(axis=1), 0] > 0.8).all()
    assert found[(codes == -1).all(axis=1)][0].tolist() == pytest.approx([0.9, 0.1])


SHARES = {"a": 0.15, "b": 0.15, "ok": 0.7}


def machines(rows: int, seed: int, right: float = 0.9, shares: dict[str, float] = SHARES) -> pa.Table:
    """Machines with what is true, a note that says it with a chance, and a tremor that nearly only class `a` has."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(list(shares), rows, p=list(shares.values()))
    note = np.where(rng.random(rows) < right, truth, rng.choice(list(shares), rows))
    vib = rng.random(rows) < np.where(truth == "a", 0.7, 0.03)
    return pa.table({"truth": truth.tolist(), "note": note.tolist(), "vib": vib})


def noted(row: dict[str, Any], *, what: str) -> str | None:
    return what if row["note"] == what else None


def shaky(row: dict[str, Any]) -> str | None:
    return "a" if row["vib"] else None


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("right", "shares"), [(0.9, SHARES), (0.7, SHARES), (0.9, {"a": 0.1, "b": 0.05, "ok": 0.85})])
def test_a_class_with_only_one_function_is_given_to_the_rows_that_only_it_votes_on(
    right: float, shares: dict[str, float], balanced: bool
) -> None:
    table = machines(3000, 1, right, shares)
    functions = [partial(noted, what=each) for each in shares]
    balance = list(shares.values()) if balanced else None
    found = prepare.label(table, functions=[*functions, shaky], classes=list(shares), balance=balance, known="truth")
    alone = (pc.field("note") == "b") & ~pc.field("vib")
    assert set(found.table.filter(alone)["label"].to_pylist()) == {"b"}
    facts = {fact.name: fact for fact in found.report.facts}
    assert (facts["label model minus majority vote"].value or 0) > -0.02
    assert (
        "Only `noted(what='b')` votes for 'b', so no other function can confirm these votes. They count as if at least"
        " 70% of them were right."
    ) in found.report.limits


def test_a_vote_counts_as_assumed_if_those_who_could_confirm_it_never_vote_beside_it() -> None:
    codes = np.array([[0, -1, 0], [-1, 1, 1], [0, -1, -1], [-1, 1, 0], [2, -1, -1], [2, -1, 1]] * 100, dtype=np.int8)
    found = combine(codes, 3)
    assert found.scores[0, 2] == pytest.approx(np.log([0.15, 0.15, 0.7]) - np.log([0.15, 0.15, 0.7]).mean())
    assert (found.probabilities[(codes == [2, -1, -1]).all(axis=1)].argmax(axis=1) == 2).all()


@settings(max_examples=60)
@given(
    st.integers(1, 4).flatmap(
        lambda classes: st.tuples(
            st.just(classes),
            st.integers(1, 5).flatmap(
                lambda width: st.lists(
                    st.lists(st.integers(-1, classes - 1), min_size=width, max_size=width), min_size=1, max_size=30
                )
            ),
        )
    )
)
def test_whatever_is_voted_there_are_probabilities_and_the_order_of_rows_is_no_matter(given: Any) -> None:
    classes, rows = given
    codes = np.array(rows, dtype=np.int8)
    found = combine(codes, classes).probabilities
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(len(codes)))
    assert combine(codes[::-1], classes).probabilities[::-1] == pytest.approx(found)


def test_names_of_functions_are_told_apart() -> None:
    assert named([great, great, partial(great)]) == ("great[0]", "great[1]", "great()")


def test_functions_that_look_at_the_same_words_are_named() -> None:
    codes, _ = drawn([0.75, 0.75, 0.75], 0.9, 3000, seed=3)
    table = pa.table({"vote": pa.array(codes.tolist())})
    found = prepare.label(table, functions=[first, again, second, third])
    assert any(
        "`first` and `again` agree on 100%" in limit and "share one vote" in limit for limit in found.report.limits
    )
    assert not any("`second`" in limit for limit in found.report.limits)


def first(row: dict[str, Any]) -> int | None:
    return int(row["vote"][0]) if row["vote"][0] >= 0 else None


def again(row: dict[str, Any]) -> int | None:
    return first(row)


def cast(row: dict[str, Any], *, place: int) -> int:
    return int(row["vote"][place])


def second(row: dict[str, Any]) -> int | None:
    return int(row["vote"][1]) if row["vote"][1] >= 0 else None


def third(row: dict[str, Any]) -> int | None:
    return int(row["vote"][2]) if row["vote"][2] >= 0 else None


def test_a_class_that_no_row_got_although_it_was_voted_for_is_said() -> None:
    codes = np.repeat(np.random.default_rng(4).integers(0, 2, (3000, 1)), 6, axis=1)
    rows = np.arange(0, 3000, 2)  # one of five functions is wrong in each second row; a sixth votes for 2 in few others
    codes[rows, 1 + rows // 2 % 5] = 1 - codes[rows, 0]
    outvoted = np.arange(3000) % 50 == 1
    codes[:, 0] = np.where(outvoted, 2, -1)
    functions = [partial(cast, place=place) for place in range(1, 6)]
    found = prepare.label(pa.table({"vote": pa.array(codes.tolist())}), functions=[first, *functions])
    said = f"No row was labelled 2, although functions voted for it on {outvoted.sum()} rows."
    assert said in found.report.limits
    assert "Only `first` votes for 2" in " ".join(found.report.limits)
    assert not any(
        "No row" in each or "Only" in each for each in prepare.label(REVIEWS, functions=[great]).report.limits
    )


def test_only_one_label_is_said() -> None:
    found = prepare.label(REVIEWS.drop_columns("truth"), functions=[great])
    assert set(found.table["label"].to_pylist()) == {"good", None}
    assert any("All votes are for the label 'good'" in limit for limit in found.report.limits)


def raises(row: dict[str, Any]) -> str | None:
    return "good" if row["text"][0] == "g" else None


def number(row: dict[str, Any]) -> Any:
    return 1 if "dull" in row["text"] else None


def strange(row: dict[str, Any]) -> Any:
    return [row["text"]]


def short(batch: pa.RecordBatch) -> list[str]:
    return ["good"]


def silent(row: dict[str, Any]) -> None:
    return None


@pytest.mark.parametrize(
    ("functions", "more", "message", "hint"),
    [
        ([], {}, "needs labelling functions", "functions="),
        ([silent, silent], {}, "all 2 labelling functions abstained on all 6 rows", "look at some rows"),
        ([great, raises], {}, "`raises` failed on row 3: IndexError: string index out of range", "''"),
        ([great, number], {}, "'good' (`great`, row 0) and 1 (`number`, row 2)", "one kind"),
        ([strange], {}, "`strange` returned ['great film'] for row 0, which is not a label", "None"),
        ([strange], {"classes": ["a", "b"]}, "`strange` returned ['great film'] for row 0, which is none", "classes"),
        ([short], {}, "`short` returned 1 votes for 6 rows", "each row"),
        ([great], {"classes": ["bad"]}, "`great` returned 'good' for row 0, which is none of ['bad']", "classes"),
        ([great], {"classes": ["bad", 1]}, "`classes` are ['bad', 1]", "one kind"),
        ([great], {"into": "truth"}, "has a column `truth` already", "into="),
        ([great], {"known": "true"}, "no column `true`", "text, truth"),
        ([great], {"known": "truth"}, "`truth` has 'bad' in row 1, and the functions know only ['good']", "classes="),
        ([great, MESS], {"balance": [0.5]}, "`balance` is [0.5]", "a share above 0"),
    ],
)
def test_what_is_wrong_is_said_once_with_its_row(functions: Any, more: Any, message: str, hint: str) -> None:
    with pytest.raises((UsageError, DefinitionError)) as caught:
        prepare.label(REVIEWS, functions=functions, **more)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_an_empty_table_is_said() -> None:
    with pytest.raises(UsageError, match="no rows"):
        prepare.label(REVIEWS.slice(0, 0), functions=[great])


PROJECT = """
import pyarrow as pa

import headrace as hr
from headrace.stages import prepare


def dull(row: dict) -> int | None:
    return 0 if "dull" in row["text"] else None


def great(row: dict) -> int | None:
    return 1 if row["text"].index("great") >= 0 else None


@hr.stage
def read() -> pa.Table:
    return pa.table({"text": ["great", "dull", "great and dull"]})


@hr.pipeline
def main() -> None:
    prepare.label(read(), functions=[dull, great])
"""


def test_in_a_run_a_function_that_fails_is_named_and_a_repaired_one_runs_again(tmp_path: Path) -> None:
    with lent(tmp_path) as project:
        project.write("pipelines.py", PROJECT)
        done = project.headrace("run", "main")
        assert done.code == 1
        assert "labelling function `great` failed on row 1: ValueError: substring not found (pipelines.py:" in done.err
        assert "hint: that row begins {'text': 'dull'}" in done.err
        assert "Traceback" not in done.err
        project.write("pipelines.py", PROJECT.replace('.index("great") >= 0', '.startswith("great")'))
        assert states(project.headrace("run", "main", "--json")) == {"read": "reused", "label": "succeeded"}
        assert states(project.headrace("run", "main", "--json")) == {"read": "reused", "label": "reused"}


def states(done: Done) -> dict[str, str]:
    return {task["name"]: task["state"] for task in done.json["tasks"]}
