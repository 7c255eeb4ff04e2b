"""What others have made is read without running a thing of it: the corpus of `artifacts`, one by one."""

from __future__ import annotations

import ast
import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from headrace.codec.codecs import Codecs
from headrace.errors import CodecError, HeadraceError
from headrace.spec.artifact import Ref
from headrace.store.folder.folder import FolderStore
from tests.hostile.artifacts import CASES, Case, schemas, skops_file
from tests.hostile.models import FORGERIES, PICKLED, makers

SOURCES = Path(importlib.import_module("headrace").__path__[0])

OPEN = {"operate/debug.py", "operate/notebook/launcher.py", "work/attempt.py", "testing/backend_setup.py"}
"""What loads forms that run code: a stage's arguments and values, `headrace.load` and `.value()`, and `headrace debug`,
which runs the stage itself."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_loaded_safely_runs_nothing(case: Case, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    store = FolderStore(tmp_path / "store")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value: Any = Codecs().load(case.ref(marker), store, verify=True, scratch=tmp_path / "a" / "b" / "scratch")
            for table in [value.open()] if hasattr(value, "open") else []:
                assert table is not None
        except HeadraceError:
            pass  # refused, which is well
    assert sorted(path.name for path in tmp_path.rglob("marker*")) == []


@pytest.mark.parametrize("name", schemas(Path("marker")), ids=str)
def test_no_forged_estimator_is_taken_for_one(name: str, tmp_path: Path) -> None:
    ref = Case(f"skops: {name}").ref(tmp_path / "marker")
    with pytest.raises(HeadraceError):
        Codecs().load(ref, FolderStore(tmp_path / "store"))


@pytest.mark.parametrize(
    "name",
    [
        "a method of a global of a module of scores",
        "the same inside of an estimator",
        "the same as what makes the values of a dictionary",
        "a function behind the number of a type",
        "a function of os",
        "a function of os in the form of protocol 0",
        "an object made by a call of its class",
    ],
)
def test_the_corpus_does_its_harm_where_nothing_is_checked(name: str, tmp_path: Path) -> None:
    """An attack that wouldn't work anyway would prove nothing."""
    skops = pytest.importorskip("skops.io")
    data = skops_file(schemas(tmp_path / "marker")[name])
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        skops.loads(data, trusted=skops.get_untrusted_types(data=data))
    assert (tmp_path / "marker").exists()


def _opening(tree: ast.AST) -> Iterator[ast.Call]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and any(each.arg == "safe_only" for each in call.keywords):
            yield call


def test_only_stages_and_those_who_ask_for_it_load_what_runs_code() -> None:
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if any(_opening(ast.parse(path.read_text()))) and path.parent.name != "codec"
    }
    assert found - {"testing/codec_contract.py", "testing/model_contract.py"} == OPEN


def test_a_table_whose_part_runs_code_is_refused_by_columns_too(tmp_path: Path) -> None:
    ref: Ref = Case("a pickle").ref(tmp_path / "marker")
    with pytest.raises(HeadraceError, match="runs code"):
        Codecs().load(ref, FolderStore(tmp_path / "store"), columns=["a"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "what", "forge"), FORGERIES, ids=lambda each: each if isinstance(each, str) else "")
def test_a_model_whose_numbers_lead_out_of_it_is_refused(
    name: str, what: str, forge: Callable[[Any], Any], tmp_path: Path
) -> None:
    del what
    store, codecs = FolderStore(tmp_path), Codecs()
    model = makers()[name]()
    ref = codecs.save(model, store)
    assert ref.codec == ("pickle" if name in PICKLED else "skops")
    if name in PICKLED:
        pytest.skip("the splines of SciPy 1.18 hold a module, so they are pickled, and a pickle isn't loaded safely")
    assert codecs.load(ref, store) is not None
    try:
        forge(model)
    except ValueError as refused:
        pytest.skip(f"the library refuses it where it is made, and so where it is read: {refused}")
    with pytest.raises(CodecError, match="out of bounds"):
        codecs.load(codecs.save(model, store), store)
