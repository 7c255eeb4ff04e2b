"""What is said of a wrong word in a text of nouns."""

from __future__ import annotations

import pytest
from msgspec import Struct

from headrace.errors import DefinitionError
from headrace.stages.declared import from_toml


class Limit(Struct, forbid_unknown_fields=True, tag_field="kind", tag="limit"):
    depth: int = 1


class Entry(Struct, forbid_unknown_fields=True):
    limit: Limit


class Whole(Struct, forbid_unknown_fields=True):
    entries: dict[str, Entry]


def test_a_wrong_word_in_a_noun_below_an_entry_of_a_table_gets_a_hint() -> None:
    text = '[entries.first.limit]\nkind = "limit"\ndeph = 2'
    with pytest.raises(DefinitionError, match="there is no field `deph`") as caught:
        from_toml(text, Whole, "whole.toml", docs="wholes")
    assert "did you mean `depth`?" in (caught.value.hint or "")
