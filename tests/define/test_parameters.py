"""A pipeline's parameters as a command gives them: text, which becomes values by the annotations."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Any, Literal

import pytest

import headrace as hr
from headrace.define.pipeline import convert
from headrace.errors import UsageError


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


@hr.pipeline
def every(
    when: dt.datetime | None = None,
    at: dt.time = dt.time(8),
    mode: Mode = Mode.FAST,
    kind: Literal["a", "b"] | None = None,
    trials: int | None = None,
    rows: list[int] | None = None,
) -> None:
    pass


@hr.pipeline
def chosen(mode: Mode) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("when", "2025-02-03T10:00:05", dt.datetime(2025, 2, 3, 10, 0, 5)),  # noqa: DTZ001  as it was given
        ("when", "2025-02-03T10:00", dt.datetime(2025, 2, 3, 10)),  # noqa: DTZ001  as above
        ("when", "2025-02-03T10:00Z", dt.datetime(2025, 2, 3, 10, tzinfo=dt.UTC)),
        ("when", "null", None),
        ("at", "09:30", dt.time(9, 30)),
        ("mode", "slow", Mode.SLOW),
        ("kind", "b", "b"),
        ("trials", "3", 3),
        ("rows", "[1, 2]", [1, 2]),
    ],
)
def test_a_text_becomes_what_the_annotation_says(name: str, text: str, value: Any) -> None:
    assert convert(every, [(name, text)]) == {name: value}


@pytest.mark.parametrize(
    ("name", "text", "told", "hint"),
    [
        ("mode", "quick", "'quick', which can't be read as", "give it as `--mode fast` or `slow`"),
        ("kind", "c", "which can't be read as `Literal['a', 'b']`", "give it as `--kind a` or `b`"),
        ("trials", "x", "is 'x', which can't be read as `int`", "give it as `--trials 3`"),
        (
            "trials",
            "true",
            "is 'true', which can't be read as `int`",
            "give it as `--trials 3`: an option without a value is `true`",
        ),
        ("when", "soon", "which can't be read as `datetime.datetime`", "give it as `--when 2025-12-31T08:00:00`"),
        (
            "when",
            "2025-02-30T10:00",
            "which can't be read as `datetime.datetime`",
            "give it as `--when 2025-12-31T08:00:00`",
        ),
    ],
)
def test_a_text_that_is_none_is_told_with_what_may_be_given(name: str, text: str, told: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        convert(every, [(name, text)])
    assert told in caught.value.message
    assert caught.value.hint == hint


def test_a_parameter_that_is_missing_is_told_with_its_choices() -> None:
    with pytest.raises(UsageError, match="needs `mode`") as caught:
        convert(chosen, [])
    assert caught.value.hint == "give it as `--mode fast` or `slow`"
