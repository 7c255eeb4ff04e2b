"""Labels from people: files to fill in, all that people make of them, and how far they agree."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.errors import DefinitionError, SourceError, UsageError
from headrace.stages import prepare
from headrace.stages.prepare._labels import agreement, sheets
from tests.projects import lent

TEXTS = ["fine film", "dull", "=1+1", "naïve, but good", "fine film", "so so"]
TABLE = pa.table(
    {
        "n": [10, 11, 12, 13, 14, 15],
        "text": TEXTS,
        "weak_probability": [0.9, 0.6, None, 0.7, 0.9, 0.51],
        "weak_disagreement": [0.0, 0.5, None, 0.3, 0.0, 0.4],
    }
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(file: hr.File) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.path.read_text("utf-8-sig"), newline="")))


def filled(name: str, labels: dict[int, str], extra: str = "", encoding: str = "utf-8") -> hr.File:
    """A sheet of the table's keys, as an annotator hands it in."""
    path = Path(name)
    text = "id,label\n" + "".join(f"{key},{label}\n" for key, label in labels.items()) + extra
    path.write_bytes(text.encode(encoding))
    return hr.File(path)


def labelled(*files: hr.File, **more: Any) -> prepare.Judged:
    return prepare.labels(list(files), TABLE, key="n", **more)


def test_keys_that_a_spreadsheet_would_calculate_are_written_as_text_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = ["=1+1", "-5", "plain"]
    table = pa.table({"key": keys, "text": ["a", "b", "c"]})
    written = prepare.to_label(table, 3, columns=["text"], key="key").path.read_text(encoding="utf-8-sig")
    rows = list(csv.reader(io.StringIO(written)))
    assert sorted(row[0] for row in rows[1:]) == ["'-5", "'=1+1", "plain"]
    words = ["label", "x", "y", "z"]
    filled = [",".join([*row[:-1], word]) for row, word in zip(rows, words, strict=True)]
    Path("ann.csv").write_text("\n".join(filled))
    found = prepare.labels([hr.File("ann.csv")], table, columns=["text"], key="key", into="said")
    assert found.table["said"].null_count == 0


def test_a_file_to_label_holds_each_text_once_and_nothing_that_a_spreadsheet_would_run() -> None:
    rows = rows_of(prepare.to_label(TABLE, 10, columns=["text"]))
    assert len(rows) == 5
    assert {row["text"] for row in rows} == {"fine film", "dull", "'=1+1", "naïve, but good", "so so"}
    assert {row["label"] for row in rows} == {""}
    again = prepare.to_label(TABLE, 10, columns=["text"])
    assert rows_of(again) == rows
    assert rows_of(prepare.to_label(TABLE, 10, columns=["text"], seed=1)) != rows


@pytest.mark.parametrize(("strategy", "first"), [("uncertain", ["12", "15", "11"]), ("disagree", ["11", "15", "13"])])
def test_what_a_label_model_is_least_sure_of_comes_first(strategy: Any, first: list[str]) -> None:
    rows = rows_of(prepare.to_label(TABLE, 3, key="n", columns=["text"], strategy=strategy, by="weak"))
    assert [row["id"] for row in rows] == first


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_is_written_and_filled_in_comes_back_to_its_rows(form: Any, folder: Path) -> None:
    file = prepare.to_label(TABLE, 3, columns=["text"], form=form)
    text = file.path.read_text("utf-8-sig")
    if form == "csv":
        text = text.replace(",\n", ",good\n")
    else:
        text = text.replace('"label": null', '"label": "good"')
        assert json.loads(text.splitlines()[0])["label"] == "good"
    (folder / f"ann.{form}").write_text(text)
    shuffled = TABLE.take([5, 4, 3, 2, 1, 0])
    found = prepare.labels([hr.File(f"ann.{form}")], shuffled, columns=["text"])
    assert found.malformed.num_rows == 0
    said = {
        text for text, each in zip(shuffled["text"].to_pylist(), found.table["label"].to_pylist(), strict=True) if each
    }
    assert len(said) == 3
    assert all(
        (each == "good") == (text in said)
        for text, each in zip(shuffled["text"].to_pylist(), found.table["label"].to_pylist(), strict=True)
    )


def test_the_majority_decides_and_conflicts_are_told() -> None:
    found = labelled(
        filled("ann.csv", {10: "1", 11: "0", 12: "1", 13: "1"}),
        filled("bob.csv", {10: "1", 11: "1", 12: "0"}),
        filled("cyd.csv", {10: "1", 11: "1"}),
    )
    assert found.table["label"].to_pylist() == [1, 1, None, 1, None, None]
    assert found.table["label_votes"].to_pylist() == [3, 3, 2, 1, 0, 0]
    assert found.conflicts.to_pylist() == [
        {"id": "11", "row": 1, "annotators": ["ann", "bob", "cyd"], "labels": [0, 1, 1], "chosen": 1},
        {"id": "12", "row": 2, "annotators": ["ann", "bob"], "labels": [1, 0], "chosen": None},
    ]
    assert any(limit.startswith("1 rows have no label") for limit in found.report.limits)
    assert [grid.title for grid in found.report.grids] == ["Labels by annotator", "Annotators, two by two"]
    assert found.report.grids[1].rows[0][:4] == ("ann", "bob", 3, round(1 / 3, 4))


@pytest.mark.parametrize("one", ["+1", "01", "１"])  # noqa: RUF001  a digit of another script
def test_a_whole_number_is_the_same_label_however_it_is_written(one: str) -> None:
    judged = labelled(filled("ann.csv", {10: "1", 11: one, 12: "0"}))
    assert sorted(each for each in judged.table["label"].to_pylist() if each is not None) == [0, 1, 1]


@pytest.mark.parametrize(("classes", "told"), [(["a", "b", "a"], "a label twice"), (["a", 1], "are"), ([], "are")])
def test_classes_are_those_that_labelling_functions_may_have(classes: list[Any], told: str) -> None:
    with pytest.raises(DefinitionError, match=f"`classes` .*{told}"):
        labelled(filled("ann.csv", {10: "a"}), classes=classes)


@pytest.mark.parametrize("name", ["ID", "Annotator", "label"])
def test_a_column_that_a_file_to_label_has_itself_is_not_shown(name: str) -> None:
    table = pa.table({"text": ["fine", "dull"], name: ["x", "y"]})
    file = prepare.to_label(table, 2)
    Path("ann.csv").write_text(file.path.read_text("utf-8-sig").replace(",\n", ",yes\n"))
    judged = prepare.labels([hr.File("ann.csv")], table, into="said")
    assert judged.table["said"].to_pylist() == ["yes", "yes"]
    assert judged.report.grids[0].rows == (("ann", 2),)
    with pytest.raises(DefinitionError, match="a column of its own"):
        prepare.to_label(table, 2, columns=["text", name])


def test_an_adjudicator_decides_what_people_disagree_on() -> None:
    files = (
        filled("ann.csv", {10: "1", 12: "1"}),
        filled("bob.csv", {10: "1", 12: "0"}),
        filled("cyd.csv", {12: "0", 10: "0"}),
    )
    assert labelled(*files, rule="unanimous").table["label"].to_pylist()[:3] == [None, None, None]
    assert labelled(*files, rule="unanimous", adjudicator="ann").table["label"].to_pylist()[:3] == [1, None, 1]
    with pytest.raises(DefinitionError, match="`dan` labelled nothing"):
        labelled(*files, adjudicator="dan")


def test_each_line_that_cannot_be_used_is_named_with_its_reason() -> None:
    found = labelled(
        filled(
            "ann.csv",
            {10: "good", 99: "good", 11: "goood", 12: "bad", 13: ""},
            extra='12,good\n14,GOOD\n14,good\n,bad\n15,bad,really\n15,"bad\n',
        ),
        classes=["good", "bad"],
    )
    assert found.table["label"].to_pylist() == ["good", None, None, None, "good", None]
    reasons = {(each["line"], each["reason"]) for each in found.malformed.to_pylist()}
    assert reasons == {
        (3, "no row of the table has this id"),
        (4, "the label is none of good, bad"),
        (5, "`ann` labelled this row twice: 'bad' (`ann.csv`, line 5) and 'good' (`ann.csv`, line 7)"),
        (7, "`ann` labelled this row twice: 'bad' (`ann.csv`, line 5) and 'good' (`ann.csv`, line 7)"),
        (10, "it has no id"),
        (11, "it has 3 cells, and the header has 2"),
        (12, "it isn't CSV: unexpected end of data"),
    }
    assert "1 lines had no label filled in." in found.report.limits
    assert any(limit.startswith("1 labels were given twice") for limit in found.report.limits)


def test_files_of_several_encodings_and_separators_are_read() -> None:
    Path("ann.csv").write_bytes("id;label\n10;tiède\n".encode() + "11;tiède\n".encode("cp1252"))
    Path("bob.csv").write_bytes("id\tlabel\r\n10\ttiède\r\n".encode("utf-16"))
    Path("cyd.jsonl").write_text('{"id": "10", "label": "tiède"}\n[1]\n{"id": 11,\n{"id": 12, "label": "froid"}\n')
    found = labelled(hr.File("ann.csv"), hr.File("bob.csv"), hr.File("cyd.jsonl"))
    assert found.table["label"].to_pylist()[:3] == ["tiède", "tiède", "froid"]
    assert found.table["label_votes"].to_pylist()[:3] == [3, 1, 1]
    assert [each["line"] for each in found.malformed.to_pylist()] == [2, 3]
    assert any(limit.startswith("1 lines weren't UTF-8") for limit in found.report.limits)


def test_a_file_may_say_who_labelled_and_two_of_the_same_name_are_two_people(folder: Path) -> None:
    (folder / "other").mkdir()
    one = filled("labels.csv", {10: "1"})
    two = filled("other/labels.csv", {10: "0"})
    found = labelled(one, two)
    assert found.conflicts["annotators"].to_pylist() == [["labels", "labels[1]"]]
    Path("said.csv").write_text("id,label,annotator\n10,1,ann\n10,0,bob\n")
    assert labelled(hr.File("said.csv")).conflicts["annotators"].to_pylist() == [["ann", "bob"]]


def test_a_text_of_a_million_characters_is_read_back() -> None:
    table = pa.table({"text": ["long " * 200_000, "short"]})
    file = prepare.to_label(table, 2)
    file.path.write_text(file.path.read_text("utf-8-sig").replace(",\n", ",yes\n"))
    assert prepare.labels([file], table).table["label"].to_pylist() == ["yes", "yes"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ann.csv", "text,verdict\na,b\n", "`ann.csv` has no columns `id` and `label`; its first line has 'text'"),
        ("ann.csv", "", "its first line has nothing"),
        ("ann.csv", f"[{'1' * 200_000}]", "its first line has '[111"),
        ("ann.xlsx", "PK", "`ann.xlsx` is not a file of labels"),
        ("ann.jsonl", '{"id": 1}\n', "no line of `ann.jsonl` has a `label`"),
        ("ann.csv", "id,label\nx,1\n", "no label in `ann.csv` can be used; line 2 of `ann.csv`: no row"),
        ("ann.csv", "id,label\n", "no label in `ann.csv` can be used"),
    ],
)
def test_a_file_that_is_none_of_labels_is_said(name: str, text: str, message: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(SourceError) as caught:
        labelled(hr.File(name))
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": 0}, DefinitionError, "`n` is 0"),
        ({"columns": ["txt"]}, DefinitionError, "no column `txt`"),
        ({"key": "id"}, DefinitionError, "no column `id`"),
        ({"key": "text"}, UsageError, "key `text` has 'fine film' in several rows"),
        ({"key": "weak_probability"}, UsageError, "key `weak_probability` has nothing in some row"),
        ({"strategy": "uncertain"}, DefinitionError, "column `label_probability`"),
    ],
)
def test_what_to_label_can_not_be_given_is_said(change: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error) as caught:
        prepare.to_label(TABLE, **{"n": 3, **change})
    assert message in caught.value.message


def test_alpha_is_that_of_krippendorffs_own_example() -> None:
    # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: nominal, four observers, alpha = 0.743
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    labels = [
        {str(who): value - 1 for who, said in enumerate(observers) if (value := said[row]) is not None}
        for row in range(12)
    ]
    counts = agreement.counted(labels, 5)
    assert agreement.alpha(counts) == pytest.approx(0.743, abs=5e-4)
    interval = agreement.alpha_interval(counts)
    assert interval is not None
    assert interval[0] < 0.743 < interval[1]
    assert agreement.fleiss(counts) is None


def test_fleiss_kappa_is_that_of_his_example() -> None:
    # the worked example that is quoted from Fleiss 1971: 10 subjects, 14 raters, 5 categories, kappa = 0.210
    counts = np.array(
        [
            [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
        ],
        dtype=float,
    )  # fmt: skip
    assert agreement.fleiss(counts) == pytest.approx(0.210, abs=5e-4)


def test_agreement_that_is_not_defined_says_why() -> None:
    one = labelled(filled("ann.csv", {10: "1", 11: "0"}))
    assert {fact.why for fact in one.report.facts if fact.value is None} == {"fewer than two rows have two labels"}
    same = labelled(filled("ann.csv", {10: "1", 11: "1"}), filled("bob.csv", {10: "1", 11: "1"}))
    whys = {fact.why for fact in same.report.facts if fact.value is None}
    assert whys == {"only one label was ever given, so nothing is left for chance to explain"}
    assert same.report.grids[1].rows == (("ann", "bob", 2, 1.0, None),)


@given(st.binary(max_size=200))
def test_whatever_bytes_come_back_there_is_an_answer_or_one_error(data: bytes) -> None:
    path = Path(f"fuzz-{os.getpid()}.csv")
    path.write_bytes(b"id,label\n" + data)
    (sheet,) = sheets.read_sheets([path])
    assert all(each.line >= 2 for each in (*sheet.given, *sheet.malformed))


PROJECT = """
import pyarrow as pa

import headrace as hr
from headrace.stages import prepare


@hr.stage
def read() -> pa.Table:
    return pa.table({"text": ["fine", "dull", "so so"]})


@hr.pipeline
def ask() -> None:
    prepare.to_label(read(), 2)


@hr.pipeline
def take() -> None:
    prepare.labels([hr.File("ann.csv"), hr.File("bob.csv")], read())
"""


def test_the_way_through_two_runs(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PROJECT)
        assert project.headrace("run", "ask").code == 0
        for name, label in (("ann", "good"), ("bob", "bad")):
            assert project.headrace("get", "latest", "to_label", "--to", f"{name}.csv").code == 0
            path = project.root / f"{name}.csv"
            path.write_text(path.read_text("utf-8-sig").replace(",\n", f",{label}\n"))
        done = project.headrace("run", "take", "--json")
        assert done.code == 0, done.err
        assert done.task["labels"]["state"] == "succeeded"
        assert project.headrace("run", "take", "--json").task["labels"]["state"] == "reused"
        (project.root / "bob.csv").write_text("nothing")
        done = project.headrace("run", "take")
        assert done.code == 1
        assert "`bob.csv` has no columns `id` and `label`; its first line has 'nothing'" in done.err


def test_a_file_of_labels_that_is_not_there_is_named() -> None:
    with pytest.raises(SourceError, match=r"`nobody\.csv` can't be read: No such file"):
        prepare.labels([hr.File("nobody.csv")], TABLE, key="n")
