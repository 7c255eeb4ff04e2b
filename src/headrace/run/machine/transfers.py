"""Transfers: the tasks that bring blobs from one region's store to another's, as the machine makes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.plan.transfers import STAGE, transfer_name
from headrace.run.events import Lacked
from headrace.run.machine.task import Task
from headrace.spec.artifact import Ref
from headrace.spec.graph import Node
from headrace.spec.stage import Resources, Stage

TRIES = 3
"""How often a transfer is tried again that crashed or ran out of memory; its other failures have the rules of all."""


def name_of(ref: Ref, source: str, target: str, tasks: Mapping[str, Task]) -> str:
    """Name the transfer of a blob: `transfer[ab12cd34 eu->us]`, longer where another generation has that name."""
    short = transfer_name(ref.digest, source, target)
    known = tasks.get(short)
    if known is None or known.move is None or generation(known.move.ref) == generation(ref):
        return short
    return transfer_name(ref.digest, source, target, ref.nonce or "")


def generation(ref: Ref) -> str:
    """Name a blob's generation, `DIGEST.NONCE`."""
    return f"{ref.digest}.{ref.nonce}"


def stage_of(lacked: Lacked) -> Stage:
    """Declare the stage that a transfer is one of: transfers of like sizes take like times."""
    size = lacked.ref.size.bit_length()
    return Stage(name=STAGE, function=f"{STAGE}:{size}", resources=Resources(cpu=lacked.cpu), retries=TRIES)


def node_of(lacked: Lacked) -> Node:
    """Give a transfer its place in the graph: it takes nothing that a task gives."""
    return Node(name=lacked.task, stage=stage_of(lacked).function, args=())


def why(lacked: Lacked) -> str:
    """Say why a transfer runs."""
    return f"its blob is in `{lacked.source}`, and tasks in `{lacked.target}` need it"
