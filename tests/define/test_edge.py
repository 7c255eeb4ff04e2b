"""Which outputs fit which parameters."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.define.edge import admits, fits


@pytest.mark.parametrize("wanted", [float, float | None, str | float])
@pytest.mark.parametrize("given", [int, bool, float])
def test_a_whole_number_does_for_a_fraction_whether_it_is_there_or_still_to_come(given: type, wanted: Any) -> None:
    assert fits(given, wanted)
    assert admits(given(), wanted)


@pytest.mark.parametrize(("given", "wanted"), [(str, float | None), (float, int | None), (int | None, float)])
def test_what_does_not_fit_one_of_several_types_does_not_fit(given: Any, wanted: Any) -> None:
    assert not fits(given, wanted)
