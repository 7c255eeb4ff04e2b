"""What a codec fails to save is pickled, with a word about it: hours of work may stand behind a value."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from msgspec.structs import replace

from headrace.codec.builtin.json import JsonCodec
from headrace.codec.codecs import Codecs
from headrace.codec.values import Picture
from headrace.errors import CodecError
from headrace.spec.artifact import Ref
from headrace.spec.policy import Policy
from headrace.spec.report import Fact
from headrace.store.folder.folder import FolderStore


class Failing(JsonCodec):
    name = "failing"

    def takes(self, value: object) -> bool:
        return type(value) is set

    def save(self, value: object, sink: Any) -> None:
        sink.file.write(b"half")
        raise ZeroDivisionError("in the codec")


def test_what_a_codec_fails_to_save_is_pickled_with_a_warning(store: FolderStore) -> None:
    with pytest.warns(UserWarning, match=r"codec `failing` failed to save .*: in the codec; it is pickled"):
        ref = Codecs([Failing()]).save({1, 2}, store)
    assert ref.codec == "pickle"
    assert Codecs().load(ref, store, safe_only=False) == {1, 2}
    assert list(store.strays()) == []


def test_where_pickle_fails_too_the_first_error_counts(store: FolderStore) -> None:
    class Unpickled(set[int]):
        def __reduce__(self) -> Any:
            raise ValueError("nor this way")

    class Eager(Failing):
        def takes(self, value: object) -> bool:
            return isinstance(value, set)

    with pytest.raises(CodecError, match="in the codec") as caught:
        Codecs([Eager()]).save(Unpickled(), store)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_model_is_not_lost_where_the_library_of_its_safe_form_is_missing(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    monkeypatch.delitem(sys.modules, "headrace.codec.builtin.sklearn", raising=False)
    with pytest.warns(UserWarning, match=r"skops.*is pickled \(pip install"):
        ref = Codecs().save(linear.Ridge(alpha=2), store)
    assert ref.codec == "pickle"
    assert Codecs().load(ref, store, safe_only=False).alpha == 2  # type: ignore[attr-defined]


def test_records_of_headrace_itself_are_safe(codecs: Codecs, store: FolderStore) -> None:
    fact = Fact(name="auc", value=0.5)
    assert codecs.load(codecs.save(fact, store), store, safe_only=True) == fact
    assert codecs.load(codecs.save([Picture(svg="<svg/>")], store), store, safe_only=True)


@pytest.mark.parametrize(
    "kind", ["headrace.spec.policy.Policy", "headrace.spec.report.Fact.name", "headrace.codec.values.os.PathLike"]
)
def test_a_name_of_ours_makes_no_forged_artifact_safe(kind: str, codecs: Codecs, store: FolderStore) -> None:
    ref: Ref = codecs.save(object(), store)
    with pytest.raises(CodecError, match="runs code"):
        codecs.load(replace(ref, type=kind), store, safe_only=True)
    with pytest.raises(CodecError):
        codecs.load(replace(codecs.save(Policy(), store), type=kind, names=(), parts=()), store, safe_only=True)
