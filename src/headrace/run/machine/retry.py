"""When a failed attempt is followed by another: each kind of failure has its own rule."""

from __future__ import annotations

from msgspec import Struct

from headrace.spec.failure import FailureKind
from headrace.spec.stage import Stage

LONGEST_PAUSE_S = 300.0


class Rule(Struct, frozen=True):
    """How a kind of failure is retried.

    `free` failures don't count against the stage's own `retries`; where `counted` is false, they are all there is.
    `pauses`: the next attempt waits, twice as long each time.
    """

    free: int
    counted: bool
    pauses: bool


RULES: dict[FailureKind, Rule] = {
    "user": Rule(0, True, True),  # the same input may well raise again: give the world time to change
    "timeout": Rule(0, True, False),  # it has waited long enough
    "memory": Rule(0, True, True),  # others may leave the machine meanwhile
    "crash": Rule(0, True, False),  # a segfault is as likely now as later
    "lost": Rule(5, False, False),  # not the task's fault
    "refused": Rule(2, False, True),  # a store or a disk that may come back
    "cancelled": Rule(0, False, False),
}


class Retry(Struct, frozen=True):
    """Whether to try again, after how many seconds, and why."""

    again: bool
    pause_s: float
    why: str


def retry(stage: Stage, kind: FailureKind, failures: dict[FailureKind, int], jitter: float) -> Retry:
    """Decide about the next attempt, after `failures` (by kind, this one included).

    The pause is `backoff` x 2^(n-1) for the n-th failure of the kind, spread by half of itself (`jitter` from 0 to 1)
    so that a herd of retries doesn't come back as a herd.
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
