"""Stages that use a model with an adapter: to predict the class of each text, or to continue it."""

from __future__ import annotations

import warnings
from typing import Annotated

import pyarrow as pa

from headrace.codec.values import File, Folder
from headrace.define.stage import StageFunction, ready
from headrace.stages.options import Called, Option, add_task, arguments, takes, whole
from headrace.stages.train._finetune.finetune import found_base


class AnswerOptions(Called, frozen=True, kw_only=True):
    """The options of `train.predict` and `train.complete`."""

    gguf_file: Annotated[str | None, Option("a GGUF file in the model's folder, with weights and tokenizer.")] = None
    batch_size: Annotated[int, Option("how many texts are read at once.", whole(1))] = 32
    into: Annotated[str, Option("the column for the answers.")] = "predicted"


class PredictCall(AnswerOptions, frozen=True):
    """The options and arguments of a call of `train.predict`."""

    model: Annotated[Folder | str, Option("the model that `train.finetune` was called with.")]
    adapter: Annotated[Folder, Option("the adapter that `train.finetune` returned.")]
    table: Annotated[pa.Table, Option("the texts.")]


@takes(PredictCall)
def predict(call: PredictCall) -> pa.Table:
    """Return the table with the class that a model with its adapter predicts for each text, and with the probability of
    each class.

    The option `into` names the new column with the predicted class, by default `predicted`. The probability of the
    class `late` is in a column `predicted_late`, and so on for each class. `evaluate.classification` takes the columns
    of probabilities as `scores=`.

    Raises:
        UsageError: the adapter was made for another model or another task, or the table lacks the column of texts.
    """
    return _answered(call, _predict)


class ForetellCall(PredictCall, frozen=True, kw_only=True):
    """The options and arguments of a call of `train.foretell`."""

    into: str = "foretold"


@takes(ForetellCall)
def foretell(call: ForetellCall) -> pa.Table:
    """The former name of the stage `predict`. By default, the new column has its former name too (`foretold`), so that
    existing results are reused.

    Raises:
        UsageError: for the same reasons as `predict`.
    """
    warnings.warn("train.foretell is train.predict now; its column is `predicted`", DeprecationWarning, stacklevel=3)
    return _answered(call, _foretell)


class CompleteOptions(AnswerOptions, frozen=True, kw_only=True):
    """The options of `train.complete`."""

    text: Annotated[
        str,
        Option(
            "the column of texts, if there is no adapter. An adapter stores the name of its column.",
            before="batch_size",
        ),
    ] = "text"
    batch_size: int = 8
    max_new_tokens: Annotated[int, Option("the most tokens of a continuation.", whole(1), before="into")] = 32
    end: Annotated[str, Option("without an adapter, a token that ends the continuation.", before="into")] = ""
    into: str = "completion"


class CompleteCall(CompleteOptions, frozen=True):
    """The options and arguments of a call of `train.complete`."""

    model: Annotated[Folder | str, Option("the model that `train.finetune` was called with.")]
    adapter: Annotated[
        Folder | None, Option("the adapter that `train.finetune` returned; None to use the model alone.")
    ]
    table: Annotated[pa.Table, Option("the texts.")]


@takes(CompleteCall)
def complete(call: CompleteCall) -> pa.Table:
    """Return the table with a continuation of each text. Each token is the likeliest one, until `end` or
    `max_new_tokens`.

    The option `into` names the new column. `evaluate.generation` can compare this column with references.

    Raises:
        UsageError: the adapter was made for another model or another task, or the table lacks the column of texts.
    """
    return _answered(call, _complete)


def _answered(call: PredictCall | CompleteCall, stage: StageFunction[..., pa.Table]) -> pa.Table:
    given = arguments(call)
    return add_task(stage, call, given | {"model": found_base(call.model, given.pop("gguf_file"))})


_ON = ("peft", "tokenizers", "torch", "transformers")


@ready("train.predict", version=1, on=_ON, kind="evaluate", name="predict")
def _predict(model: Folder | File, adapter: Folder, table: pa.Table, *, batch_size: int, into: str) -> pa.Table:
    # imported here, so that the tracer doesn't import PyTorch and transformers, which takes 5 s
    from headrace.stages.train._finetune.answers import predicted  # noqa: PLC0415

    return predicted(model, adapter, table, batch_size, into)


@ready("train.foretell", version=2, on=_ON, kind="evaluate", name="foretell")
def _foretell(model: Folder | File, adapter: Folder, table: pa.Table, *, batch_size: int, into: str) -> pa.Table:
    # imported here, so that the tracer doesn't import PyTorch and transformers, which takes 5 s
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
    # imported here, so that the tracer doesn't import PyTorch and transformers, which takes 5 s
    from headrace.stages.train._finetune.answers import completed  # noqa: PLC0415

    return completed(model, adapter, table, text, end, batch_size, max_new_tokens, into)
