"""A stage: a typed Python function with a declaration of its kind, resources, retries, timeout and cache."""

from __future__ import annotations

import math
from typing import Literal

from headrace.errors import DefinitionError
from headrace.spec.code import Code
from headrace.spec.noun import Row

Kind = Literal["ingest", "prepare", "train", "evaluate", "deploy", "monitor", "stage"]
Cache = Literal["always", "run", "never"]
Isolation = Literal["warm", "fresh"]
_DIGITS = 6
WHO_LIMIT = 100
"""The longest text that says who approves a stage, in characters."""
KINDS: tuple[Kind, ...] = ("ingest", "prepare", "train", "evaluate", "deploy", "monitor", "stage")


class Resources(Row, frozen=True):
    """The resources that one attempt needs.

    `cpu` is the number of cpus, which may be a fraction. `memory_gib` is the memory in GiB (0: not declared). `gpu` is
    a count of accelerators, `"1"`, or a kind and a count, `"A100:1"` (None: no accelerator). `nodes` is the number of
    nodes.
    """

    cpu: float = 1.0
    memory_gib: float = 0.0
    gpu: str | None = None
    nodes: int = 1

    def __post_init__(self) -> None:
        if not _is_number(self.cpu) or not 0 < self.cpu <= 4096:
            raise DefinitionError(f"`cpu` is {self.cpu!r}", hint="give a number of cpus above 0 and up to 4096")
        if not _is_number(self.memory_gib) or not 0 <= self.memory_gib <= 65536:
            raise DefinitionError(f"`memory_gib` is {self.memory_gib!r}", hint="give a number of GiB from 0 to 65536")
        if not _is_whole(self.nodes) or not 1 <= self.nodes <= 10_000:
            raise DefinitionError(f"`nodes` is {self.nodes!r}", hint="give a whole number of nodes from 1 to 10000")
        if self.gpu is not None and self.gpus < 0:
            shown = repr(self.gpu) if len(repr(self.gpu)) < 40 else f"{repr(self.gpu)[:40]}..."
            raise DefinitionError(f"`gpu` is {shown}", hint='give a count, "1", or a kind and a count, "A100:1"')

    @property
    def gpus(self) -> int:
        """The number of accelerators that `gpu` asks for; -1 if `gpu` isn't valid."""
        if self.gpu is None:
            return 0
        count = self.gpu.rpartition(":")[2] if _is_text(self.gpu) else ""
        return int(count) if count.isdecimal() and len(count) <= _DIGITS else -1

    @property
    def gpu_kind(self) -> str | None:
        """The kind of accelerator that `gpu` asks for, such as `A100`, or None for any kind."""
        return (self.gpu.rpartition(":")[0] or None) if self.gpu else None

    def __str__(self) -> str:
        words = [f"cpu={self.cpu:g}"]
        if self.memory_gib:
            words.append(f"memory_gib={self.memory_gib:g}")
        if self.gpu:
            words.append(f"gpu={self.gpu}")
        if self.nodes > 1:
            words.append(f"nodes={self.nodes}")
        return " ".join(words)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


MOVED = {
    "headrace.stages.evaluate.classifying": "headrace.stages.evaluate._classification.classification",
    "headrace.stages.evaluate.gates": "headrace.stages.evaluate._gate.gate",
    "headrace.stages.evaluate.generating": "headrace.stages.evaluate._generation",
    "headrace.stages.evaluate.pairing": "headrace.stages.evaluate._paired",
    "headrace.stages.evaluate.regressing": "headrace.stages.evaluate._regression",
    "headrace.stages.ingest.contract.check": "headrace.stages.ingest._check.check",
    "headrace.stages.ingest.database.stages": "headrace.stages.ingest._sql.stages",
    "headrace.stages.ingest.folders": "headrace.stages.ingest._files.files",
    "headrace.stages.ingest.logfiles": "headrace.stages.ingest._logs.logs",
    "headrace.stages.ingest.web": "headrace.stages.ingest._http.http",
    "headrace.stages.prepare.cleaning": "headrace.stages.prepare._clean.clean",
    "headrace.stages.prepare.people": "headrace.stages.prepare._labels.labels",
    "headrace.stages.prepare.preparation": "headrace.stages.prepare._clean.preparation",
    "headrace.stages.prepare.splitting": "headrace.stages.prepare._split.split",
    "headrace.stages.prepare.tokens": "headrace.stages.prepare._tokenize.tokenize",
    "headrace.stages.prepare.transformation": "headrace.stages.prepare._transform",
    "headrace.stages.prepare.vocabulary": "headrace.stages.prepare._tokenize.tokenizer",
    "headrace.stages.prepare.weak": "headrace.stages.prepare._labels.label",
    "headrace.stages.train.applying": "headrace.stages.train._finetune.predict",
    "headrace.stages.train.boosting": "headrace.stages.train._lightgbm",
    "headrace.stages.train.deep": "headrace.stages.train._torch.torch",
    "headrace.stages.train.estimators": "headrace.stages.train._sklearn",
    "headrace.stages.train.searching": "headrace.stages.train._search",
    "headrace.stages.train.tuning": "headrace.stages.train._finetune.finetune",
}
"""The modules that now define ready-made stages, by the modules' old names.

Graphs always use the old names, so a run can still be read, resumed and explained after its stages have moved to
another module.
"""
_NAMED = {now: named for named, now in MOVED.items()}


def function_name(module: str, qualname: str) -> str:
    """Return the name that graphs and `Do` messages use for a stage's function: `module:qualname`."""
    return f"{_NAMED.get(module, module)}:{qualname}"


def function_place(name: str) -> tuple[str, str]:
    """Return the module that defines a stage's function and the function's qualified name, from its name in a graph."""
    module, _, qualname = name.partition("#")[0].partition(":")
    return MOVED.get(module, module), qualname


class Stage(Row, frozen=True):
    """The declaration of a stage, and the code that its function reaches.

    `function` is `module:qualname` within the bundle. `retries` is how often a failed task is tried again. `backoff_s`
    is the pause before the first retry in seconds; the pause doubles with each further retry. `timeout_s` is the
    longest time of an attempt in seconds (None: no limit). `defaults` names the parameters that have a default.
    `approval` says by whom each run of the stage must be approved (None: by nobody), within `within_s` seconds (None:
    at any time).
    """

    name: str
    function: str
    kind: Kind = "stage"
    resources: Resources = Resources()
    retries: int = 0
    backoff_s: float = 1.0
    timeout_s: float | None = None
    cache: Cache = "always"
    isolation: Isolation = "warm"
    portable: bool = False
    environment: str | None = None
    defaults: tuple[str, ...] = ()
    code: Code = Code(digest="")
    approval: str | None = None
    within_s: float | None = None

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise DefinitionError(f"stage `{self.name}` has retries={self.retries}", hint="give 0 or more")
        if self.retries > 1000:
            raise DefinitionError(f"stage `{self.name}` has retries={self.retries}", hint="give 1000 or fewer")
        if self.timeout_s is not None and not 0 < self.timeout_s < math.inf:
            raise DefinitionError(
                f"stage `{self.name}` has timeout={self.timeout_s:g} s",
                hint="give a time above 0, or none for no limit",
            )
        if not 0 <= self.backoff_s < math.inf:
            raise DefinitionError(f"stage `{self.name}` has backoff={self.backoff_s:g} s", hint="give 0 or more")
        if self.approval is not None and not (self.approval.strip() and len(self.approval) <= WHO_LIMIT):
            raise DefinitionError(
                f"stage `{self.name}` has approval={self.approval[:WHO_LIMIT]!r}",
                hint=f"say in up to {WHO_LIMIT} characters who approves it, such as 'risk-team'",
            )
        if self.within_s is not None and (self.approval is None or not 0 < self.within_s < math.inf):
            raise DefinitionError(
                f"stage `{self.name}` has within={self.within_s:g} s",
                hint="give a time above 0, together with `approval`",
            )
        if self.kind not in KINDS:
            raise DefinitionError(f"stage `{self.name}` has kind={self.kind!r}", hint=f"give one of {', '.join(KINDS)}")

    @property
    def asks(self) -> str:
        """The end of a planned task's reason: who must approve the task before it runs. Empty if nobody must."""
        return "" if self.approval is None else f"; waits for approval by {self.approval} first"
