"""Networks that `train.torch` trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from headrace.models.estimator import Estimator
from headrace.models.scores import INTO

NETWORK = "headrace.stages.train._torch.network.Network"
"""The class of these models. They have the methods of scikit-learn, but take tables."""


class Network(Estimator):
    """A network. It reads its columns from the whole table, and knows its categories itself."""

    @property
    def chosen_on(self) -> object:
        """The network's sketch."""
        return getattr(self._model, "chosen_on", "")

    def takes(self, there: Sequence[str]) -> list[str]:
        """Return the columns that the network learned from."""
        del there
        return list(self._model.lesson.shown)

    def answers(self, table: pa.Table, columns: Sequence[str], into: str = INTO) -> dict[str, Any]:
        """Return classes and their probabilities, or the numbers that the network predicts."""
        if self._model.lesson.classes is None:
            return {into: self.numbers(table, columns)}
        return super().answers(table, columns, into)

    def given(self, table: pa.Table, columns: Sequence[str]) -> Any:
        """Return the rows as they are: the network reads tables."""
        del columns
        return table
