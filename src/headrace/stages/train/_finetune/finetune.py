"""`train.finetune`: a pretrained model of Hugging Face's, taught by an adapter (LoRA)."""

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
    """What `train.finetune` gives.

    `adapter` is a folder that peft reads: weights in safetensors, its configuration, and `task.json` on what it is for.
    `history` is a table with a row an epoch: `epoch`, `step`, `train_loss`, `valid_loss` and other measures, `lr`.
    `report` has curves, and how much of the model learned.
    """

    adapter: Folder
    history: pa.Table
    report: Report


@takes(FinetuneCall)
def finetune(call: FinetuneCall) -> Finetuned:
    """Teach a pretrained model by LoRA: small matrices beside some of its layers learn, the rest stays as it is.

    Nothing is fetched from anywhere, no code of the model's own is run, and weights are read from safetensors or GGUF
    only. A training that is killed goes on from its last checkpoint, as in `train.torch`.
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
    """Return the model as a value; a handle, which is an output of the pipeline's, as it is."""
    return model if isinstance(model, Handle) else base_model(model, gguf_file)


def _called(model: Any, gguf_file: str | None) -> str:
    """What reports call the model: where a stage gets it, its folder is named by its digest."""
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
    # PyTorch and transformers take 5 s to import, which whoever only traces a pipeline does without
    from headrace.stages.train._finetune.training import Training  # noqa: PLC0415

    call = FinetuneCall(
        model="", table=table, target=target, text=text, task=task, valid=valid, peft=peft, length=length, end=end,
        optimizer=optimizer, lr=lr, scheduler=scheduler, **options,
    )  # fmt: skip
    return Finetuned(*Training(call, model, called).train())
