"""The options that a user sets for a run."""

from __future__ import annotations

from headrace.spec.noun import Row

NOT_ASKED = "not asked for (`--only`)"
"""The reason of a task that is skipped because of `only`. Plans and progress displays don't show such a task."""

TOO_LONG = "the run took longer than"
"""If a run was ended because it took longer than `timeout_s`, the reason begins with this text."""

OURS = frozenset({"config", "detach", "force", "help", "json", "only", "param", "pool", "timeout"})
"""The options of the commands that take a pipeline. If a pipeline's parameter has one of these names, users pass it as
`--param NAME=VALUE`."""


class Policy(Row, frozen=True):
    """The options of one run.

    `only` names the stages to run; the stages that they need are run too. `force` names the stages to run even if their
    output could be reused. `timeout_s` is the longest time in seconds that the run may take (None: no limit). `pool`
    has the names of the pools to use, separated by commas (None: the project's own choice). With `approve_own`,
    whoever started the run or gave it new code may also approve its tasks.
    """

    only: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    timeout_s: float | None = None
    pool: str | None = None
    approve_own: bool = False
