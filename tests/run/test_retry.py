"""Each kind of failure has its own retry rule."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.run.machine.retry import LONGEST_PAUSE_S, RULES, retry
from headrace.spec.failure import FailureKind
from headrace.testing.graphs import stage


def test_each_kind_of_failure_has_a_rule() -> None:
    assert set(RULES) == set(get_args(FailureKind))


@pytest.mark.parametrize("kind", ["user", "timeout", "memory", "crash"])
def test_what_may_be_the_task_s_fault_is_retried_as_often_as_the_stage_says(kind: FailureKind) -> None:
    assert not retry(stage("s"), kind, {kind: 1}, 0.0).again
    assert retry(stage("s", retries=1), kind, {kind: 1}, 0.0).again
    assert not retry(stage("s", retries=1), kind, {kind: 2}, 0.0).again


def test_failures_of_several_kinds_count_together() -> None:
    assert not retry(stage("s", retries=1), "crash", {"user": 1, "crash": 1}, 0.0).again


def test_what_is_nobody_s_fault_does_not_count() -> None:
    assert retry(stage("s"), "lost", {"lost": 5}, 0.0).again
    assert not retry(stage("s"), "lost", {"lost": 6}, 0.0).again
    assert retry(stage("s", retries=1), "user", {"lost": 5, "user": 1}, 0.0).again


def test_a_cancelled_attempt_is_not_tried_again() -> None:
    assert not retry(stage("s", retries=9), "cancelled", {"cancelled": 1}, 0.0).again


@given(st.integers(1, 1000), st.floats(0, 1), st.floats(0.001, 60))
def test_the_pause_doubles_up_to_a_limit_and_is_spread_by_half(count: int, jitter: float, backoff_s: float) -> None:
    found = retry(stage("s", retries=1000, backoff_s=backoff_s), "user", {"user": count}, jitter)
    assert found.again
    least = min(LONGEST_PAUSE_S, backoff_s * 2.0 ** (count - 1))
    assert least <= found.pause_s <= 1.5 * least + 1e-9


@pytest.mark.parametrize("kind", ["timeout", "crash", "lost"])
def test_some_failures_are_followed_at_once(kind: FailureKind) -> None:
    assert retry(stage("s", retries=3, backoff_s=9.0), kind, {kind: 1}, 1.0).pause_s == 0.0
