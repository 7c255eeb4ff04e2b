"""Named parameters are found where they are parameters, and nowhere else."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace.errors import DefinitionError
from headrace.stages.ingest._sql.statement import Dialect, Statement, check_given, parse

NAMES = some.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
INNER = some.text(alphabet=":ab'\"-/*;$ \n", max_size=8)
COMMON = some.one_of(
    INNER.map(lambda text: "'" + text.replace("'", "''") + "'"),
    INNER.map(lambda text: '"' + text.replace('"', '""') + '"'),
    INNER.map(lambda text: "/*" + text.replace("*", "").replace("/", "") + "*/"),
    INNER.map(lambda text: "--" + text.replace("\n", "") + "\n"),
    some.sampled_from(["a::text", "x[1:n]", "b - c", "d / 2", "'it''s :x'", "1.5", "(", ")", ",", "\n", "a:b"]),
)
OWN: dict[Dialect, some.SearchStrategy[str]] = {
    "postgresql": some.sampled_from(["$$ :x ' $$", "$q$ $$ :y $q$", "E'\\' :z'", "/* /* :x */ :y */", "$1"]),
    "sqlite": some.sampled_from(["[a :b]", "e'\\'", "/* /* :x */", "$a", "@b"]),
    "other": some.sampled_from(["$$ :x $$", "`a :b`"]),
}


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite", "other"])
@given(data=some.data())
def test_all_parameters_are_found_and_nothing_else_is_touched(dialect: Dialect, data: some.DataObject) -> None:
    atoms = data.draw(some.lists(COMMON | OWN[dialect] | NAMES.map(lambda name: ("p", name)), max_size=12))
    text = " ".join(each if isinstance(each, str) else f":{each[1]}" for each in atoms)
    found = parse(text, dialect)
    assert list(found.places) == [each[1] for each in atoms if not isinstance(each, str)]
    assert found.written(lambda name: f":{name}") == text


@given(some.text(alphabet=":a1'\"-/*;$[]`\\eE \n(", max_size=30), some.sampled_from(["postgresql", "sqlite", "other"]))
def test_any_text_is_read_or_refused(text: str, dialect: Dialect) -> None:
    try:
        found = parse(text, dialect)
    except DefinitionError:
        return
    assert text.startswith(found.written(lambda name: f":{name}"))


@given(some.lists(some.tuples(NAMES, some.integers(-9, 9) | some.text(max_size=5)), min_size=1, max_size=5))
def test_sqlite_gives_what_was_bound(pairs: list[tuple[str, int | str]]) -> None:
    given = dict(pairs)
    query = "select " + ", ".join(f":{name} as c{place} -- :x" + "\n" for place, (name, _) in enumerate(pairs))
    found = parse(query, "sqlite")
    numbered = found.written({name: f"?{place}" for place, name in enumerate(found.names, 1)}.__getitem__)
    with closing(sqlite3.connect(":memory:")) as db:
        row = db.execute(numbered, [given[name] for name in found.names]).fetchone()
    assert list(row) == [given[name] for name, _ in pairs]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("select 'a", "a text in `'` has no end"),
        ('select "a', "a name in"),
        ("select /* a", "a comment"),
        ("select $q$ a $$", r"a text in `\$q\$`"),
        ("select 1; select 2", "after the `;`"),
    ],
)
def test_a_query_that_is_none_is_refused(query: str, told: str) -> None:
    with pytest.raises(DefinitionError, match=told) as caught:
        parse(query, "postgresql")
    assert caught.value.hint


def test_a_semicolon_at_the_end_is_dropped() -> None:
    found = parse("select :a from t; -- that's it\n ; /* :b */", "postgresql")
    assert found == Statement(texts=("select ", " from t"), places=("a",))


def test_parameters_that_are_missing_or_superfluous_are_named() -> None:
    found = parse("select :a, :b, :key", "sqlite")
    check_given(found, {"a": 1, "b": 2, "key": 3}, ["key"])
    with pytest.raises(DefinitionError, match="parameter `:b`"):
        check_given(found, {"a": 1, "key": 3}, [])
    with pytest.raises(DefinitionError, match="`c` was given"):
        check_given(found, {"a": 1, "b": 2, "key": 3, "c": 4}, [])
    with pytest.raises(DefinitionError, match="`:key`") as caught:
        check_given(found, {"a": 1, "b": 2}, ["key"])
    assert "call the parameter something else" in str(caught.value.hint)
