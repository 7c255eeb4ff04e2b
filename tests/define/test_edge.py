"""Which outputs fit which parameters."""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pytest

from headrace.define.type_check import admits, fits, shown
from headrace.stages import prepare

T = TypeVar("T")


class Box(Generic[T]):
    pass


class Counts(dict[str, int]):
    pass


class Row(NamedTuple):
    at: int


@pytest.mark.parametrize("wanted", [float, float | None, str | float])
@pytest.mark.parametrize("given", [int, bool, float])
def test_a_whole_number_does_for_a_fraction_whether_it_is_there_or_still_to_come(given: type, wanted: Any) -> None:
    assert fits(given, wanted)
    assert admits(given(), wanted)


@pytest.mark.parametrize(("given", "wanted"), [(str, float | None), (float, int | None), (int | None, float)])
def test_what_does_not_fit_one_of_several_types_does_not_fit(given: Any, wanted: Any) -> None:
    assert not fits(given, wanted)


BARE = [
    (dict, dict[str, int]),
    (dict, Mapping[str, Any]),
    (dict, Mapping[str, list[int]] | None),
    (dict | None, dict[str, int] | None),
    (Mapping, Mapping[str, int]),
    (list, list[str]),
    (list, Sequence[str]),
    (list, Iterable[str] | int),
    (tuple, tuple[int, ...]),
    (tuple, tuple[int, str]),
    (tuple, Sequence[int]),
    (set, set[int]),
    (set, AbstractSet[int]),
    (frozenset, Collection[int]),
    (list[dict], list[dict[str, int]]),  # type: ignore[type-arg]
    (dict[str, Any], dict[str, int]),
    (tuple[dict, ...], Sequence[Mapping[str, int]]),  # type: ignore[type-arg]
    (tuple[int, list], tuple[int, list[str]]),  # type: ignore[type-arg]
    (np.ndarray, npt.NDArray[np.float64]),
    (Box, Box[int]),
]


@pytest.mark.parametrize(("bare", "full"), BARE)
def test_a_container_of_no_told_type_is_one_of_any_on_either_side_as_type_checkers_have_it(
    bare: Any, full: Any
) -> None:
    assert fits(bare, full)
    assert fits(full, bare) or typing.get_origin(full) != bare


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (dict, list[str]),
        (dict, Sequence[str]),
        (list, dict[str, int]),
        (list, tuple[int, ...]),
        (Mapping, dict[str, int]),
        (Sequence, list[int]),
        (str, Sequence[int]),
        (Counts, dict[str, str]),
        (dict[str, Any], list[str]),
        (dict[str, str], dict[str, int]),
        (list[dict[str, str]], list[dict[str, int]]),
        (tuple[int, ...], tuple[int, int]),
        (tuple[int, str], tuple[int, ...]),
        (dict | int, dict[str, int]),
        (Row, dict[str, int]),
        (Box, list[int]),
    ],
)
def test_a_container_of_another_kind_or_of_other_elements_does_not_fit(given: Any, wanted: Any) -> None:
    assert not fits(given, wanted)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (Counts, dict[str, int]),
        (list[int], Sequence[float]),
        (dict[str, list[int]], Mapping[str, Sequence[float] | None]),
        (tuple[int, int], tuple[float, ...]),
        (tuple[int, int], Sequence[int]),
        (dict[str, int], Iterable[str]),
        (list[int] | None, Sequence[int] | None),
        (dict[str, int], Mapping),
        (list[int], Sequence),
    ],
)
def test_a_container_of_elements_that_fit_does_too(given: Any, wanted: Any) -> None:
    assert fits(given, wanted)


def test_the_many_types_of_a_ready_made_parameter_are_shown_by_the_first_of_them() -> None:
    rules = typing.get_type_hints(prepare.clean.__wrapped__)["rules"]
    assert shown(rules) == (
        "Sequence[headrace.Trim | headrace.Normalise | headrace.Nulls | headrace.Replace | headrace.Fill | ...]"
        " | headrace.File"
    )
