"""The rules for trying again after a failed attempt, one for each kind of failure."""

from __future__ import annotations

from msgspec import Struct

from headrace.spec.failure import FailureKind
from headrace.spec.stage import Stage

LONGEST_PAUSE_S = 300.0


class Rule(Struct, frozen=True):
    """The rule for trying again after one kind of failure.

    If `counted` is True, these failures count against the stage's own `retries`; otherwise the task is tried again
    `free` times. If `pauses` is True, there is a pause before each retry. Each pause is twice as long as the one
    before it.
    """

    free: int
    counted: bool
    pauses: bool


RULES: dict[FailureKind, Rule] = {
    "user": Rule(0, True, True),  # an immediate retry would probably fail again; the cause may go away later
    "timeout": Rule(0, True, False),  # the attempt has waited long enough
    "memory": Rule(0, True, True),  # other processes may free memory meanwhile
    "crash": Rule(0, True, False),  # a segfault is as likely now as later
    "lost": Rule(5, False, False),  # not the task's fault
    "refused": Rule(2, False, True),  # a store or a disk may come back
    "cancelled": Rule(0, False, False),
}


class Retry(Struct, frozen=True):
    """The decision whether to try again, after how many seconds, and why."""

    again: bool
    pause_s: float
    why: str


def retry(stage: Stage, kind: FailureKind, failures: dict[FailureKind, int], jitter: float) -> Retry:
    """Return whether a task is tried again after a failure of this kind, after what pause, and why.

    `failures` has the number of the task's failures of each kind, including this failure.

    The pause is `backoff` x 2^(n-1) for the n-th failure of the kind. It is made longer by up to half of itself
    (`jitter` from 0 to 1), so that many retries do not come at once.
    """
    rule = RULES[kind]
    count = failures[kind]
    counted = sum(number for name, number in failures.items() if RULES[name].counted)
    allowed = stage.retries if rule.counted else rule.free
    used = counted if rule.counted else count
    if used > allowed:
        of = f" after {used} attempts" if used > 1 else ""
        return Retry(False, 0.0, f"{kind}{of}")
    pause = min(LONGEST_PAUSE_S, stage.backoff_s * 2 ** (count - 1)) * (1 + jitter / 2) if rule.pauses else 0.0
    return Retry(True, pause, f"{kind}; attempt {sum(failures.values()) + 1} of {allowed + 1}")
