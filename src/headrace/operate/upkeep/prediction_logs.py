"""Prediction logs as the garbage collector needs them: how long they are kept, and how their tables are made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from headrace.codec.codecs import Codecs
from headrace.codec.joined import Slice
from headrace.errors import HeadraceError
from headrace.ledger.upkeep.old_parts import Together
from headrace.models.labels import LABELS
from headrace.models.predicted import none
from headrace.project.project import Project
from headrace.project.state import open_store, reading_store
from headrace.spec.artifact import Ref, slice_of


class LogRules:
    """The settings `keep` of `[serve]` and `[endpoint.NAME]`, and the tables of the parts."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._codecs = Codecs()

    def seconds(self, endpoint: str) -> float | None:
        """Return how many seconds the endpoint's predictions and labels are kept, or None if they are kept forever."""
        return self._project.config.of_endpoint(endpoint).keep_s

    def empty(self, *, is_labels: bool) -> Ref:
        """Store the table of a part without predictions, or without labels, and return it."""
        return self._codecs.save(LABELS.empty_table() if is_labels else none(), open_store(self._project))

    def merged(self, outs: Sequence[Ref], beat: Callable[[], None], *, dry_run: bool) -> list[Together]:
        """Store larger tables, each of those in `outs` that have the same schema. What can't be read is left alone, and
        so are tables with columns of dictionary types. `beat` is called once for each table."""
        alike = defaultdict[bytes, list[tuple[int, pa.Table]]](list)
        for place, table in self._tables(outs, beat):
            if not any(map(_has_dictionary, table.schema.types)):
                alike[table.schema.serialize().to_pybytes()].append((place, table))
        return [
            Together(places=tuple(place for place, _ in its), outs=() if dry_run else self._slices(its))
            for its in alike.values()
            if len(its) > 1 or slice_of(outs[its[0][0]]) is not None
        ]

    def _tables(self, outs: Sequence[Ref], beat: Callable[[], None]) -> Iterator[tuple[int, pa.Table]]:
        """Yield the tables that can be read, each with its place in `outs`. A table of several slices is read once."""
        store, last = reading_store(self._project), None
        for place, out in enumerate(outs):
            beat()
            found = slice_of(out)
            whole = out if found is None else found[0]
            try:
                last = last if last is not None and last[0] == whole else (whole, self._codecs.load(whole, store))
            except HeadraceError:
                continue  # `headrace fsck` reports it
            table = last[1]
            if isinstance(table, pa.Table):  # an archive may bring anything
                yield place, table if found is None else table.slice(found[1].start, found[1].count)

    def _slices(self, tables: Sequence[tuple[int, pa.Table]]) -> tuple[Ref, ...]:
        """Store these tables as one table, and return its slices."""
        store, whole, start, found = open_store(self._project), pa.concat_tables(each for _, each in tables), 0, []
        for _, table in tables:
            found.append(self._codecs.save(Slice(whole, start, table.num_rows), store))
            start += table.num_rows
        return tuple(found)


def _has_dictionary(kind: pa.DataType) -> bool:
    """Return whether values of a type contain dictionaries, which are one for a whole table."""
    inner = (kind.field(place).type for place in range(kind.num_fields))
    return pa.types.is_dictionary(kind) or any(map(_has_dictionary, inner))
