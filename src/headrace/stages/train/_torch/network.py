"""A trained network: its weights, and everything needed to use it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.define.argument_check import check_table
from headrace.errors import UsageError
from headrace.spec.noun import Noun
from headrace.stages.train._torch.module import Made
from headrace.stages.train._torch.target import Lesson
from headrace.stages.train.loader import Loader

BATCH_ROWS = 4096


class Network(Noun, frozen=True):
    """The model that `train.torch` trained.

    `state` is the module's `state_dict()`, stored as safetensors. `made` says how to make the module. `lesson` says
    what the module's input and output mean. `chosen_on` is a sketch of the rows that were used to choose the epoch. It
    is empty if no rows were used.
    """

    made: Made
    lesson: Lesson
    state: dict[str, Any]
    chosen_on: str = ""

    def module(self) -> Any:
        """Return the module with its weights, ready to predict (`eval`).

        Raises:
            UsageError: the code that makes the module can't be imported, or makes a different module now.
        """
        module = self.made.module()
        try:
            module.load_state_dict(self.state)
        except RuntimeError as error:
            raise UsageError(
                f"`{self.made.factory}` now makes a different module from the one that was trained: {error}",
                hint="use the code that trained it, or train again",
            ) from error
        return module.eval()

    def predict(self, table: Any) -> Any:
        """Return the likeliest class of each row, or the predicted value, as a NumPy array."""
        if self.lesson.classes is None:
            return self._answers(table)
        classes = np.asarray(self.lesson.classes)
        return classes[self.predict_proba(table).argmax(1)]

    def predict_proba(self, table: Any) -> Any:
        """Return the probability of each class for each row, `[rows, classes]`, in the order of `classes`.

        Raises:
            UsageError: the network predicts a number.
        """
        if self.lesson.classes is None:
            raise UsageError(f"`{self.lesson.target}` is a number, which has no classes", hint="use `predict`")
        found = self._answers(table).astype(np.float64)
        if self.lesson.answer == "logit":
            found = np.stack([np.zeros(len(found)), found], 1)  # sigmoid(x) = softmax(0, x)
        scores = np.exp(found - found.max(1, keepdims=True))
        return scores / scores.sum(1, keepdims=True)

    @property
    def classes_(self) -> Any:
        """The classes, in the order of the columns of `predict_proba`. scikit-learn uses the same name."""
        return np.asarray(self.lesson.classes or ())

    def _answers(self, table: Any) -> Any:
        check_table("train.Network", "table", table, pa.Table)
        if not table.num_rows:
            return np.empty((0, self.lesson.outputs) if self.lesson.answer == "classes" else 0, np.float32)
        return np.concatenate(list(self._parts(table)))

    def _parts(self, table: pa.Table) -> Iterator[Any]:
        import torch  # noqa: PLC0415  2 s, which the tracer and readers save

        module, given = self.module(), self.lesson.given(table, "the table")
        with torch.no_grad():
            for batch in Loader(given, batch_size=BATCH_ROWS, columns=self.lesson.columns, shuffle=False):
                tensors = {name: torch.from_numpy(np.asarray(each)) for name, each in batch.items()}
                yield self.lesson.answered(module, tensors).float().numpy()
