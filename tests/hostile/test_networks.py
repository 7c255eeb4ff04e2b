"""A network names the code that makes it: under `safe_only` nothing is called, imported or made for any other name
than PyTorch's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from headrace.codec.codecs import Codecs
from headrace.errors import CodecError, UsageError
from headrace.stages.train import Trained
from headrace.testing.blobs import MemoryBlobs

torch = pytest.importorskip("torch")

from tests.hostile.networks import CANARY, LINEAR, Named, canary, factories, network, records  # noqa: E402  torch is optional


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What holds when a test begins still holds when it ends: files, variables, modules and processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an import is to leave nothing beside the module
    canary(tmp_path, tmp_path / "marker")
    variables, children = _variables(), set(psutil.Process().children(recursive=True))
    before = {*sys.modules}
    yield
    assert _variables() == variables
    assert set(psutil.Process().children(recursive=True)) <= children
    assert not {*sys.modules} & {CANARY, "pipelines", "torch.nn.__main__", "headrace.stages.train._torch.rank"} - before
    assert [path.name for path in tmp_path.iterdir()] == ["headrace_canary.py"]


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.mark.parametrize("name", factories(Path("marker")))
def test_a_network_that_names_other_code_is_not_loaded(name: str, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    ref = Codecs().save(factories(tmp_path / "marker")[name], blobs)
    with pytest.raises(CodecError, match=r"network|runs code"):
        Codecs().load(ref, blobs)


@pytest.mark.parametrize("name", records(Path("marker")))
def test_a_record_that_no_list_has_is_not_loaded(name: str, tmp_path: Path) -> None:
    with pytest.raises(CodecError):
        Codecs().load(records(tmp_path / "marker")[name], MemoryBlobs())


@pytest.mark.parametrize("name", ["a function of os", "a module that acts when it is imported"])
def test_the_corpus_does_its_harm_where_nothing_is_checked(name: str, tmp_path: Path) -> None:
    """An attack that wouldn't work anyway would prove nothing."""
    blobs = MemoryBlobs()
    loaded: Any = Codecs().load(Codecs().save(factories(tmp_path / "marker")[name], blobs), blobs, safe_only=False)
    with pytest.raises(UsageError, match="gives"):
        loaded.module()
    marker = tmp_path / "marker"
    assert marker.exists()
    marker.rmdir() if marker.is_dir() else marker.unlink()
    sys.modules.pop(CANARY, None)


def test_a_network_of_the_project_says_what_loads_it() -> None:
    blobs = MemoryBlobs()
    trained = Trained(model=network("pipelines:Net", 2), history=pa.table({"a": [1]}), report=None)
    with pytest.raises(CodecError, match="is made by `pipelines:Net`") as refused:
        Codecs().load(Codecs().save(trained, blobs), blobs)
    assert "headrace.load" in (refused.value.hint or "")


@pytest.mark.parametrize(
    "made",
    [
        network(LINEAR, 2, 1),
        network(LINEAR, 2, 1, bias=True),
        network(LINEAR, in_features=2, out_features=1, device=None),
    ],
)
def test_a_network_of_modules_of_pytorch_is_loaded_and_predicts_as_before(made: Any) -> None:
    blobs, rows = MemoryBlobs(), pa.table({"a": [1.0, -3.0], "b": [0.5, 2.0]})
    loaded: Any = Codecs().load(Codecs().save(made, blobs), blobs)
    assert loaded.predict_proba(rows).tolist() == made.predict_proba(rows).tolist()


@pytest.mark.parametrize("name", ["torch.nn.modules.activation:ReLU", "torch.nn.functional:relu", "torch._C._nn:gelu"])
def test_classes_and_functions_of_pytorch_may_be_arguments(name: str) -> None:
    blobs, layer = (
        MemoryBlobs(),
        network("torch.nn.modules.transformer:TransformerEncoderLayer", 2, 1, activation=Named(name=name)),
    )
    assert Codecs().load(Codecs().save(layer.made, blobs), blobs) == layer.made
