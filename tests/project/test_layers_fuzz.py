"""Whatever stands in `headrace.toml` or the environment: settings, or one error of ours with a hint."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from headrace.errors import ConfigError
from headrace.project.layers import Layers
from headrace.project.settings import SECTIONS, Config

WORDS = st.sampled_from(
    [*SECTIONS, *(field for section in SECTIONS.values() for field in section.__struct_fields__), "x", "a.b", '"q.r"']
)
VALUES = st.sampled_from(
    ['"text"', "3", "-1.5", "true", "[]", '["a"]', "{}", "{a = 1}", "1979-05-27", "nan", "[[1]]", "'"]
)
LINES = st.one_of(
    st.builds("[{}]".format, WORDS),
    st.builds("[[{}]]".format, WORDS),
    st.builds("{} = {}".format, WORDS, VALUES),
    st.text(st.sampled_from(string.printable), max_size=20),
)


def trouble(read: Callable[[Layers], None]) -> ConfigError | None:
    """Read settings, and return what is wrong with them; anything but an error of ours comes through."""
    layers = Layers()
    try:
        read(layers)
        assert isinstance(layers.config(), Config)
    except ConfigError as error:
        return error
    return None


@how(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=8).map("\n".join))
def test_any_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(text, encoding="utf-8", newline="")
    error = trouble(lambda layers: layers.add_file(file))
    assert error is None or ("headrace.toml" in error.message and error.hint)


@given(
    st.lists(WORDS.map(lambda word: word.upper().replace(".", "__")), max_size=4).map("__".join),
    st.one_of(VALUES, st.text()),
)
def test_any_variable(name: str, value: str) -> None:
    variable = f"HEADRACE__{name}"
    error = trouble(lambda layers: layers.add_environment({variable: value}))
    assert error is None or (variable in error.message and error.hint)


def test_other_variables_are_none_of_ours() -> None:
    layers = Layers()
    layers.add_environment({"HEADRACE_HOME": "x", "PATH": "y"})
    assert layers.config() == Config()
    with pytest.raises(ConfigError):
        layers.add_environment({"HEADRACE__": "x"})
