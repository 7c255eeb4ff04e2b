"""From handles to artifacts, and the names of a mapped task's elements."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.plan.resolve import Unmappable, columns, elements, follow, labels, truth, value
from headrace.spec.artifact import Ref, gather
from headrace.spec.graph import Arg, Const, Many, Out
from headrace.testing.graphs import inline, listing, number, numbers
from headrace.testing.graphs import truth as truth_of

SCALARS = st.one_of(st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False), st.text(max_size=40))


def scalar(given: object) -> Const:
    return Const(inline(json.dumps(given), f"builtins.{type(given).__name__}"))


@given(st.lists(st.tuples(SCALARS, SCALARS), max_size=8))
def test_no_two_elements_have_one_name_and_none_is_named_as_a_call_is(rows: list[tuple[object, object]]) -> None:
    found = labels("fit", {"a": [scalar(a) for a, _ in rows], "b": [scalar(b) for _, b in rows]})
    assert len(found) == len(rows) == len(set(found))
    for name in found:
        assert name.startswith("fit[")
        assert not re.fullmatch(r"fit(\[\d+\])?", name)


def test_short_plain_values_name_their_elements() -> None:
    assert labels("fit", {"depth": [scalar(4), scalar(6)]}) == ["fit[depth=4]", "fit[depth=6]"]
    paths, stamps = [scalar("in/a.csv"), scalar("in/b.csv")], [scalar("1-2"), scalar("3-4")]
    assert labels("read", {"path": paths, "stamp": stamps}) == ["read[path=in/a.csv]", "read[path=in/b.csv]"]
    both = {"a": [scalar(1), scalar(1)], "b": [scalar("x"), scalar("y-z")]}
    assert labels("fit", both) == ["fit[a=1,b=x]", "fit[a=1,b=y-z]"]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1, 1, 2], ["#0", "#1", "x=2"]),
        ([1, "1"], ["#0", "#1"]),
        (["x" * 40, "y"], ["#0", "x=y"]),
        (["a,b=c", "d"], ["#0", "x=d"]),
        (["", "e", "two words"], ["#0", "x=e", "#2"]),
        ([], []),
    ],
)
def test_only_elements_whose_values_are_no_names_are_numbered(values: list[object], found: list[str]) -> None:
    assert labels("fit", {"x": [scalar(each) for each in values]}) == [f"fit[{each}]" for each in found]


def test_a_run_that_began_before_names_its_elements_as_then() -> None:
    assert labels("fit", {"x": [scalar(""), scalar("e")]}, 1) == ["fit[#0]", "fit[#1]"]
    lists = {"x": [scalar(1), scalar(2)], "y": [scalar(3), scalar(4)]}
    assert labels("fit", lists, 1) == ["fit[x=1,y=3]", "fit[x=2,y=4]"]


def test_a_file_names_its_element() -> None:
    kind = {"codec": "file", "type": "headrace.codec.file.File"}
    files = [Const(gather([number(each)], **kind, names=(f"{each}.csv",))) for each in (1, 2)]
    assert labels("read", {"file": files}) == ["read[file=1.csv]", "read[file=2.csv]"]


def test_artifacts_of_any_other_kind_are_numbered() -> None:
    table = Const(Ref(digest="0" * 64, size=9, codec="arrow", type="pyarrow.lib.Table", nonce="1"))
    assert labels("fit", {"table": [table]}) == ["fit[#0]"]


def test_a_part_is_found_by_its_path_and_one_that_is_not_there_is_said_to_be_none() -> None:
    nested = listing([number(1), listing([number(2), number(3)])])
    assert follow(nested, (1, 0)) == number(2)
    assert follow(nested, ()) == nested
    with pytest.raises(Unmappable, match="has 2 parts, so none at 2"):
        follow(nested, (1, 2))
    with pytest.raises(Unmappable, match="has 0 parts"):
        follow(number(1), (0,))


def test_handles_are_replaced_wherever_they_stand() -> None:
    arg = Many("dict", (Out("a"), Many("list", (Out("b", (0,)), Const(number(9))))), ("x", "y"))
    outputs = {"a": number(1), "b": listing([number(2)])}
    found = value(arg, outputs.__getitem__)
    inner = Many("list", (Const(number(2)), Const(number(9))))
    assert found == Many("dict", (Const(number(1)), inner), ("x", "y"))


def test_lists_of_one_length_are_mapped_over_side_by_side() -> None:
    args: dict[str, Arg] = {"a": numbers(1, 2), "b": Out("made"), "c": Const(number(0))}
    found = columns("fit", args, ("a", "b"), lambda _: listing([number(3), number(4)]))
    assert {name: len(column) for name, column in found.items()} == {"a": 2, "b": 2}
    with pytest.raises(Unmappable, match="`a` has 2, `b` has 1"):
        columns("fit", args, ("a", "b"), lambda _: listing([number(3)]))


@pytest.mark.parametrize(
    "arg",
    [Const(number(1)), Many("dict", (Const(number(1)),), ("x",)), Const(gather([number(1)], names=("x",)))],
    ids=["a number", "a dictionary", "a record"],
)
def test_what_is_no_list_is_not_mapped_over(arg: Arg) -> None:
    with pytest.raises(Unmappable, match="mapped over"):
        elements("x", arg)


def test_only_booleans_are_true_or_false() -> None:
    assert [truth(truth_of(True)), truth(truth_of(False))] == [True, False]
    assert truth(inline('{"$":["numpy.bool",true]}', "numpy.bool")) is True
    assert [truth(number(1)), truth(listing([]))] == [None, None]
