"""The training of `train.torch`: from the arguments of a call to a trained network."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import cloudpickle
import pyarrow as pa

from headrace.define.attempt import attempt
from headrace.spec.report import Report
from headrace.stages.tables.sketch import sketch
from headrace.stages.train._torch.gang import TRAINING, Gang
from headrace.stages.train._torch.host import AttemptHost, Host
from headrace.stages.train._torch.learner import Learner
from headrace.stages.train._torch.loop import Fitted, Fitting
from headrace.stages.train._torch.memory import memory_errors
from headrace.stages.train._torch.module import made_by
from headrace.stages.train._torch.network import Network
from headrace.stages.train._torch.optimiser import loss_name, loss_of, optimizer_of, scheduler_of
from headrace.stages.train._torch.random_state import seed_all
from headrace.stages.train._torch.target import lesson
from headrace.stages.train.curves import training_report
from headrace.stages.train.loader import Loader
from headrace.stages.train.options import TorchCall, TrainingOptions


class Training:
    """One training: a network, a table, and how to learn from it.

    Raises:
        UsageError: the table or an argument is invalid. This is raised before the training starts.
    """

    def __init__(self, call: TorchCall) -> None:
        self.options = TrainingOptions(**{name: getattr(call, name) for name in TrainingOptions.__struct_fields__})
        self._model, valid, loss = call.model, call.valid, call.loss
        self._lesson = lesson(call.table, call.target, call.features, None if loss is None else loss_name(loss))
        if loss is None:
            loss = "MSELoss" if self._lesson.answer == "value" else "CrossEntropyLoss"
        self._loss_name = loss_name(loss)
        self._loss = loss_of(loss)
        self._optimizer = optimizer_of(call.optimizer, call.lr)
        self._scheduler = scheduler_of(call.scheduler)
        self._made = made_by(call.model, inputs=self._lesson.inputs, outputs=self._lesson.outputs)
        self._table = self._lesson.prepared(call.table, "the table")
        self._valid = None if valid is None else self._lesson.prepared(valid, "`valid`")
        chose = valid is not None and call.patience is not None
        self._chosen_on = sketch(valid, self._lesson.shown) if chose else None

    def train(self, procs: int) -> Any:
        """Train with `procs` processes on each of the attempt's nodes. On the first node, return the network, its
        history and the report. On all other nodes, return None.
        """
        fitted: Fitted | None
        if procs == 1 and attempt().nodes == 1:
            fitted = self.fit(AttemptHost())
        else:
            with tempfile.TemporaryDirectory(dir=".", prefix="train-") as name:
                folder = Path(name).resolve()
                self.pack(folder)
                fitted = Gang(AttemptHost(), folder, procs).train()
        if fitted is None:
            return None
        if fitted.cut:
            attempt().shortened(fitted.cut)
        chosen_on = "" if self._chosen_on is None else self._chosen_on.text()
        network = Network(made=self._made, lesson=self._lesson, state=fitted.weights, chosen_on=chosen_on)
        return network, history_table(fitted.history), self._report(fitted)

    def pack(self, folder: Path) -> None:
        """Write this object to a folder, from which other processes read it with `unpacked`. Tables are written as
        files, which the other processes memory-map."""
        for name, table in (("table", self._table), ("valid", self._valid)):
            if table is not None:
                with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                    writer.write_table(table, max_chunksize=1 << 20)
        rest = {name: each for name, each in vars(self).items() if name not in ("_table", "_valid")}
        (folder / TRAINING).write_bytes(cloudpickle.dumps(rest))

    @classmethod
    def unpacked(cls, folder: Path) -> Training:
        """Return the object that `pack` wrote."""
        training = cls.__new__(cls)
        vars(training).update(cloudpickle.loads((folder / TRAINING).read_bytes()))
        for name in ("table", "valid"):
            path = folder / name
            found = pa.ipc.open_file(pa.memory_map(str(path))).read_all() if path.exists() else None
            setattr(training, f"_{name}", found)
        return training

    @memory_errors()
    def fit(self, host: Host, *, rank: int = 0, world: int = 1) -> Fitted:
        """Train as rank `rank` of the `world` ranks that train together. Return the result.

        Raises:
            MemoryError: there is not enough memory.
        """
        seed_all(self.options.seed)
        module = self._made.module_of(self._model)
        if rank:
            seed_all(self.options.seed + rank)  # all ranks have the same weights, but each draws its own dropout
        learner = Learner(
            module, self._lesson.objective(self._loss), self._optimizer, self._scheduler, self.options, world=world
        )
        more: dict[str, Any] = {"columns": self._lesson.arrays(), "rank": rank, "world": world, "never_empty": True}
        size = self.options.batch_size
        loader = Loader(self._table, batch_size=size, seed=self.options.seed, **more)
        valid = None
        if self._valid is not None:
            valid = Loader(self._valid, batch_size=max(size, 1024), shuffle=False, **more)
        return Fitting(learner, loader, valid, host, rank=rank, world=world).run()

    def _report(self, fitted: Fitted) -> Report:
        rows = f"{self._table.num_rows:,} rows"
        judged = "no rows were held back" if self._valid is None else f"judged on {self._valid.num_rows:,} others"
        return training_report(
            f"Training of {self._made.factory.rpartition(':')[2]}",
            f"It predicts `{self._lesson.target}` and learned from {rows} by {self._loss_name}; {judged}.",
            fitted.history,
            best_epoch=fitted.best_epoch,
            given_epoch=fitted.given_epoch,
            stopped_early=fitted.stopped_early,
            cut=fitted.cut,
            limits=() if self._valid is not None else (NO_VALID,),
        )


NO_VALID = "Without `valid`, the loss says nothing about rows that the model hasn't seen."


def history_table(history: list[dict[str, float]]) -> pa.Table:
    """Return a training's history as a table, with one row for each epoch."""
    names = list(history[0]) if history else ["epoch", "step", "train_loss", "lr"]
    whole = {"epoch", "step"}
    return pa.table(
        {
            name: pa.array(
                [int(entry[name]) if name in whole else entry.get(name, math.nan) for entry in history],
                pa.int64() if name in whole else pa.float64(),
            )
            for name in names
        }
    )
