"""Texts of a table as what a language model learns from: tokens, a mask, and what is to be foretold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from headrace.codec.file import File, Folder
from headrace.errors import UsageError, listed
from headrace.stages.prepare.tokens import IDS, Reader, read_tokenizer
from headrace.stages.train.lesson import TARGET, Lesson
from headrace.stages.train.tuned import Notes

MASK, LEARNED = "attention_mask", "learned"
BATCH_ROWS = 512


class Reading:
    """Reads a table as an adapter's notes say.

    A table that has `input_ids` already, as `prepare.tokenize` gives them, is taken at its word.
    """

    def __init__(self, base: Folder | File, notes: Notes) -> None:
        self._notes = notes
        self.tokenizer = read_tokenizer(base)
        self._reader = Reader(self.tokenizer, special=notes.task == "classify")
        self._end = self._reader.id_of(notes.end) if notes.end else None

    def arrays(self, lesson: Lesson | None) -> dict[str, str | list[str]]:
        """What the loader is to give."""
        found: dict[str, str | list[str]] = {IDS: IDS, MASK: MASK}
        found[TARGET if lesson is not None else LEARNED] = TARGET if lesson is not None else LEARNED
        return found

    def classified(self, table: pa.Table, lesson: Lesson, what: str) -> pa.Table:
        """Tokens, mask and the number of the class."""
        if lesson.target not in table.column_names:
            return lesson.prepared(table, what)  # which says so
        return lesson.prepared(self.tokens(table, what).append_column(lesson.target, table[lesson.target]), what)

    def tokens(self, table: pa.Table, what: str) -> pa.Table:
        """Tokens and mask of each text, as many as there is room for."""
        if IDS in table.column_names:
            ids = [np.asarray(each, dtype=np.int32) for each in table[IDS].to_numpy(zero_copy_only=False)]
        else:
            ids = [
                each for batch in self._texts(table, what) for each, _ in self._reader.read(batch, self._notes.length)
            ]
        return pa.table({IDS: _lists(ids), MASK: _lists([np.ones(len(each), np.int32) for each in ids])})

    def continued(self, table: pa.Table, what: str) -> pa.Table:
        """Tokens, mask, and which tokens are learned: those of the target, or all where there is none.

        A row that is too long loses the beginning of its text; what is to be learned is kept.
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
        """The tokens of each text that is to be continued, with `room` for what follows within the length."""
        most = max(self._notes.length - room, 1)
        return [ids[-most:] for batch in self._texts(table, what) for ids, _ in self._reader.read(batch, None)]

    def ends(self, model: Any) -> list[int]:
        """The tokens that end what follows: that of the notes, else the model's own."""
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
    """Go over a column of texts; nothing counts as an empty one.

    Raises:
        UsageError: there is no such column, or it holds no texts.
    """
    if name not in table.column_names:
        known = listed(table.column_names, 20)
        raise UsageError(f"{what} has no column `{name}`", hint=f"its columns are {known}; `text=` names the texts")
    kind = table.schema.field(name).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UsageError(f"column `{name}` of {what} is {kind}, not text", hint="name a column of texts")
    for batch in table.select([name]).to_batches(max_chunksize=BATCH_ROWS):
        yield [each or "" for each in batch.column(0).to_pylist()]


def classify_objective(lesson: Lesson) -> Callable[[Any, dict[str, Any]], tuple[Any, dict[str, float]]]:
    """The mean cross entropy of a batch, and how many classes are right."""
    return lesson.objective(lambda scores, target: torch.nn.functional.cross_entropy(scores.float(), target))


def continue_objective(module: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    """The mean cross entropy of the tokens that are to be learned, each foretold from those before it; 0 of none."""
    scores = module(input_ids=batch[IDS], attention_mask=batch[MASK])[:, :-1]
    target = torch.where(batch[LEARNED] == 1, batch[IDS], -100)[:, 1:].long()
    total = torch.nn.functional.cross_entropy(
        scores.flatten(0, 1).float(), target.flatten(), ignore_index=-100, reduction="sum"
    )
    return total / (target >= 0).sum().clamp(min=1), {}


def learned_tokens(batch: dict[str, Any]) -> float:
    """Give how many tokens of a batch are foretold: none of a row's first."""
    return float((batch[LEARNED][:, 1:] == 1).sum())


def _lists(rows: list[np.ndarray[Any, Any]]) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in rows])]).astype(np.int64)
    values = np.concatenate(rows) if rows else np.empty(0, np.int32)
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values.astype(np.int32)))
