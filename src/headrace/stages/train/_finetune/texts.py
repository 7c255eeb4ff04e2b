"""Converts a table's texts to the input of a language model: tokens, a mask, and the target of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from headrace.codec.values import File, Folder
from headrace.errors import UsageError, listed
from headrace.stages.prepare._tokenize.tokenize import IDS, Reader, read_tokenizer
from headrace.stages.train._finetune.adapter import Notes
from headrace.stages.train._torch.target import TARGET, Lesson

MASK, LEARNED = "attention_mask", "learned"
BATCH_ROWS = 512


class Reading:
    """Reads a table's texts in the way that an adapter's notes say.

    A column `input_ids`, as `prepare.tokenize` makes it, is used as it is, without a check.
    """

    def __init__(self, base: Folder | File, notes: Notes) -> None:
        self._notes = notes
        self.tokenizer = read_tokenizer(base)
        self._reader = Reader(self.tokenizer, special=notes.task == "classify")
        self._end = self._reader.id_of(notes.end) if notes.end else None

    def arrays(self, lesson: Lesson | None) -> dict[str, str | list[str]]:
        """Return which arrays the loader must yield: for each array's name, the column or columns that the array is
        made from."""
        found: dict[str, str | list[str]] = {IDS: IDS, MASK: MASK}
        found[TARGET if lesson is not None else LEARNED] = TARGET if lesson is not None else LEARNED
        return found

    def classified(self, table: pa.Table, lesson: Lesson, what: str) -> pa.Table:
        """Return a table with the tokens, the mask and the class number of each row."""
        if lesson.target not in table.column_names:
            return lesson.prepared(table, what)  # raises an error if the column is missing
        return lesson.prepared(self.tokens(table, what).append_column(lesson.target, table[lesson.target]), what)

    def tokens(self, table: pa.Table, what: str) -> pa.Table:
        """Return a table with the tokens and the mask of each text. Texts are cut to the maximum length. The tokens of
        a column `input_ids` aren't cut."""
        if IDS in table.column_names:
            ids = [np.asarray(each, dtype=np.int32) for each in table[IDS].to_numpy(zero_copy_only=False)]
        else:
            ids = [
                each for batch in self._texts(table, what) for each, _ in self._reader.read(batch, self._notes.length)
            ]
        return pa.table({IDS: _lists(ids), MASK: _lists([np.ones(len(each), np.int32) for each in ids])})

    def continued(self, table: pa.Table, what: str) -> pa.Table:
        """Return a table with the tokens of each row, the mask, and a mark for each token that is learned.

        The tokens of the target are learned, or all tokens if there is no target.

        If a row is too long, the beginning of its text is cut off, and the target is kept.
        """
        notes = self._notes
        if IDS in table.column_names:
            found = self.tokens(table, what)
            return found.append_column(LEARNED, found[MASK])
        ids, learned = [], []
        answers = self._answers(table, what) if notes.target else None
        for batch in self._texts(table, what):
            for text, _ in self._reader.read(batch, None):
                answer = next(answers) if answers is not None else np.empty(0, np.int32)
                ending = np.asarray([] if self._end is None else [self._end], dtype=np.int32)
                after = np.concatenate([answer, ending])[: notes.length]
                before = text[max(0, len(text) + len(after) - notes.length) :] if notes.target else text
                whole = np.concatenate([before, after])[: notes.length]
                ids.append(whole)
                free = len(before) if notes.target else 0
                learned.append(np.asarray([0] * free + [1] * (len(whole) - free), dtype=np.int32))
        mask = _lists([np.ones(len(each), np.int32) for each in ids])
        return pa.table({IDS: _lists(ids), MASK: mask, LEARNED: _lists(learned)})

    def prompts(self, table: pa.Table, what: str, room: int) -> list[np.ndarray[Any, Any]]:
        """Return the tokens of each text that is to be continued. The beginning of a text is cut off if `room` more
        tokens wouldn't fit within the maximum length."""
        most = max(self._notes.length - room, 1)
        return [ids[-most:] for batch in self._texts(table, what) for ids, _ in self._reader.read(batch, None)]

    def ends(self, model: Any) -> list[int]:
        """Return the tokens that end a continuation: the token in the notes, or the end tokens of the model itself if
        the notes name none."""
        if self._end is not None:
            return [self._end]
        own = model.generation_config.eos_token_id
        found = own if isinstance(own, list) else [own]
        return [int(each) for each in found if each is not None] or [0]

    def _texts(self, table: pa.Table, what: str) -> Iterator[list[str]]:
        return texts(table, self._notes.text, what)

    def _answers(self, table: pa.Table, what: str) -> Iterator[np.ndarray[Any, Any]]:
        for batch in texts(table, self._notes.target, what):
            for ids, _ in self._reader.read(batch, None):
                yield ids


def texts(table: pa.Table, name: str, what: str) -> Iterator[list[str]]:
    """Yield a column's texts in batches. Null becomes an empty text.

    Raises:
        UsageError: there is no such column, or it holds no text.
    """
    if name not in table.column_names:
        known = listed(table.column_names, 20)
        raise UsageError(f"{what} has no column `{name}`", hint=f"its columns are {known}: name the texts by `text=`")
    kind = table.schema.field(name).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UsageError(f"column `{name}` of {what} is {kind}, not text", hint="name a column of texts")
    for batch in table.select([name]).to_batches(max_chunksize=BATCH_ROWS):
        yield [each or "" for each in batch.column(0).to_pylist()]


def classify_objective(lesson: Lesson) -> Callable[[Any, dict[str, Any]], tuple[Any, dict[str, float]]]:
    """Return a function that returns a batch's mean cross entropy, and the share of rows whose class is predicted
    correctly."""
    return lesson.objective(lambda scores, target: torch.nn.functional.cross_entropy(scores.float(), target))


def continue_objective(module: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    """Return the mean cross entropy of the tokens to learn, or 0 if there are no tokens to learn. Each token is
    predicted from the tokens before it."""
    scores = module(input_ids=batch[IDS], attention_mask=batch[MASK])[:, :-1]
    target = torch.where(batch[LEARNED] == 1, batch[IDS], -100)[:, 1:].long()
    total = torch.nn.functional.cross_entropy(
        scores.flatten(0, 1).float(), target.flatten(), ignore_index=-100, reduction="sum"
    )
    return total / (target >= 0).sum().clamp(min=1), {}


def learned_tokens(batch: dict[str, Any]) -> float:
    """Return the number of tokens to learn in a batch. The first token of a row doesn't count, because it can't be
    predicted."""
    return float((batch[LEARNED][:, 1:] == 1).sum())


def _lists(rows: list[np.ndarray[Any, Any]]) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in rows])]).astype(np.int64)
    values = np.concatenate(rows) if rows else np.empty(0, np.int32)
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values.astype(np.int32)))
