"""What the user wants of a run, apart from its result."""

from __future__ import annotations

from headrace.spec.noun import Row

NOT_ASKED = "not asked for (`--only`)"
"""Why a task is skipped that `only` leaves out: what shows a run's progress or a plan leaves it out too."""

TOO_LONG = "the run took longer than"
"""How it begins why a run was ended that had no time left."""

OURS = frozenset({"config", "detach", "force", "help", "json", "only", "param", "pool", "timeout"})
"""Options of the commands that take a pipeline: a parameter of such a name is given by `--param NAME=VALUE`."""


class Policy(Row, frozen=True):
    """`only`: stages to run, with what they need. `force`: stages to run though their output could be reused.

    `timeout_s` ends the run when it has taken that long. `pool` names the one to use; None: the project's own choice.
    """

    only: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    timeout_s: float | None = None
    pool: str | None = None
