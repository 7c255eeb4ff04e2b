"""Pipelines as files have them written, which nobody runs."""

from __future__ import annotations

from headrace.project.pipelines import pipelines_in

CHOICES = b"""
import enum
from typing import Literal, Optional

import headrace as hr


class Mode(enum.StrEnum):
    FAST = "fast"
    SLOW = "slow"


class Depth(enum.Enum):
    A, B = range(2)


@hr.pipeline
def train(
    mode: Mode,
    kind: Literal["a", "b"] = "a",
    other: Mode | None = None,
    trials: Optional[int] = None,
    again: Mode = Mode.SLOW,
    depth: Depth = Depth.A,
    text: str = "x",
):
    pass
"""


def test_what_may_be_chosen_is_listed_as_a_command_is_given_it() -> None:
    (found,) = pipelines_in(CHOICES, "flow.py")
    assert dict(zip(found.parameters, found.about, strict=True)) == {
        "mode": "fast or slow, must be given",
        "kind": "a or b, a if not given",
        "other": "fast or slow, None if not given",
        "trials": "int, None if not given",
        "again": "fast or slow, slow if not given",
        "depth": "Depth, Depth.A if not given",
        "text": "str, 'x' if not given",
    }
    assert found.defaults["again"] == "slow"
