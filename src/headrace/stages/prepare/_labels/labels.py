"""Labels from people: a file to fill in, and a report on how far the people who filled it in agree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.codec.values import File
from headrace.define.stage import ready
from headrace.errors import DefinitionError, SourceError, UsageError
from headrace.models.types import is_text
from headrace.spec.report import Cell, Fact, Grid, Report
from headrace.stages.prepare._labels.agreement import facts as agreement_facts
from headrace.stages.prepare._labels.agreement import pairs
from headrace.stages.prepare._labels.sheets import (
    ID,
    Given,
    Malformed,
    Sheet,
    id_of,
    is_own,
    read_sheets,
    write_csv,
    write_jsonl,
)
from headrace.stages.prepare._labels.votes import Label, checked
from headrace.stages.scratch import scratch
from headrace.stages.tables.columns import described, distinct, rows_at

Strategy = Literal["random", "uncertain", "disagree"]
Rule = Literal["majority", "unanimous"]
MOST_SHOWN = 10
NUMBER = re.compile(r"[+-]?\d{1,18}")


class Judged(NamedTuple):
    """A table with the labels that people gave.

    `table` is the given table with two more columns. For `into="label"`, `label` is null where nobody gave a label, or
    where people disagree and the `rule` of `labels` gives no label; `label_votes` is the number of people who labelled
    the row. `conflicts` has a row for each table row on which people disagree: each person's label, and the `chosen`
    label. `malformed` has a row for each line of the files that can't be used, with the `reason`. `report` says how far
    people agree.
    """

    table: pa.Table
    conflicts: pa.Table
    malformed: pa.Table
    report: Report


def _check_asked(given: Mapping[str, Any]) -> None:
    if given.get("n", 1) < 1:
        raise DefinitionError(f"`n` is {given['n']}", hint="say how many rows to label")
    _check_columns(given.get("columns"))


def _check_columns(columns: Sequence[Any] | None) -> None:
    if columns is None:
        return
    if not columns:
        raise DefinitionError("`columns` is empty", hint="name the columns that people should see, or leave it out")
    if taken := [name for name in columns if isinstance(name, str) and is_own(name)]:
        raise DefinitionError(
            f"`columns` names `{taken[0]}`, but a file to label has a column of its own with this name",
            hint="leave it out, or rename it in an earlier stage",
        )


@ready("prepare.to_label", version=2, on=("numpy", "pyarrow"), kind="prepare", check=_check_asked)
def to_label(
    table: pa.Table,
    n: int,
    *,
    columns: list[str] | None = None,
    key: str = "",
    strategy: Strategy = "random",
    by: str = "label",
    form: Literal["csv", "jsonl"] = "csv",
    seed: int = 0,
) -> File:
    """Return a file of `n` rows for people to label, with an `id`, the `columns` to look at, and a `label` to fill in.

    `columns` are by default all columns of text, except those called `id`, `label` or `annotator`. `key` names a column
    that identifies a row. Without `key`, a row is identified by the values of its columns, so equal rows count as one.
    `strategy` chooses the rows: `"random"` rows; the rows about which a label model is most `"uncertain"`; or the rows
    on which labelling functions `"disagree"` most. The last two strategies read columns that `label(into=by)` added.

    Raises:
        DefinitionError: a column is missing, or has the name of one of the file's own columns; or `n` is below 1.
        UsageError: the table is empty, a row has no key, or two rows have the same key.
    """
    _check_asked({"n": n, "columns": columns})
    shown = _columns(table, columns)
    ids = _ids(table, shown, key)
    if not ids:
        raise UsageError("there is nothing to label: the table has no rows", hint="check the stage that makes it")
    first = {name: row for row, name in reversed(list(enumerate(ids)))}
    order = [row for row in _order(table, strategy, by, seed) if first[ids[row]] == row][:n]
    rows = rows_at(table.select(shown), order).to_pylist()
    path = scratch() / f"to_label.{form}"
    write = write_csv if form == "csv" else write_jsonl
    write(path, shown, [{**row, ID: ids[place]} for row, place in zip(rows, order, strict=True)])
    return File(path)


def _check_labels(given: Mapping[str, Any]) -> None:
    _check_columns(given.get("columns"))
    if given.get("classes") is not None:
        checked(given["classes"])


@ready("prepare.labels", version=3, on=("numpy", "pyarrow", "sklearn"), kind="prepare", check=_check_labels)
def labels(
    files: list[File],
    table: pa.Table,
    *,
    into: str = "label",
    columns: list[str] | None = None,
    key: str = "",
    classes: list[Any] | None = None,
    rule: Rule = "majority",
    adjudicator: str = "",
) -> Judged:
    """Return a table with the labels from the files that people filled in.

    `columns` and `key` must be those that were given to `to_label`. `classes` are the allowed labels. By default, all
    given labels are allowed; if all of them are whole numbers, they are read as numbers. `rule` decides on the rows on
    which people disagree. With `"majority"`, the most frequent label counts, and a tie gives no label. With
    `"unanimous"`, such a row has no label. If the `adjudicator` (a person's name) labelled such a row, the
    adjudicator's label counts, whatever the rule. Lines that can't be used are returned with the reason, and aren't an
    error.

    Raises:
        DefinitionError: a column is missing, or the adjudicator labelled nothing.
        SourceError: a file isn't a file of labels, or no label in the files can be used.
    """
    if into in table.column_names:
        raise DefinitionError(f"the table has a column `{into}` already", hint="name the new column by `into=`")
    classes = None if classes is None else list(checked(classes))
    row_of = _rows_of(table, _columns(table, columns), key)
    sheets = read_sheets([each.path for each in files])
    given, malformed, repeated = _usable(sheets, set(row_of), classes)
    if not given:
        raise SourceError(
            f"no label in {', '.join(f'`{each.name}`' for each in files) or 'the files (there are none)'} can be used"
            + (f"; line {malformed[0].line} of `{malformed[0].file}`: {malformed[0].reason}" if malformed else ""),
            hint="give the table, `columns=` and `key=` that were given to `to_label` when it made the file",
        )
    known = _known(given, classes)
    people = {each.annotator for each in given}
    if adjudicator and adjudicator not in people:
        raise DefinitionError(
            f"adjudicator `{adjudicator}` labelled nothing", hint=f"the annotators are {', '.join(sorted(people))}"
        )
    by_id: dict[str, dict[str, int]] = {}
    for each in given:
        by_id.setdefault(each.id, {})[each.annotator] = known.index(_read_label(each.label, known))
    chosen = {name: _choose(said, rule, adjudicator) for name, said in by_id.items()}
    conflicts = _conflicts(by_id, chosen, known, row_of)
    return Judged(
        table=_with_labels(table, into, row_of, by_id, chosen, known),
        conflicts=conflicts,
        malformed=_as_table(malformed),
        report=_report(sheets, by_id, chosen, known, malformed, repeated, conflicts),
    )


def _columns(table: pa.Table, columns: Sequence[str] | None) -> list[str]:
    distinct(table)
    if columns is None:
        found = [field.name for field in table.schema if is_text(field.type) and not is_own(field.name)]
        if not found:
            raise DefinitionError(
                "the table has no column of texts that people could label",
                hint="name the columns that people should see: `columns=[...]`",
            )
        return found
    _check_columns(columns)
    if strange := [name for name in columns if name not in table.column_names]:
        raise DefinitionError(f"the table has no column `{strange[0]}`", hint=f"it has {', '.join(table.column_names)}")
    return list(columns)


def _ids(table: pa.Table, columns: list[str], key: str) -> list[str]:
    """Return the id of each row: its key, or a digest of the values of its columns."""
    if not key:
        return [id_of(list(row.values())) for row in table.select(columns).to_pylist()]
    if key not in table.column_names:
        raise DefinitionError(f"the table has no column `{key}`", hint=f"it has {', '.join(table.column_names)}")
    values = table[key].to_pylist()
    names = [str(each) for each in values]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if None in values or twice:
        told = f"{twice[0]!r} in several rows" if None not in values else "nothing in some row"
        raise UsageError(f"key `{key}` has {told}", hint="name a column that tells rows apart, or leave `key` out")
    return names


def _rows_of(table: pa.Table, columns: list[str], key: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, name in enumerate(_ids(table, columns, key)):
        found.setdefault(name, []).append(row)
    return found


def _order(table: pa.Table, strategy: Strategy, by: str, seed: int) -> list[int]:
    """Return the row numbers in the order in which to label the rows. Ties are in random order."""
    order = np.random.default_rng(seed).permutation(table.num_rows)
    if strategy == "random":
        return [int(each) for each in order]
    column = f"{by}_probability" if strategy == "uncertain" else f"{by}_disagreement"
    if column not in table.column_names:
        raise DefinitionError(
            f"strategy {strategy!r} reads the column `{column}`, which the table doesn't have",
            hint="give the table that `label` made, and in `by=` the name that its `into=` had",
        )
    if not pa.types.is_floating(table.schema.field(column).type):
        raise DefinitionError(
            f"column `{column}` is `{table.schema.field(column).type}`, not the numbers of a label model",
            hint="give the table that `label` made, and in `by=` the name that its `into=` had",
        )
    values = table[column].fill_null(0.0).to_numpy()
    score = values if strategy == "uncertain" else -values
    return [int(each) for each in order[np.argsort(score[order], kind="stable")]]


def _usable(
    sheets: Sequence[Sheet], ids: set[str], classes: Sequence[Label] | None
) -> tuple[list[Given], list[Malformed], int]:
    """Return the labels that can be used, the lines that can't, and the number of repeated labels.

    A repeated label is one that the same person gave to the same row before.
    """
    malformed = [each for sheet in sheets for each in sheet.malformed]
    said: dict[tuple[str, str], list[Given]] = {}
    for each in (each for sheet in sheets for each in sheet.given):
        if each.id not in ids:
            malformed.append(_refused(each, "no row of the table has this id"))
        elif classes is not None and _read_label(each.label, classes) is None:
            malformed.append(_refused(each, f"the label is none of {', '.join(map(str, classes))}"))
        else:
            said.setdefault((each.id, each.annotator), []).append(each)
    given, repeated = [], 0
    for several in said.values():
        if len({each.label.casefold() for each in several}) == 1:
            given.append(several[0])
            repeated += len(several) - 1
        else:
            told = " and ".join(f"{each.label!r} (`{each.file}`, line {each.line})" for each in several[:3])
            malformed += [_refused(each, f"`{each.annotator}` labelled this row twice: {told}") for each in several]
    malformed.sort(key=lambda each: (each.file, each.line))
    return given, malformed, repeated


def _refused(each: Given, reason: str) -> Malformed:
    return Malformed(file=each.file, line=each.line, reason=reason, content=f"{each.id}: {each.label}"[:200])


def _read_label(text: str, classes: Sequence[Label]) -> Label | None:
    """Return the class that a text names. If no class has exactly this text, capital and small letters count as equal.
    Return None if no class fits, or several."""
    exact = [each for each in classes if str(each) == text]
    near = exact or [each for each in classes if str(each).casefold() == text.casefold()]
    if not near and NUMBER.fullmatch(text):  # spreadsheets may write 1 as `+1` or `01`
        near = [each for each in classes if type(each) is int and each == int(text)]
    return near[0] if len(near) == 1 else None


def _known(given: Sequence[Given], classes: Sequence[Label] | None) -> list[Any]:
    """Return the classes: the allowed labels (`classes`), or else all labels in `given`. Labels that differ only in
    case are one class."""
    if classes is not None:
        return list(classes)
    spelled: dict[str, Counter[str]] = {}
    for each in given:
        spelled.setdefault(each.label.casefold(), Counter())[each.label] += 1
    texts = sorted(max(sorted(several), key=several.__getitem__) for several in spelled.values())
    if all(NUMBER.fullmatch(each) for each in texts):
        return sorted({int(each) for each in texts})
    return texts


def _choose(said: Mapping[str, int], rule: Rule, adjudicator: str) -> int | None:
    counts = Counter(said.values()).most_common()
    if len(counts) == 1:
        return counts[0][0]
    if adjudicator in said:
        return said[adjudicator]
    if rule == "unanimous" or counts[0][1] == counts[1][1]:
        return None
    return counts[0][0]


def _with_labels(
    table: pa.Table,
    into: str,
    row_of: Mapping[str, list[int]],
    by_id: Mapping[str, Mapping[str, int]],
    chosen: Mapping[str, int | None],
    classes: list[Any],
) -> pa.Table:
    values: list[Any] = [None] * table.num_rows
    votes = [0] * table.num_rows
    for name, said in by_id.items():
        code = chosen[name]
        for row in row_of[name]:
            votes[row] = len(said)
            values[row] = None if code is None else classes[code]
    out = table.append_column(into, pa.array(values, pa.array(classes).type))
    return described(out.append_column(f"{into}_votes", pa.array(votes, pa.int32())), table)


def _conflicts(
    by_id: Mapping[str, Mapping[str, int]],
    chosen: Mapping[str, int | None],
    classes: list[Any],
    row_of: Mapping[str, list[int]],
) -> pa.Table:
    kind = pa.array(classes).type
    split = [name for name, said in by_id.items() if len(set(said.values())) > 1]
    return pa.table(
        {
            "id": pa.array(split, pa.string()),
            "row": pa.array([row_of[name][0] for name in split], pa.int64()),
            "annotators": pa.array([sorted(by_id[name]) for name in split], pa.list_(pa.string())),
            "labels": pa.array(
                [[classes[by_id[name][who]] for who in sorted(by_id[name])] for name in split], pa.list_(kind)
            ),
            "chosen": pa.array([None if (code := chosen[name]) is None else classes[code] for name in split], kind),
        }
    )


def _as_table(malformed: Sequence[Malformed]) -> pa.Table:
    return pa.table(
        {
            "file": pa.array([each.file for each in malformed], pa.string()),
            "line": pa.array([each.line for each in malformed], pa.int64()),
            "reason": pa.array([each.reason for each in malformed], pa.string()),
            "content": pa.array([each.content for each in malformed], pa.string()),
        }
    )


def _report(
    sheets: Sequence[Sheet],
    by_id: Mapping[str, Mapping[str, int]],
    chosen: Mapping[str, int | None],
    classes: Sequence[Any],
    malformed: Sequence[Malformed],
    repeated: int,
    conflicts: pa.Table,
) -> Report:
    said = list(by_id.values())
    people = sorted({who for each in said for who in each})
    undecided = sum(code is None for code in chosen.values())
    foreign, unfilled = sum(each.foreign for each in sheets), sum(each.unfilled for each in sheets)
    facts = [
        Fact(name="rows with a label", value=float(len(by_id) - undecided), unit="rows"),
        Fact(name="rows with several labels", value=float(sum(len(each) > 1 for each in said)), unit="rows"),
        Fact(name="conflicts", value=float(conflicts.num_rows), unit="rows", better="lower"),
        Fact(name="lines that can't be used", value=float(len(malformed)), unit="lines", better="lower"),
        *agreement_facts(said, len(classes)),
    ]
    counts = Counter((who, label) for each in said for who, label in each.items())
    shares: list[tuple[Cell, ...]] = [(who, *(counts[who, label] for label in range(len(classes)))) for who in people]
    grids = [Grid(title="Labels by annotator", columns=("annotator", *map(str, classes)), rows=tuple(shares))]
    if len(people) > 1:
        grids.append(pairs(said))
    if malformed:
        grids.append(
            Grid(
                title="Lines that can't be used",
                columns=("file", "line", "reason", "content"),
                rows=tuple((each.file, each.line, each.reason, each.content) for each in malformed[:MOST_SHOWN]),
                note=f"{len(malformed)} in all" if len(malformed) > MOST_SHOWN else "",
            )
        )
    notes = (
        (undecided, "rows have no label: those who labelled them disagree, and no rule decides."),
        (unfilled, "lines had no label filled in."),
        (repeated, "labels were given twice by the same annotator, the same each time, and count once."),
        (foreign, "lines weren't UTF-8 and were read as Windows-1252: letters with accents may be wrong."),
    )
    return Report(
        title="Labels from people",
        about=f"{len(people)} annotators gave {sum(map(len, said))} labels on {len(by_id)} rows.",
        facts=tuple(facts),
        grids=tuple(grids),
        limits=tuple(f"{count} {text}" for count, text in notes if count),
    )
