"""A model card as plain values: everything that the record knows about a model, with nothing for users to add."""

from __future__ import annotations

from msgspec import Struct

from headrace.inspect.metrics.metrics import Reading
from headrace.inspect.reports import Judged, Logged
from headrace.spec.signature import Signature


class Named(Struct, frozen=True, kw_only=True):
    """A version of a model or dataset, with the aliases that point to it.

    `preparation` is the digest of the preparation that the model's input rows need, the name of the function that
    prepares them (with dots), or None. `forced` holds, for each alias that was set although a report did not pass, the
    reason that was given.
    """

    kind: str
    name: str
    version: int
    aliases: tuple[str, ...] = ()
    note: str = ""
    preparation: str | None = None
    forced: dict[str, str] = {}


class Made(Struct, frozen=True, kw_only=True):
    """A task that helped to make the model, or that judged the model. `run` is the run in which the task really ran,
    which may be an earlier one.

    `arguments` are the values that the pipeline passed to the task, and `needs` are the tasks whose outputs it took. If
    the output is a table that can be counted, `rows` and `columns` are the numbers of its rows and columns. If the
    output has several tables, `tables` holds the number of rows of each, by name, or None if it isn't known. `erased`
    are the names of the tables that were erased since together with a person's data (an output that is one table has
    the name ""), and `erasures` are the ids of the erasures that erased anything in the output. If `run` is forgotten
    (deleted by `headrace gc`), `seconds`, `cpu_s` and `usd` are None, and an even earlier run may have done the work.
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
    tables: dict[str, int | None] = {}
    erased: tuple[str, ...] = ()
    erasures: tuple[str, ...] = ()

    @property
    def is_forgotten(self) -> bool:
        """Whether the run of the task is forgotten, so that the task's time and cost are unknown."""
        return self.seconds is None


class Training(Struct, frozen=True, kw_only=True):
    """The facts about the model's training. `peak_gib` is the peak of the worker's memory. `seeds` are the arguments
    and parameters whose names end in `seed` or `random_state`.

    If the run of the training is forgotten, times and counts are None, and fields that only that run could fill are
    empty.
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


class Agreed(Struct, frozen=True, kw_only=True):
    """A decision about a task that waited for an approval. `asked` names who should approve the task, as the stage
    says. `authors` are the users who gave the run its code, starting with the user who started the run.

    `decision` is `approved`, `rejected` or `too late` (nobody decided in time: then `by` and `why` are empty). `at` is
    the time of the decision, in Unix seconds. `of` has, by parameter, the digests of the outputs of other tasks that
    the task would take, such as a model and its report. The decision holds only for these outputs.
    """

    run: str
    task: str
    asked: str
    authors: tuple[str, ...]
    decision: str
    by: str
    why: str
    at: float
    of: dict[str, str]


class Source(Struct, frozen=True, kw_only=True):
    """The code of the training. `parts` are the names of the functions, classes and constants that the training
    function reaches.

    `changed` are the names of the parts that were different in the run `against`. `notes` say where the task's key
    covers more code than the task uses.
    """

    bundle: str
    parts: tuple[str, ...]
    changed: tuple[str, ...]
    against: str | None
    notes: tuple[str, ...]


class Card(Struct, frozen=True, kw_only=True):
    """A model card. `passed` is whether all reports on the model passed; it is None if no report has a rule.

    `data` are the tasks before the training that the model depends on, in order, and `checks` are their reports.
    `results` are the reports on the model, and `numbers` are other numbers from its training and the tasks after it.
    `approvals` are the decisions about tasks that use the model, and about tasks that registered it in other runs.
    `get` are ways to get the model. `signature` says what the model takes and gives, if that is recorded. If rows are
    prepared for the version before the model takes them, `is_prepared` is true, and `sent` says which rows clients
    send, if that is recorded. The total time and cost are None if a run that did some of the work is forgotten.
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
    signature: Signature | None = None
    is_prepared: bool = False
    sent: Signature | None = None
    approvals: tuple[Agreed, ...] = ()

    @property
    def is_judged_by_training(self) -> bool:
        """Whether only the training itself reports on the model."""
        return all(each.task == self.training.task.task for each in self.results)
