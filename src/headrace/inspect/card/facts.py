"""A model card as plain values: all that the record knows of a model, and nothing that somebody would have to add."""

from __future__ import annotations

from msgspec import Struct

from headrace.inspect.metrics.metrics import Reading
from headrace.inspect.reports import Judged, Logged


class Named(Struct, frozen=True, kw_only=True):
    """A version of a model or dataset, and the aliases that point at it, with why one does though a report says no.

    `preparation` is the digest of what prepares rows for it.
    """

    kind: str
    name: str
    version: int
    aliases: tuple[str, ...] = ()
    note: str = ""
    preparation: str | None = None
    forced: dict[str, str] = {}


class Made(Struct, frozen=True, kw_only=True):
    """A task that the model is made of, or that judged it. `run` is the one it ran in, which may be an earlier one.

    `arguments` are the values that the pipeline gave it, `needs` the tasks whose outputs it got. `rows` and `columns`
    are those of a table, where it gave one that can be counted; of several, `tables` has the rows by their names.
    Where `run` is forgotten, what it took (`seconds`, `cpu_s`, `usd`) is None, and an earlier one may have done it.
    """

    task: str
    stage: str
    kind: str
    function: str
    run: str
    state: str
    arguments: dict[str, str]
    needs: tuple[str, ...]
    type: str
    bytes: int
    digest: str
    seconds: float | None
    cpu_s: float | None
    usd: float | None
    rows: int | None = None
    columns: int | None = None
    tables: dict[str, int] = {}

    @property
    def is_forgotten(self) -> bool:
        """Whether the run that it ran in is forgotten, and with it what it took."""
        return self.seconds is None


class Training(Struct, frozen=True, kw_only=True):
    """How the model was trained. `peak_gib` is the peak of the worker's memory; `seeds` are arguments named so.

    Where the run that did it is forgotten, times and counts are None, and what only that run knew is empty.
    """

    task: Made
    at: float | None
    parameters: dict[str, str]
    seeds: dict[str, str]
    attempts: int | None
    load_s: float | None
    save_s: float | None
    peak_gib: float | None
    pool: str
    user: str
    headrace: str
    platform: str
    lock: str
    packages: dict[str, str]
    curves: tuple[Logged, ...] = ()


class Source(Struct, frozen=True, kw_only=True):
    """The code of the training: `parts` are the functions, classes and constants that it reaches, by name.

    `changed` are those that differ from the run `against`; `notes` say where the key is coarser than the function.
    """

    bundle: str
    parts: tuple[str, ...]
    changed: tuple[str, ...]
    against: str | None
    notes: tuple[str, ...]


class Card(Struct, frozen=True, kw_only=True):
    """A model card. `passed` is whether all reports on the model did; None where none had to.

    `data` are the tasks that the model was made of, what came first first, with their reports in `checks`; `results`
    are the reports on the model, and `numbers` what its training and the tasks after it gave beside them. `get` are
    the ways to have it. What all of it took is None where a run that did some of it is forgotten.
    """

    title: str
    pipeline: str
    run: str
    task: str
    type: str
    codec: str
    bytes: int
    digest: str
    passed: bool | None
    names: tuple[Named, ...]
    data: tuple[Made, ...]
    checks: tuple[Judged, ...]
    training: Training
    results: tuple[Judged, ...]
    numbers: tuple[Reading, ...]
    code: Source
    seconds: float | None
    cpu_s: float | None
    usd: float | None
    limits: tuple[str, ...]
    get: tuple[str, ...]

    @property
    def is_judged_by_training(self) -> bool:
        """Whether nobody but the training itself reports on the model."""
        return all(each.task == self.training.task.task for each in self.results)
