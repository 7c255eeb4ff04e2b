"""Values that mean nothing elsewhere are refused, with their class, their place and what to do instead."""

from __future__ import annotations

import dataclasses
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.errors import BlobMissing, CodecError
from headrace.spec.artifact import Ref
from headrace.spec.report import Report
from headrace.store.folder.folder import FolderStore


def generator() -> Any:
    yield 1


@dataclasses.dataclass
class Model:
    weights: list[Any]


class Holder:
    def __init__(self, inner: Any) -> None:
        self.inner = inner


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: generator, "builtins.function"),
        (lambda: len, "builtins.builtin_function_or_method"),
        (lambda: lambda: 1, "builtins.function"),
        (lambda: sys, "builtins.module"),
        (lambda: Model, "builtins.type"),
        (threading.Lock, "_thread.lock"),
        (generator, "builtins.generator"),
        (lambda: map(str, [1]), "builtins.map"),
        (lambda: memoryview(b"x"), "builtins.memoryview"),
        (lambda: Holder(1).__repr__, "builtins.method-wrapper"),
    ],
)
def test_what_lives_in_a_process_is_refused(
    make: Callable[[], Any], kind: str, codecs: Codecs, store: FolderStore
) -> None:
    with pytest.raises(CodecError) as caught:
        codecs.save({"model": [1, 2, make()]}, store)
    assert f"`{kind}`" in caught.value.message
    assert "(at `['model'][2]` of the value)" in caught.value.message
    assert caught.value.hint


def test_an_open_file_is_refused(codecs: Codecs, store: FolderStore, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(CodecError, match="TextIOWrapper") as caught:
        codecs.save(file, store)
    assert "headrace.File" in (caught.value.hint or "")


def test_a_connection_is_refused(codecs: Codecs, store: FolderStore) -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(CodecError, match=r"sqlite3.Connection.*at `\.weights\[0\]`"):
        codecs.save(Model(weights=[connection]), store)
    connection.close()


def test_the_place_is_found_inside_of_what_pickle_would_take(codecs: Codecs, store: FolderStore) -> None:
    value = Holder({"inner": [1, Holder(threading.Lock())]})
    with pytest.raises(CodecError) as caught:
        codecs.save([value], store)
    assert "_thread.lock" in caught.value.message
    assert "`[0].inner['inner'][1].inner`" in caught.value.message


def test_an_error_while_a_value_is_pickled_is_said_as_ours(codecs: Codecs, store: FolderStore) -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            raise ValueError("no")

    with pytest.raises(CodecError, match="no"):
        codecs.save(Stubborn(), store)


def test_an_artifact_of_an_unknown_codec_names_it(codecs: Codecs, store: FolderStore) -> None:
    ref = Ref(digest=blake3(b"").hexdigest(), size=0, codec="from-the-future", type="x.Y", inline=b"")
    with pytest.raises(CodecError, match="from-the-future") as caught:
        codecs.load(ref, store)
    assert caught.value.hint


def test_a_class_that_is_gone_is_named(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(Model(weights=[1]), store)
    for kind in (f"{__name__}.Gone", "no_such_package.inner.Model"):
        with pytest.raises(CodecError, match=kind.rpartition(".")[2]) as caught:
            codecs.load(replace(ref, type=f"{kind}@0123456789ab"), store, safe_only=False)
        assert caught.value.hint


def test_a_record_whose_fields_changed_is_not_guessed_at(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(Model(weights=[1]), store)
    with pytest.raises(CodecError, match="no longer those that were saved"):
        codecs.load(replace(ref, names=("parameters",)), store, safe_only=False)


def test_a_report_of_an_older_headrace_is_read_with_the_defaults_of_what_it_lacks(
    codecs: Codecs, store: FolderStore
) -> None:
    report = Report(title="A contract", about="100 rows")
    ref = codecs.save(report, store)
    assert ref.names is not None
    assert ref.parts is not None
    older = replace(ref, names=ref.names[:2], parts=ref.parts[:2])
    assert codecs.load(older, store, safe_only=True) == report
    with pytest.raises(CodecError, match="no longer those that were saved"):
        codecs.load(replace(ref, names=ref.names[1:], parts=ref.parts[1:]), store)


def test_a_forged_record_makes_no_other_object(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(Model(weights=[1]), store)
    with pytest.raises(CodecError):
        codecs.load(replace(ref, type="subprocess.Popen", names=("args",)), store, safe_only=False)
    with pytest.raises(CodecError):
        codecs.load(replace(ref, type="subprocess.Popen", names=(), parts=()), store, safe_only=False)


@pytest.mark.parametrize("text", [b'"\xff"', b'{"\x80": 1}', b"[" * 5000, b"[1", b"[1] 2"])
def test_bytes_that_are_no_json_are_refused(text: bytes, codecs: Codecs, store: FolderStore) -> None:
    ref = replace(codecs.save(1, store), inline=text, digest=blake3(text).hexdigest(), size=len(text))
    assert ref.codec == "json"
    with pytest.raises(CodecError, match="can't be read"):
        codecs.load(ref, store, safe_only=True)


def test_a_missing_library_says_how_to_get_it(
    codecs: Codecs, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.delitem(sys.modules, "headrace.codec.builtin.polars", raising=False)
    ref = Ref(
        digest=blake3(b"").hexdigest(), size=0, codec="polars", type="polars.dataframe.frame.DataFrame", inline=b""
    )
    with pytest.raises(CodecError, match="polars") as caught:
        codecs.load(ref, store)
    assert caught.value.hint == "pip install polars"


def test_a_blob_that_is_gone_is_missing(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save("x" * 10_000, store)
    store.delete(ref.digest, ref.nonce or "")
    with pytest.raises(BlobMissing):
        codecs.load(ref, store)


def test_unsafe_forms_are_refused_inside_of_safe_ones_too(codecs: Codecs, store: FolderStore) -> None:
    class Local:
        pass

    ref = codecs.save({"inner": [Local()]}, store)
    with pytest.raises(CodecError, match="runs code"):
        codecs.load(ref, store, safe_only=True)


def test_what_differs_between_equal_values_has_no_content_digest_and_is_labelled(
    codecs: Codecs, store: FolderStore
) -> None:
    ref = codecs.save(Holder(1), store)
    assert (ref.codec, ref.content) == ("pickle", None)


def test_an_instance_that_holds_more_than_its_fields_is_not_cut_down(codecs: Codecs, store: FolderStore) -> None:
    value = Model(weights=[1])
    value.extra = 3  # type: ignore[attr-defined]
    ref = codecs.save(value, store)
    assert ref.codec == "pickle"
    assert codecs.load(ref, store, safe_only=False).extra == 3  # type: ignore[attr-defined]
