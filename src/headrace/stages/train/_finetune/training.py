"""The training of `train.finetune`: from the arguments of a call to an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pyarrow as pa
from msgspec.structs import replace

from headrace.codec.values import File, Folder
from headrace.define.attempt import attempt
from headrace.errors import UsageError
from headrace.spec.report import Fact, Report
from headrace.stages.prepare._tokenize.tokenize import IDS
from headrace.stages.train._finetune.adapter import Notes, Task, Tuned, save_adapter, tuned
from headrace.stages.train._finetune.texts import MASK, Reading, classify_objective, continue_objective, learned_tokens
from headrace.stages.train._torch.host import AttemptHost
from headrace.stages.train._torch.learner import Learner
from headrace.stages.train._torch.loop import Fitted, Fitting
from headrace.stages.train._torch.memory import memory_errors
from headrace.stages.train._torch.optimiser import optimizer_of, scheduler_of
from headrace.stages.train._torch.random_state import seed_all
from headrace.stages.train._torch.target import Lesson, lesson
from headrace.stages.train._torch.training import NO_VALID, history_table
from headrace.stages.train.curves import training_report
from headrace.stages.train.loader import Loader
from headrace.stages.train.options import FinetuneCall


class Training:
    """One training: a pretrained model, a table, and how to learn from it.

    Raises:
        UsageError: the table or an argument is invalid. This is raised before the model is loaded.
    """

    def __init__(self, call: FinetuneCall, base: Folder | File, called: str) -> None:
        self._base, self._called, self._options = base, called, call
        self._lesson = _lesson(call.table, call.target, call.task)
        self._optimizer, self._scheduler = optimizer_of(call.optimizer, call.lr), scheduler_of(call.scheduler)
        self._notes = Notes(
            task=cast(Task, call.task),
            text=call.text,
            target=call.target,
            classes=None if self._lesson is None else self._lesson.classes,
            length=call.length,
            end=call.end,
        )
        self._reading = Reading(base, self._notes)
        self._table = self._read(call.table, "the table")
        self._valid = None if call.valid is None else self._read(call.valid, "`valid`")

    @memory_errors()
    def train(self) -> tuple[Folder, pa.Table, Report]:
        """Train, and return the adapter, the history and the report."""
        seed_all(self._options.seed)
        classes = len(self._notes.classes or ())
        module = tuned(self._base, self._notes.task, classes, dict(self._options.peft or {}))
        objective = continue_objective if self._lesson is None else classify_objective(self._lesson)
        learner = Learner(module, objective, self._optimizer, self._scheduler, self._options)
        size = self._options.batch_size
        columns = self._reading.arrays(self._lesson)
        loader = Loader(self._table, batch_size=size, seed=self._options.seed, columns=columns)
        valid = None
        if self._valid is not None:
            valid = Loader(self._valid, batch_size=max(size, 32), shuffle=False, columns=columns)
        counts = learned_tokens if self._lesson is None else None
        fitted = Fitting(learner, loader, valid, AttemptHost(), counts=counts).run()
        if fitted.cut:
            attempt().shortened(fitted.cut)
        adapter = save_adapter(module, fitted.weights, self._called, self._notes, Path("adapter"))
        return adapter, history_table(fitted.history), self._report(module, fitted)

    def _read(self, table: pa.Table, what: str) -> pa.Table:
        if self._lesson is not None:
            return self._reading.classified(table, self._lesson, what)
        return self._reading.continued(table, what)

    def _report(self, module: Tuned, fitted: Fitted) -> Report:
        learning, all_of_them = module.counts()
        rows = f"{self._table.num_rows:,} rows"
        judged = "no rows were held back" if self._valid is None else f"judged on {self._valid.num_rows:,} others"
        wanted = f"predicts `{self._notes.target}`" if self._notes.target else "continues texts"
        report = training_report(
            f"Fine-tuning of {self._called}",
            f"An adapter of {learning:,} numbers, {learning / all_of_them:.2%} of the model's, {wanted}; "
            f"it learned from {rows}; {judged}.",
            fitted.history,
            best_epoch=fitted.best_epoch,
            given_epoch=fitted.given_epoch,
            stopped_early=fitted.stopped_early,
            cut=fitted.cut,
            limits=() if self._valid is not None else (NO_VALID,),
        )
        facts = (*report.facts, Fact(name="parameters that learn", value=float(learning)))
        return replace(report, facts=(*facts, Fact(name="parameters", value=float(all_of_them))))


def _lesson(table: pa.Table, target: str, task: str) -> Lesson | None:
    """Return what is to be learned if the task is to predict classes, or None if the task is to continue texts."""
    if task not in ("classify", "continue"):
        raise UsageError(f"`task` is {task!r}", hint='give "classify" or "continue"')
    if not table.num_rows:
        raise UsageError(
            "the table is empty", hint="check the output of the stage before this one: `headrace show RUN`"
        )
    if task == "continue":
        if target and IDS in table.column_names:
            raise UsageError(
                f"the target `{target}` is text, but the table has tokens (`{IDS}`) instead of texts to continue",
                hint="give the table of texts, not the one that `prepare.tokenize` made",
            )
        return None
    if not target:
        raise UsageError("`task` is classify, and there is no target", hint="name the column to predict by `target=`")
    return lesson(table, target, {IDS: IDS, MASK: MASK}, "CrossEntropyLoss")
