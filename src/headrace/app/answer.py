"""What programs are told with `--json`: a run and its tasks, in the stable form of docs/design.md, section 7."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType


class OutputAnswer(Struct, frozen=True, kw_only=True):
    """An artifact that a task gave."""

    digest: str
    type: str
    bytes: int


class TaskAnswer(Struct, frozen=True, kw_only=True):
    """A task; `seconds` are those of the user's code."""

    name: str
    stage: str
    kind: str
    state: str
    reason: str
    attempts: int
    seconds: float
    load_s: float
    save_s: float
    usd: float
    pool: str | None
    outputs: tuple[OutputAnswer, ...]


class RunAnswer(Struct, frozen=True, kw_only=True):
    """A run; `tasks` is left out where runs are only listed. `why` says why it failed, was cancelled or refused."""

    run: str
    pipeline: str
    state: str
    created: float
    seconds: float
    usd: float
    params: dict[str, str]
    why: str
    tasks: tuple[TaskAnswer, ...] | UnsetType = UNSET
