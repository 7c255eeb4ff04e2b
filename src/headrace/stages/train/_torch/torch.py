"""`train.torch`: a network of the user's own, trained by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa
from msgspec.structs import replace

from headrace.define.call import check_options
from headrace.define.ready import ready
from headrace.spec.report import Report
from headrace.spec.stage import Resources
from headrace.stages.train._torch.module import check_maker
from headrace.stages.train._torch.network import Network
from headrace.stages.train._torch.recipe import OnNonfinite, Precision, Recipe, check_recipe, check_sharing


class Trained(NamedTuple):
    """What `train.torch` gives.

    `model` has the weights and how to use them again (`predict`, `predict_proba`, `module()`). `history` is a table
    with a row an epoch: `epoch`, `step`, `train_loss`, `valid_loss` and other measures, `lr`. `report` has the
    curves.
    """

    model: Network
    history: pa.Table
    report: Report


def torch(
    model: Any,
    table: pa.Table,
    *,
    target: str,
    valid: pa.Table | None = None,
    features: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    loss: Any = None,
    optimizer: Any = "AdamW",
    lr: float | None = None,
    scheduler: Any = None,
    scheduler_every: Literal["epoch", "step"] = "epoch",
    epochs: int = 10,
    batch_size: int = 256,
    precision: Precision = "fp32",
    clip_norm: float | None = None,
    patience: int | None = None,
    checkpoint_every: int | str | None = "1m",
    on_nonfinite: OnNonfinite = "fail",
    log_every: int = 50,
    seed: int = 0,
    device: str = "auto",
    procs: int = 1,
    nodes: int = 1,
    resources: Resources | None = None,
    retries: int = 2,
    timeout: str | float | None = None,
    **options: Any,
) -> Trained:
    """Train a network on a table; give its weights, its history by epoch and a report.

    A training that is killed goes on from its last checkpoint; on a CPU it then ends with the same weights, to the bit,
    as one that nobody disturbed.

    Args:
        model: the class or function that makes the `torch.nn.Module`, or a `functools.partial` of one. Parameters of it
            called `inputs` and `outputs` are given the numbers of features and of scores.
        table: what to learn from.
        target: the column to predict. Whole numbers, booleans and text are classes, fractions are values.
        valid: rows that are judged after each epoch, and never learned from.
        features: the columns that the model is given, all but the target if not told: as one matrix `[batch, features]`
            of float32, or, of a single column of lists, as that. A mapping names arguments of the model, with a column
            or a list of columns for each.
        loss: a loss of PyTorch's by name (`"CrossEntropyLoss"`), a class such as `torch.nn.HuberLoss`, or a function of
            prediction and target that gives the mean over the batch. Cross entropy for classes and mean squared error
            for values if not told.
        optimizer: one of `torch.optim` by name, a class, or a partial: `partial(torch.optim.SGD, momentum=0.9)`.
        lr: its learning rate, where that isn't in the partial.
        scheduler: one of `torch.optim.lr_scheduler`, as a partial of its class; it makes a step each `scheduler_every`.
        epochs: how often all of the table is seen, in another order each time.
        batch_size: rows a step, over all processes together.
        precision: `bf16` and `fp16` by `torch.autocast`, the latter with a scaled loss.
        clip_norm: the most that the norm of the gradients may be.
        patience: end after so many epochs without a better loss (on `valid`, where there is one), and give the best
            epoch's weights.
        checkpoint_every: a number of steps, or a time such as `"1m"`.
        on_nonfinite: a loss that is not finite is an error (`fail`), or its batch is left out (`skip`).
        log_every: after how many steps loss, rate and speed are shown.
        seed: of the weights, the order of the rows and all that is random.
        device: `auto` takes a GPU where the attempt has one.
        procs: processes a node that train together, each with `cpu / procs` threads, by `torchrun`.
        nodes: how many nodes the attempt spans.
        resources: what one node needs; `hr.Resources(gpu="1")` for a GPU.
        retries: how many more attempts a failure is worth.
        timeout: the most time that an attempt may take.
        options: `when=`, `after=`, `always=`, as every stage call takes.
    """
    check_options("torch", torch, options)
    check_maker(model)
    check_recipe(
        epochs=epochs, batch_size=batch_size, seed=seed, precision=precision, clip_norm=clip_norm, patience=patience,
        checkpoint_every=checkpoint_every, device=device, on_nonfinite=on_nonfinite, scheduler_every=scheduler_every,
        log_every=log_every,
    )  # fmt: skip
    check_sharing(batch_size, procs=procs, nodes=nodes)
    needs = Resources(cpu=float(procs)) if resources is None else resources
    stage = _torch.with_options(
        resources=replace(needs, nodes=nodes) if nodes != 1 else needs, retries=retries, timeout=timeout
    )
    return stage(
        model,
        table,
        target=target,
        valid=valid,
        features=features,
        loss=loss,
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
        procs=procs,
        **options,
    )


@ready("train.torch", version=5, on=("torch",), kind="train", name="torch")
def _torch(
    model: Any,
    table: pa.Table,
    *,
    target: str,
    valid: pa.Table | None,
    features: Any,
    loss: Any,
    optimizer: Any,
    lr: float | None,
    scheduler: Any,
    procs: int,
    **recipe: Any,
) -> Trained:
    # PyTorch takes 2 s to import, which whoever only traces a pipeline does without
    from headrace.stages.train._torch.training import School  # noqa: PLC0415

    school = School(
        model=model, table=table, target=target, valid=valid, features=features, loss=loss, optimizer=optimizer, lr=lr,
        scheduler=scheduler, recipe=Recipe(**recipe),
    )  # fmt: skip
    found = school.train(procs)
    return Trained(*found) if found else found
