"""Names the requests that a model's process was answering when it ended, for the server's log: one of them may be the
reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from headrace.errors import text_of
from headrace.models.predicted import plain
from headrace.models.streams import table_in
from headrace.serve.predictions.prediction import Form
from headrace.spec.noun import Noun

FIRST_ROWS = 3
"""How many of a request's rows are shown."""
MOST_SHOWN = 1_000
"""How many characters of these rows are shown."""
MOST_NAMED = 100
"""How many requests that were sent together are named; the others are only counted."""


class Suspect(Noun, frozen=True):
    """A request for `count` rows that came at the time `at` (Unix seconds). `trace` is its `traceparent`. `given`
    returns at least the first of its rows as they would be in the prediction log, in the form `form`. It is None if the
    endpoint logs no predictions: then nothing of the rows is shown."""

    at: float
    trace: str
    count: int
    form: Form
    given: Callable[[], bytes] | None

    def text(self) -> str:
        """Return the time, the number of rows, the trace, and the first rows as JSON."""
        when = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        trace = f", trace {self.trace}" * bool(self.trace)
        return f"{when}, {self.count:,} row{'s' * (self.count != 1)}{trace}: {self._shown()}"

    def _shown(self) -> str:
        if self.given is None:
            return "its columns aren't shown, because the endpoint's log is off"
        try:
            rows = _rows(self.given(), self.form)
            text = " ".join(msgspec.json.encode(row, enc_hook=str).decode() for row in rows)
        except Exception as error:  # noqa: BLE001  whatever it is: the model must be started again
            return f"its rows can't be shown: {text_of(error)}"
        is_cut = len(text) > MOST_SHOWN
        more = f" and {self.count - FIRST_ROWS:,} more" if self.count > FIRST_ROWS and not is_cut else ""
        return f"{text[:MOST_SHOWN]}…" if is_cut else f"{text}{more}"


def named(version: str, suspects: Sequence[Suspect]) -> Iterator[str]:
    """Yield a line for each request that the process of a version was answering when it ended."""
    others = len(suspects) - 1
    beside = f" together with {others:,} other{'s' * (others != 1)}" if others else ""
    for each in suspects[:MOST_NAMED]:
        yield f"{version} was answering this request{beside} when its process ended: {each.text()}"
    more = len(suspects) - MOST_NAMED
    if more > 0:
        yield f"{version} was also answering {more:,} more request{'s' * (more != 1)}"


def _rows(given: bytes, form: Form) -> list[dict[str, Any]]:
    """Return the first rows of a request."""
    if form == "json":
        rows: list[dict[str, Any]] = msgspec.json.decode(given)
        return rows[:FIRST_ROWS]
    table = table_in(given).slice(0, FIRST_ROWS)
    columns = [[plain(value) for value in column] for column in table.columns]
    return [
        {name: values[place] for name, values in zip(table.column_names, columns, strict=True)}
        for place in range(table.num_rows)
    ]
