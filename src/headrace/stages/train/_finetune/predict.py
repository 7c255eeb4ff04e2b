"""What a model with an adapter says: the class of each text, or what follows it."""

from __future__ import annotations

import warnings
from typing import Any

import pyarrow as pa

from headrace.codec.file import File, Folder
from headrace.define.call import check_options
from headrace.define.ready import ready
from headrace.spec.stage import Resources
from headrace.stages.train._finetune.finetune import found_base


def predict(
    model: Folder | str,
    adapter: Folder,
    table: pa.Table,
    *,
    gguf_file: str | None = None,
    batch_size: int = 32,
    into: str = "predicted",
    resources: Resources | None = None,
    **options: Any,
) -> pa.Table:
    """Return the table with what a model and its adapter make of each text: the class, and each class's probability.

    The columns are `into` and one for each class, `into_CLASS`; `evaluate.classification` takes these as `scores=`.
    `model` and `adapter` are those of `train.finetune`.

    Raises:
        UsageError: the adapter is for another model or another task, or the table lacks the column of texts.
    """
    check_options("predict", predict, options)
    stage = _predict.with_options(resources=resources)
    return stage(found_base(model, gguf_file), adapter, table, batch_size=batch_size, into=into, **options)


def foretell(
    model: Folder | str,
    adapter: Folder,
    table: pa.Table,
    *,
    gguf_file: str | None = None,
    batch_size: int = 32,
    into: str = "foretold",
    resources: Resources | None = None,
    **options: Any,
) -> pa.Table:
    """Return what `predict` does, under the stage and the column's name of before: results that are there are reused.

    Raises:
        UsageError: as `predict`.
    """
    warnings.warn("train.foretell is train.predict now; its column is `predicted`", DeprecationWarning, stacklevel=2)
    check_options("foretell", foretell, options)
    stage = _foretell.with_options(resources=resources)
    return stage(found_base(model, gguf_file), adapter, table, batch_size=batch_size, into=into, **options)


def complete(
    model: Folder | str,
    adapter: Folder | None,
    table: pa.Table,
    *,
    gguf_file: str | None = None,
    text: str = "text",
    batch_size: int = 8,
    max_new_tokens: int = 32,
    end: str = "",
    into: str = "completion",
    resources: Resources | None = None,
    **options: Any,
) -> pa.Table:
    """Return the table with what follows each text, token by token the likeliest, until `end` or `max_new_tokens`.

    Without an adapter the model itself is asked, for comparison; `text` and `end` are then those to use, else the
    adapter knows its own. The column is `into`; `evaluate.generation` compares it with references.

    Raises:
        UsageError: the adapter is for another model or another task, or the table lacks the column of texts.
    """
    check_options("complete", complete, options)
    stage = _complete.with_options(resources=resources)
    more = {"max_new_tokens": max_new_tokens, "text": text, "end": end, "batch_size": batch_size, "into": into}
    return stage(found_base(model, gguf_file), adapter, table, **more, **options)


_ON = ("peft", "tokenizers", "torch", "transformers")


@ready("train.predict", version=1, on=_ON, kind="evaluate", name="predict")
def _predict(model: Folder | File, adapter: Folder, table: pa.Table, *, batch_size: int, into: str) -> pa.Table:
    # PyTorch and transformers take 5 s to import, which whoever only traces a pipeline does without
    from headrace.stages.train._finetune.answers import predicted  # noqa: PLC0415

    return predicted(model, adapter, table, batch_size, into)


@ready("train.foretell", version=2, on=_ON, kind="evaluate", name="foretell")
def _foretell(model: Folder | File, adapter: Folder, table: pa.Table, *, batch_size: int, into: str) -> pa.Table:
    # PyTorch and transformers take 5 s to import, which whoever only traces a pipeline does without
    from headrace.stages.train._finetune.answers import predicted  # noqa: PLC0415

    return predicted(model, adapter, table, batch_size, into)


@ready("train.complete", version=2, on=_ON, kind="evaluate", name="complete")
def _complete(
    model: Folder | File,
    adapter: Folder | None,
    table: pa.Table,
    *,
    max_new_tokens: int,
    text: str,
    end: str,
    batch_size: int,
    into: str,
) -> pa.Table:
    # PyTorch and transformers take 5 s to import, which whoever only traces a pipeline does without
    from headrace.stages.train._finetune.answers import completed  # noqa: PLC0415

    return completed(model, adapter, table, text, end, batch_size, max_new_tokens, into)
