"""What a call of a stage says of wrong arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

import headrace as hr
from headrace.define.call import bind, laid_out, mapped_over
from headrace.define.handle import Handle
from headrace.errors import TraceError
from headrace.spec.graph import Out


@hr.stage
def fit(table: dict[str, float], *, depth: int = 6) -> str:
    return f"{table} {depth}"


def test_the_parameters_are_told_as_they_were_written() -> None:
    with pytest.raises(TraceError) as told:
        bind(fit, [{}], {"dept": 3}, "pipelines.py:3")
    assert told.value.hint == "did you mean `depth`? it takes fit(table: dict[str, float], *, depth: int = 6) -> str"


@hr.stage
def total(first: int, /, *rest: int, times: int = 1) -> int:
    return (first + sum(rest)) * times


def test_what_can_not_be_given_by_name_is_given_by_position() -> None:
    for args, kwargs in [((1,), {}), ((1, 2, 3), {}), ((1,), {"times": 2}), ((1, 2), {"times": 3})]:
        by_position, by_name = laid_out(total.signature, dict(bind(total, args, kwargs, "pipelines.py:3")))
        assert total.function(*by_position, **by_name) == total(*args, **kwargs)


def test_a_map_gives_every_call_what_stands_for_a_rest_of_parameters() -> None:
    assert total.map([1, 2], 10, 20, times=2) == [62, 64]
    bound = bind(total, ([1, 2], 10, 20), {}, "pipelines.py:3")
    assert mapped_over(total, bound) == ("first",)


@hr.stage
def count(words: list[str], options: dict[str, int]) -> int:
    return len(words) + len(options)


@pytest.mark.parametrize("given", [list, list[Any], list[list[str]], list[list], tuple[Any, ...], Sequence[Any]])
def test_a_map_takes_what_may_be_a_list_of_lists_element_by_element(given: Any) -> None:
    many, one = Handle(Out("many"), given, "many"), Handle(Out("one"), dict, "one")
    bound = bind(count, (many, one), {}, "pipelines.py:3")
    assert mapped_over(count, bound) == ("words",)


@hr.stage
def rows_of(rows: list, **words: list[str]) -> int:  # type: ignore[type-arg]
    return len(rows) + len(words)


@pytest.mark.parametrize("given", [list[str], list[Any], list, Any])
def test_a_map_gives_every_call_the_list_that_the_parameter_takes(given: Any) -> None:
    whole = Handle(Out("whole"), given, "whole")
    assert mapped_over(rows_of, [("rows", whole)]) == ()
    for name in ("more", "words"):  # each is gathered by `**words`
        assert given in (list, list[Any]) or mapped_over(rows_of, [(name, whole)]) == ()


def test_a_field_is_known_by_its_name_though_its_type_can_not_be_read() -> None:
    read = dataclasses.make_dataclass("Read", [("rows", "Nowhere")])
    assert Handle(Out("read"), read, "read").rows._headrace_hint is Any
