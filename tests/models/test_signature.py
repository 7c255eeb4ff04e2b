"""What a model takes and gives, said beside its artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from headrace.codec.codecs import Codecs
from headrace.errors import UsageError
from headrace.models.fitting import fitted, unseen
from headrace.models.model import model_of
from headrace.models.signature import signature_for, signature_of
from headrace.spec.artifact import Ref, gather
from headrace.spec.signature import MOST_BYTES, Column, Signature, masked_signature, signature_in
from headrace.store.folder.folder import FolderStore

ROWS = pa.table({"a": [1.0, 2.0, 3.0, 4.0], "kind": ["x", "y", "x", "y"], "name": ["k", "l", "m", "n"]})


def line(columns: list[str]) -> Any:
    frame = pa.table({name: [1.0, 2.0, 4.0] for name in columns}).to_pandas()
    return LinearRegression().fit(frame, [1, 2, 4])


def test_texts_that_come_again_are_categories_and_names_are_not() -> None:
    takes = {each.name: each for each in signature_for(ROWS).takes}
    assert takes["kind"].categories == ("x", "y")
    assert takes["name"].categories is None
    assert takes["a"].type == "double"


def test_a_column_without_values_has_no_known_categories() -> None:
    coded = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema({"kind": pa.string(), "coded": coded})
    nulls = pa.table({"kind": pa.array([None, None], pa.string()), "coded": pa.array([None, None], coded)})
    for rows in (schema.empty_table(), nulls):
        assert [each.categories for each in signature_for(rows).takes] == [None, None]
    old = Signature(takes=(Column(name="kind", type="string", categories=()),)).encoded()
    found = signature_in(old)
    assert found is not None
    assert found.takes[0].categories is None, "a signature of an earlier release"


def test_an_example_has_no_value_of_the_rows_but_categories() -> None:
    assert signature_for(ROWS).example == {"a": 1.5, "kind": "x", "name": "text"}


def test_what_a_model_gives_is_seen_from_its_answers() -> None:
    gives = signature_of(model_of(line(["a"])), pa.table({"a": [1.0, 2.0]}), ["a"]).gives
    assert gives == (Column(name="predicted", type="double"),)
    assert signature_of(model_of(line(["b"])), ROWS, ["a"]).gives == (), "it can't answer for these rows"


class Strange:
    """A model of a project that fails in its own way."""

    def predict(self, frame: Any) -> Any:
        return frame

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_a_model_whose_code_fails_has_a_signature_that_says_what_it_takes() -> None:
    found = signature_of(model_of(Strange()), ROWS, ["a"])
    assert ([each.name for each in found.takes], found.gives) == (["a"], ())


def test_a_signature_that_is_too_long_goes_without_categories_or_is_left_out() -> None:
    many = pa.table({f"column {n}": ["a category " * 9, "another " * 9] * 2 for n in range(40)})
    data = signature_for(many).encoded()
    assert data is not None
    assert len(data) <= MOST_BYTES
    found = signature_in(data)
    assert found is not None
    assert all(each.categories is None for each in found.takes)
    assert signature_for(pa.table({f"column {n}": [1] for n in range(5_000)})).encoded() is None


def test_masked_texts_leave_a_signature_readable() -> None:
    rows = pa.table({'pass"word': ["x", 'a"b', "x", 'a"b'], "double": [1.0] * 4})
    found = signature_in(masked_signature(signature_for(rows).encoded() or b"", lambda text: text.replace('"', "*")))
    assert found is not None
    assert [each.name for each in found.takes] == ["pass*word", "double"]
    assert found.takes[0].categories == ("a*b", "x")
    assert found.example == {"pass*word": "a*b", "double": 1.5}


def test_what_is_no_signature_or_of_a_newer_release_is_none() -> None:
    column = Column(name="a", type="double")
    assert signature_in(msgspec.json.encode(Signature(takes=(column,)))) == Signature(takes=(column,))
    newer, empty, twice = (
        msgspec.json.encode(each)
        for each in (
            Signature(takes=(column,), form=Signature.FORM + 1),
            Signature(takes=()),
            Signature(takes=(column, column)),
        )
    )
    for data in (None, b"", b"\xff", b"[]", b'{"takes":1}', newer, empty, twice):
        assert signature_in(data) is None


def test_a_signature_is_no_part_of_what_an_artifact_is() -> None:
    plain = Ref(digest="d", size=1, codec="skops", type="x.Y")
    signed = msgspec.structs.replace(plain, signature=b"{}")
    assert signed.identity == plain.identity
    assert gather([signed]).digest == gather([plain]).digest
    old = msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(plain))[:9])
    assert msgspec.msgpack.decode(old, type=Ref) == plain


def test_a_model_that_is_passed_on_keeps_its_signature_and_one_that_is_changed_loses_it(tmp_path: Path) -> None:
    codecs, store = Codecs(), FolderStore(tmp_path)
    model = line(["a"])
    codecs.sign(model, b"{}")
    ref = codecs.save([model, line(["b"])], store)
    assert [part.signature for part in ref.parts or ()] == [b"{}", None]
    codecs.forget()
    loaded: Any = codecs.load(ref, store)
    assert (codecs.save(loaded[0], store)).signature == b"{}"
    loaded[0].fit(pa.table({"other": [1.0, 2.0]}).to_pandas(), [3, 4])
    assert (codecs.save(loaded[0], store)).signature is None


def test_rows_are_fitted_to_the_types_of_a_signature() -> None:
    takes = (Column(name="a", type="double"), Column(name="day", type="date32[day]"))
    rows = pa.table({"more": ["x"], "a": [1], "day": ["2024-02-03"]})
    assert fitted(rows, takes).schema.field("a").type == pa.float64()
    assert fitted(rows, takes).schema.field("day").type == pa.date32()
    with pytest.raises(UsageError, match=r"column `a` is `double`, such as `1.5`, and the model takes `int64`"):
        fitted(pa.table({"a": [1.5]}), (Column(name="a", type="int64"),))
    for odd in ("decimal128(99, 2)", "no type", "list<item: double>"):
        assert fitted(pa.table({"a": [1.5]}), (Column(name="a", type=odd),)).num_rows == 1


def test_values_that_are_no_category_are_counted() -> None:
    takes = (Column(name="kind", type="string", categories=("x",)), Column(name="name", type="string"))
    assert unseen(ROWS, takes) == {"kind": 2}
    assert unseen(pa.table({"kind": [None, "x"], "name": ["a", "b"]}), takes) == {}
