"""What is ours has a name in keys and artifacts that says nothing of where its code lies."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import headrace as hr
from headrace import stages
from headrace.codec.classes import name_of, resolve
from headrace.codec.codecs import Codecs
from headrace.codec.safe_records import RECORDS, is_listed
from headrace.define.stage import StageFunction
from headrace.fingerprint.fingerprint import fingerprint
from headrace.fingerprint.project import Project
from headrace.spec.report import Fact
from headrace.stages import evaluate, prepare
from headrace.stages.ingest._sql.stages import Held
from headrace.testing.blobs import MemoryBlobs
from tests.stages.test_pandas_types import CALLS

PUBLIC = ("headrace.codec.joined", "headrace.codec.later", "headrace.spec.report", "headrace.stages.registry")
"""Modules that the documentation has people import from: what they define goes by them."""

SAVED: tuple[type, ...] = (Held, hr.Picture, resolve("headrace.Version"), resolve("headrace.codec.later.Later"))
"""What is saved though no stage says so by a type: values of cursors, what a pipeline's body is given."""

NOT_SAFE = {
    "headrace.Cursor": "its value is loaded when it is read",
    "headrace.File": "has a codec of its own",
    "headrace.Folder": "has a codec of its own",
    "headrace.Picture": "has a codec of its own",
    "headrace.Version": "its value is loaded when it is read",
    "headrace.codec.later.Later": "has a codec of its own",
    "headrace.stages.ingest.Sealed": "its tables are loaded when they are read",
}
"""Classes that stages take and give and that aren't listed, with the reason."""

MAKE_NONE = (
    "deploy.batch.bucket",
    "ingest.files",
    "ingest.http",
    "ingest.logs",
    "ingest.predictions",
    "ingest.sql",
    "registry.",
    "evaluate.paired",
    "train.",
)
"""How the names of stages begin that carry no column of a table on: what they give is read as it is, or measured.
`deploy.batch.bucket` gives its own table back, as `deploy.batch.parquet` does, and needs a server.
`train.predict` and `train.complete`, which do, need a model to ask: they only add columns, by the same helper."""


@cache
def ready_made() -> tuple[StageFunction[..., object], ...]:
    """Every ready-made stage."""
    modules = [
        importlib.import_module(each.name) for each in pkgutil.walk_packages(stages.__path__, "headrace.stages.")
    ]
    found = {id(each): each for module in modules for each in vars(module).values() if isinstance(each, StageFunction)}
    return tuple(found.values())


def ours(hint: object, known: set[type]) -> Iterator[type]:
    """Yield the classes of ours in a type, their subclasses, and those of their fields."""
    for argument in typing.get_args(hint):
        yield from ours(argument, known)
    cls = typing.get_origin(hint) or hint
    if inspect.isclass(cls) and cls.__module__.startswith("headrace.") and cls not in known:
        known.add(cls)
        yield cls
        for each in (*cls.__subclasses__(), *typing.get_type_hints(cls).values()):
            yield from ours(each, known)


def saved() -> list[type]:
    """The classes of ours that ready-made stages take and give."""
    known = set(SAVED)
    hints = [hint for each in ready_made() for hint in typing.get_type_hints(each.function).values()]
    return [*SAVED, *(cls for hint in hints for cls in ours(hint, known))]


def test_every_class_that_is_saved_has_a_public_name_and_is_found_by_it_and_by_where_it_lies() -> None:
    found = saved()
    assert len(found) > 50
    for cls in found:
        place = f"{cls.__module__}.{cls.__qualname__}"
        assert name_of(cls) != place or cls.__module__ in PUBLIC, (
            f"`{place}` is saved: name it in PLACES or KEPT of the package that offers it, and never rename it"
        )
        assert resolve(name_of(cls)) is resolve(place) is cls
    assert len({name_of(cls) for cls in found}) == len(found)


def test_the_list_names_classes_that_there_are_by_the_names_that_artifacts_record() -> None:
    for module, names in RECORDS.items():
        for name in names:
            kind = resolve(f"{module}.{name}")
            assert name_of(kind) == f"{module}.{name}"
            assert is_listed(f"{kind.__module__}.{kind.__qualname__}")


def test_every_record_that_ready_made_stages_take_or_give_is_listed_or_says_why_not() -> None:
    assert {name_of(kind) for kind in saved() if not is_listed(name_of(kind))} == NOT_SAFE.keys()


def test_every_ready_made_stage_has_a_name_of_its_own_that_begins_with_what_users_call() -> None:
    names = [vars(each.function)["__headrace_name__"] for each in ready_made()]
    assert len(names) == len(set(names)) > 30
    for name in names:
        *_, package, called = name.split(".")[:4]
        assert callable(getattr(importlib.import_module(f"headrace.stages.{package}"), called))


def test_a_ready_made_stage_counts_by_its_version_however_its_function_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wraps = [each.function for each in ready_made() if "__wrapped__" in vars(each.function)]
    assert evaluate.classification.function in wraps
    counted = [fingerprint(each, Project([tmp_path])) for each in wraps]
    for each in wraps:
        monkeypatch.delitem(vars(each), "__wrapped__")
    assert [fingerprint(each, Project([tmp_path])) for each in wraps] == counted


@pytest.mark.parametrize("value", [prepare.Trim(columns=("a",)), Fact(name="auc", value=0.5)])
def test_what_was_saved_under_the_path_of_its_module_is_still_read(value: object) -> None:
    def place(cls: type) -> str:
        return f"{cls.__module__}.{cls.__qualname__}"

    blobs = MemoryBlobs()
    for describe in (name_of, place):
        ref = Codecs().save(value, blobs, describe=describe)
        assert ref.type == describe(type(value))
        assert Codecs().load(ref, blobs, safe_only=True) == value


def test_a_misspelt_name_of_the_facade_is_told_the_one_that_is_meant() -> None:
    for wrong, meant in (("Secret", "secret"), ("stge", "stage"), ("file", "File"), ("resources", "Resources")):
        with pytest.raises(AttributeError, match=rf"no attribute `{wrong}`: did you mean `hr.{meant}`\?"):
            getattr(hr, wrong)
    with pytest.raises(AttributeError, match=r"no attribute `__path_of__`$"):
        hr.__path_of__  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute `xyzzy`$"):
        hr.xyzzy  # noqa: B018


def test_what_tables_say_for_pandas_is_tried_after_each_ready_made_stage_that_makes_them_of_a_table() -> None:
    def has_table(hint: Any) -> bool:
        if hint is pa.Table:
            return True
        inner = typing.get_type_hints(hint).values() if hasattr(hint, "_fields") else typing.get_args(hint)
        return any(has_table(each) for each in inner)

    named = {
        stage.function.__headrace_name__.removeprefix("headrace.stages."): stage.function
        for stage in ready_made()
        if hasattr(stage.function, "__headrace_name__")
    }
    giving = {name for name, each in named.items() if has_table(typing.get_type_hints(each).get("return"))}
    assert {each for each in giving if not each.startswith(MAKE_NONE)} == {*CALLS}
