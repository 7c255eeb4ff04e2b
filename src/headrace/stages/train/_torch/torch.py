"""`train.torch`: trains a user's own network with PyTorch."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa
from msgspec.structs import replace

from headrace.define.handle import Handle
from headrace.define.stage import ready
from headrace.errors import UsageError
from headrace.spec.report import Report
from headrace.spec.stage import Resources
from headrace.stages.options import add_task, arguments, declared, takes
from headrace.stages.train._torch.module import check_maker
from headrace.stages.train._torch.network import Network
from headrace.stages.train.options import TorchCall
from headrace.stages.train.signed import sign


class Trained(NamedTuple):
    """The output of `train.torch`.

    `model` has the weights and methods to use them (`predict`, `predict_proba`, `module()`). `history` is a table with
    one row for each epoch. Its columns are `epoch`, `step`, `train_loss`, `lr`, and one for each measure on `valid`,
    such as `valid_loss`. `report` has the curves.
    """

    model: Network
    history: pa.Table
    report: Report


@takes(TorchCall)
def torch(call: TorchCall) -> Trained:
    """Train a network on a table. Return its weights, its history by epoch, and a report.

    A training that is killed continues from its last checkpoint. On a CPU, it then ends with exactly the same weights
    as a training that was not interrupted.
    """
    check_maker(call.model)
    _check_sharing(call)
    needs = Resources(cpu=float(call.procs)) if call.resources is None else call.resources
    given = arguments(call)
    nodes = given.pop("nodes")
    return add_task(_torch, replace(call, resources=replace(needs, nodes=nodes) if nodes != 1 else needs), given)


def _check_sharing(call: TorchCall) -> None:
    """Raise an error if `procs` processes on each of `nodes` nodes can't train together.

    Raises:
        UsageError: `procs` or `nodes` is only known at run time, or a batch has fewer rows than there are processes.
    """
    for name in ("procs", "nodes"):
        declared(TorchCall)[name].refuse(name, getattr(call, name))
    rows: Any = call.batch_size
    together = call.procs * call.nodes
    if not isinstance(rows, Handle) and rows < together:
        raise UsageError(f"a batch of {rows} rows can't be shared by {together} processes", hint="raise `batch_size`")


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
    **options: Any,
) -> Trained:
    # imported here, so that the tracer doesn't import PyTorch, which takes 2 s
    from headrace.stages.train._torch.training import Training  # noqa: PLC0415

    call = TorchCall(
        model=model, table=table, target=target, valid=valid, features=features, loss=loss, optimizer=optimizer, lr=lr,
        scheduler=scheduler, procs=procs, **options,
    )  # fmt: skip
    found = Training(call).train(procs)
    if found:
        sign(found[0], table, found[0].lesson.shown)
    return Trained(*found) if found else found
