"""What a call of a stage says of wrong arguments."""

from __future__ import annotations

import pytest

import headrace as hr
from headrace.define.call import bind
from headrace.errors import TraceError


@hr.stage
def fit(table: dict[str, float], *, depth: int = 6) -> str:
    return f"{table} {depth}"


def test_the_parameters_are_told_as_they_were_written() -> None:
    with pytest.raises(TraceError) as told:
        bind(fit, [{}], {"dept": 3}, "pipelines.py:3")
    assert told.value.hint == "did you mean `depth`? it takes fit(table: dict[str, float], *, depth: int = 6) -> str"
