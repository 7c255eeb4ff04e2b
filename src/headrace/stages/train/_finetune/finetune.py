"""`train.finetune`: a pretrained Hugging Face model, trained with an adapter (LoRA)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from headrace.codec.values import File, Folder
from headrace.define.handle import Handle
from headrace.define.stage import ready
from headrace.spec.report import Report
from headrace.stages.options import add_task, arguments, takes
from headrace.stages.train._finetune.base import base_model
from headrace.stages.train.options import FinetuneCall


class Finetuned(NamedTuple):
    """The output of `train.finetune`.

    `adapter` is a folder that peft can read: weights in safetensors, the configuration, and `task.json`, which says how
    the adapter was trained. `history` is a table with one row for each epoch. Its columns are `epoch`, `step`,
    `train_loss`, `lr`, and one for each measure on `valid`, such as `valid_loss`. `report` has curves, and the share of
    the model that was trained.
    """

    adapter: Folder
    history: pa.Table
    report: Report


@takes(FinetuneCall)
def finetune(call: FinetuneCall) -> Finetuned:
    """Fine-tune a pretrained model by LoRA: small matrices beside some layers are trained, and the model's own weights
    don't change.

    Nothing is downloaded, none of the model's own code is run, and weights are read only from safetensors or GGUF. A
    training that is killed continues from its last checkpoint, as in `train.torch`.
    """
    given = arguments(call)
    del given["gguf_file"]
    given |= {
        "model": found_base(call.model, call.gguf_file),
        "called": _called(call.model, call.gguf_file),
        "task": call.task or ("classify" if call.target else "continue"),
        "peft": dict(call.peft or {}),
    }
    return add_task(_finetune, call, given)


def found_base(model: Any, gguf_file: str | None) -> Any:
    """Return the model's folder or file. If `model` is an output of the pipeline, return its handle."""
    return model if isinstance(model, Handle) else base_model(model, gguf_file)


def _called(model: Any, gguf_file: str | None) -> str:
    """Return the model's name for reports. Only the driver knows the name: inside the stage, the folder is named by its
    digest."""
    if gguf_file is not None:
        return gguf_file
    if isinstance(model, Handle):
        return "a model of this run"
    return model if isinstance(model, str) else str(model.name)


@ready("train.finetune", version=3, on=("peft", "tokenizers", "torch", "transformers"), kind="train", name="finetune")
def _finetune(
    model: Folder | File,
    table: pa.Table,
    *,
    called: str,
    target: str,
    text: str,
    task: str,
    valid: pa.Table | None,
    peft: dict[str, Any],
    length: int,
    end: str,
    optimizer: Any,
    lr: float | None,
    scheduler: Any,
    **options: Any,
) -> Finetuned:
    # imported here, so that the tracer doesn't import PyTorch and transformers, which takes 5 s
    from headrace.stages.train._finetune.training import Training  # noqa: PLC0415

    call = FinetuneCall(
        model="", table=table, target=target, text=text, task=task, valid=valid, peft=peft, length=length, end=end,
        optimizer=optimizer, lr=lr, scheduler=scheduler, **options,
    )  # fmt: skip
    return Finetuned(*Training(call, model, called).train())
