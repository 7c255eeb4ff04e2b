"""Tensors and dictionaries of them as safetensors."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from headrace.codec.codecs import Codecs
from headrace.errors import CodecError
from headrace.store.folder.folder import FolderStore
from headrace.testing.codec_contract import CodecContract

torch = pytest.importorskip("torch")

from headrace.codec.builtin.torch import TorchCodec  # noqa: E402


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(30, 50), torch.nn.BatchNorm1d(50), torch.nn.Linear(50, 1))


def alike(given: Any, found: Any) -> bool:
    if isinstance(given, dict):
        return (
            type(given) is type(found)
            and list(given) == list(found)
            and all(alike(given[key], found[key]) for key in given)
        )
    return (
        type(given) is type(found)
        and given.dtype == found.dtype
        and given.shape == found.shape
        and given.requires_grad == found.requires_grad
        and torch.equal(torch.nan_to_num(given), torch.nan_to_num(found))
    )


class TestTorch(CodecContract):
    codec = TorchCodec()
    values = (
        torch.arange(5),
        torch.tensor(1.5, requires_grad=True),
        torch.zeros(0, 3),
        torch.randn(200, 300),
        torch.randn(200, 300).T,
        torch.randn(100, 100)[::2, ::3],
        torch.randn(4, 4).to(torch.bfloat16),
        torch.tensor([True, False]),
        torch.nn.Parameter(torch.randn(3), requires_grad=False),
        {"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.int8)},
        network().state_dict(),
        {"w": torch.nn.Parameter(torch.randn(3))},
    )

    def same(self, given: Any, found: Any) -> bool:
        return alike(given, found)

    def spoil(self, value: Any) -> None:
        tensor = next(iter(value.values())) if isinstance(value, dict) else value
        tensor.detach().zero_()


def test_a_module_takes_its_state_back(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(network().state_dict(), store)
    assert (ref.codec, ref.type) == ("safetensors", "collections.OrderedDict")
    state: Any = codecs.load(ref, store, safe_only=True)
    other = network()
    other.load_state_dict(state)
    assert state._metadata == network().state_dict()._metadata
    inputs = torch.randn(4, 30)
    assert torch.equal(other.eval()(inputs), network().eval()(inputs))


def test_names_that_share_a_tensor_share_it_again(codecs: Codecs, store: FolderStore) -> None:
    tied = torch.randn(100, 100)
    ref = codecs.save({"in": tied, "out": tied, "part": tied[:2]}, store)
    assert ref.size < 45_000
    found: Any = codecs.load(ref, store)
    assert found["in"].data_ptr() == found["out"].data_ptr()
    assert torch.equal(found["part"], tied[:2])


def test_a_tensor_inside_of_other_values_is_safe(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save({"state": network().state_dict(), "epoch": 3}, store)
    assert [each.codec for each in ref.parts or ()] == ["safetensors", "json"]
    assert codecs.load(ref, store, safe_only=True)


@pytest.mark.parametrize("make", [network, lambda: torch.eye(3).to_sparse()], ids=["module", "sparse"])
def test_what_safetensors_does_not_hold_is_pickled(make: Any, codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(make(), store)
    assert ref.codec == "pickle"
    assert codecs.load(ref, store, safe_only=False) is not None
    with pytest.raises(CodecError, match="runs code"):
        codecs.load(ref, store, safe_only=True)


def test_an_empty_dictionary_is_still_plain(codecs: Codecs, store: FolderStore) -> None:
    assert codecs.save({}, store).codec == "json"
    assert codecs.save(OrderedDict(), store).codec == "parts"
