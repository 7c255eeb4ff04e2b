"""Answers and feedback, as an endpoint logs them."""

from __future__ import annotations

from hypothesis import strategies as st

from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.prediction import Answered

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def answered(number: int = 0, *, count: int = 1, given: bytes | None = None) -> Answered:
    """Return the answers to a request."""
    return Answered(
        count=count,
        at=1_000.0 + number,
        endpoint="delays",
        variant="main",
        version="delays:3",
        form="json",
        given=b"[%s]" % b",".join([b'{"x": 1}'] * count) if given is None else given,
        answers=b"[%s]" % b",".join([b'{"predicted": %d}' % number] * count),
        latency_s=0.002,
        salt=number,
    )


def feedback(number: int = 0, *, of: str = "0a1b2c3d4e5f-1-0-0000000000000000") -> Feedback:
    """Return the feedback of a request."""
    return Feedback(endpoint="delays", source="billing", at=1_000.0 + number, labels=((of, number),))


@st.composite
def any_feedback(draw: st.DrawFn) -> Feedback:
    """Draw the feedback of any request."""
    label = st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    return Feedback(
        endpoint=draw(TEXTS),
        source=draw(TEXTS),
        at=draw(st.floats(0, 1e10)),
        labels=tuple(draw(st.lists(st.tuples(TEXTS, label | TEXTS), min_size=1, max_size=4))),
    )


@st.composite
def any_answered(draw: st.DrawFn) -> Answered:
    """Draw the answers to any request."""
    count = draw(st.integers(1, 5))
    return Answered(
        count=count,
        at=draw(st.floats(0, 1e10)),
        endpoint=draw(TEXTS),
        variant=draw(TEXTS),
        version=draw(TEXTS),
        form=draw(st.sampled_from(["json", "arrow"])),
        given=draw(st.binary(max_size=200)),
        answers=draw(st.none() | st.binary(max_size=200)),
        latency_s=draw(st.floats(0, 1e6)),
        salt=draw(st.integers(0, (1 << 64) - 1)),
        names=tuple(draw(st.lists(TEXTS, min_size=count, max_size=count) | st.just([]))),
        trace=draw(TEXTS),
        why=draw(TEXTS),
    )
