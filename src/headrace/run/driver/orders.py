"""Orders: the `Do` and `Move` messages that begin an attempt, one message for each worker of the attempt."""

from __future__ import annotations

from headrace.errors import ConfigError
from headrace.run.driver.sites import Sites
from headrace.run.events import Lacked, Launched
from headrace.run.machine.machine import Machine
from headrace.run.wire import Do, Move
from headrace.spec.artifact import blobs
from headrace.spec.graph import Arg, constants


class Orders:
    """Makes the messages that begin attempts. `machine` knows each attempt's task and inputs, and `sites` know the
    addresses of the stores from which blobs are copied."""

    def __init__(self, machine: Machine, sites: Sites) -> None:
        self._machine = machine
        self._sites = sites

    def of(self, launch: Launched) -> list[tuple[int, Do | Move]]:
        """Return the workers of an attempt, each with the message that begins the attempt there.

        Raises:
            ConfigError: a blob has to be copied from a region that is no longer in the settings.
        """
        task = self._machine.tasks[launch.task]
        if task.move is not None:
            return [(launch.workers[0], self._move(launch, task.move))]
        inputs = self._machine.inputs(launch.task)
        nodes = len(launch.workers)
        kept = self._machine.outputs.checkpoints(launch.task, launch.key)
        return [
            (
                worker,
                Do(
                    task=launch.task,
                    attempt=launch.attempt,
                    key=launch.key,
                    function=task.stage.function,
                    args=inputs,
                    code=task.stage.code.digest,
                    verify=self._to_verify(inputs) if self._machine.outputs.foreign else (),
                    checkpoint=None if kept is None else kept.last,
                    rank=rank,
                    nodes=nodes,
                    meeting=f"{launch.task}#{launch.attempt}" if nodes > 1 else None,
                    timeout_s=task.stage.timeout_s,
                    earlier=None if kept is None else kept.before,
                ),
            )
            for rank, worker in enumerate(launch.workers)
        ]

    def _move(self, launch: Launched, lacked: Lacked) -> Move:
        """Return the message that tells a worker to copy a blob from another region."""
        source = self._sites.named(launch.pool).places.address(lacked.source)
        if source is None:
            raise ConfigError(
                f"`{launch.task}` needs a blob from region `{lacked.source}`, which is no longer in the settings",
                hint=f"add it under `[region.{lacked.source}]`, and resume the run",
            )
        ref = lacked.ref
        return Move(launch.task, launch.attempt, ref.digest, ref.nonce or "", ref.size, source, lacked.usd)

    def _to_verify(self, inputs: tuple[tuple[str, Arg], ...]) -> tuple[str, ...]:
        """Return the digests of the inputs that other runs made: a worker checks these inputs when it reads them."""
        digests = {ref.digest for _, arg in inputs for each in constants(arg) for ref in blobs(each)}
        return tuple(digests & self._machine.outputs.foreign)
