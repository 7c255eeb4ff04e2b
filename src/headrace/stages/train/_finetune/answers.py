"""Runs a model with its adapter on a table, batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from headrace.codec.values import File, Folder
from headrace.errors import UsageError
from headrace.stages.prepare._tokenize.tokenize import IDS
from headrace.stages.tables.columns import described
from headrace.stages.train._finetune.adapter import Notes, Task, load_adapter, read_notes
from headrace.stages.train._finetune.base import language_model
from headrace.stages.train._finetune.texts import Reading
from headrace.stages.train._torch.learner import pick_device


def predicted(base: Folder | File, adapter: Folder, table: pa.Table, batch_size: int, into: str) -> pa.Table:
    """Return the table with the predicted class of each text, and the probability of each class."""
    notes = _notes_for("classify", adapter)
    classes = notes.classes or []
    device = pick_device("auto")
    tokens = Reading(base, notes).tokens(table, "the table")[IDS].to_numpy(zero_copy_only=False)
    model = load_adapter(base, adapter, notes).to(device)
    chances = np.zeros((table.num_rows, len(classes)))
    for rows in _by_length(tokens, batch_size):
        ids, mask = _padded([tokens[row] for row in rows], 0)
        with torch.inference_mode():
            scores = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        chances[rows] = torch.softmax(scores.double(), 1).cpu().numpy()
    out = table.append_column(into, pa.array(classes).take(pa.array(chances.argmax(1))))
    for place, each in enumerate(classes):
        out = out.append_column(f"{into}_{each}", pa.array(chances[:, place]))
    return described(out, table)


def completed(
    base: Folder | File,
    adapter: Folder | None,
    table: pa.Table,
    text: str,
    end: str,
    batch_size: int,
    max_new_tokens: int,
    into: str,
) -> pa.Table:
    """Return the table with the model's continuation of each text."""
    if adapter is None:
        notes = Notes(task="continue", text=text, target="", classes=None, length=1 << 20, end=end)
        model = language_model(base)
    else:
        notes = _notes_for("continue", adapter)
        model = load_adapter(base, adapter, notes)
    device = pick_device("auto")
    model = model.to(device).eval()
    reading = Reading(base, notes)
    ends = reading.ends(model)
    prompts = reading.prompts(table, "the table", max_new_tokens)
    found = [""] * table.num_rows
    for rows in _by_length(prompts, batch_size):
        ids, mask = _padded([prompts[row] for row in rows], ends[0], left=True)
        with torch.inference_mode():
            made = model.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), do_sample=False, use_cache=True,
                max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=ends[0],
            )  # fmt: skip
        for row, line in zip(rows, made[:, ids.shape[1] :].tolist(), strict=True):
            stop = next((place for place, each in enumerate(line) if each in ends), len(line))
            found[row] = reading.tokenizer.decode(line[:stop], skip_special_tokens=True)
    return described(table.append_column(into, pa.array(found, pa.string())), table)


def _notes_for(task: Task, adapter: Folder) -> Notes:
    notes = read_notes(adapter)
    if notes.task != task:
        name = "complete" if notes.task == "continue" else "predict"
        raise UsageError(f"the adapter was trained to {notes.task}", hint=f"use it with `train.{name}`")
    return notes


def _by_length(tokens: Any, batch_size: int) -> list[list[int]]:
    """Return the row numbers in batches of texts with similar lengths, so that little padding is needed."""
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _padded(rows: list[Any], filler: int, *, left: bool = False) -> tuple[Any, Any]:
    """Return rows of tokens as a padded matrix, and a mask that is 1 for tokens and 0 for padding."""
    wide = max(max((len(each) for each in rows), default=0), 1)
    ids = torch.full((len(rows), wide), filler, dtype=torch.long)
    mask = torch.zeros((len(rows), wide), dtype=torch.long)
    for place, each in enumerate(rows):
        where = slice(wide - len(each), wide) if left else slice(0, len(each))
        ids[place, where] = torch.as_tensor(np.asarray(each, dtype=np.int64))
        mask[place, where] = 1
    return ids, mask
