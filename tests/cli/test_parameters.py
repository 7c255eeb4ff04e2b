"""How the words of `headrace run` are read."""

from __future__ import annotations

import pytest

from headrace.cli.parameters import split
from headrace.errors import UsageError


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["f"], {}),
        (["f", "--month", "3"], {"month": "3"}),
        (["f", "--month=3"], {"month": "3"}),
        (["f", "--name="], {"name": ""}),
        (["f", "--expression=a=b"], {"expression": "a=b"}),
        (["f", "--shift", "-3"], {"shift": "-3"}),
        (["f", "--shift", "-.5"], {"shift": "-.5"}),
        (["f", "--horizon-h", "6"], {"horizon_h": "6"}),
        (["f", "--fast"], {"fast": "true"}),
        (["f", "--fast", "--month", "3"], {"fast": "true", "month": "3"}),
        (["f", "--path", "-"], {"path": "-"}),
        (["f", "--text", "two words"], {"text": "two words"}),
        (["--month", "3", "f"], {"month": "3"}),
    ],
)
def test_options_are_parameters_of_their_names(words: list[str], found: dict[str, str]) -> None:
    assert split("run", words) == ("f", found)


def test_what_collides_is_given_as_a_pair() -> None:
    assert split("run", ["f"], ["only=x", "text=a=b"]) == ("f", {"only": "x", "text": "a=b"})


@pytest.mark.parametrize(
    ("words", "pairs", "message"),
    [
        ([], [], "name is missing"),
        (["--month", "3"], [], "name is missing"),
        (["f", "3"], [], "`3`"),
        (["f", "--month", "3", "--month", "4"], [], "given twice"),
        (["f", "--month", "3"], ["month=4"], "given twice"),
        (["f"], ["month"], "NAME=VALUE"),
        (["f"], ["=3"], "NAME=VALUE"),
    ],
)
def test_what_makes_no_sense_is_told(words: list[str], pairs: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        split("run", words, pairs)
    assert caught.value.hint
