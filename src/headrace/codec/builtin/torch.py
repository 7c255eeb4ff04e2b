"""PyTorch's tensors, and dictionaries of them, as safetensors."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from safetensors.torch import save_file

from headrace.codec.misfit import Declined
from headrace.codec.sink import Sink
from headrace.codec.source import Source

SMALL_BYTES = 1 << 16
KEY = "headrace"


class Note(msgspec.Struct, frozen=True, array_like=True):
    """What safetensors leaves out: the order of the names; which names share a tensor; which tensors are parameters or
    require gradients; and the module versions in a `state_dict`."""

    names: list[str]
    same: dict[str, str]
    parameters: list[str]
    gradients: list[str]
    versions: dict[str, Any] | None = None


class TorchCodec:
    """A tensor, or a dictionary of names to tensors such as `model.state_dict()`, as a safetensors file.

    Loaded tensors are on the CPU, even if they were saved from another device. Names that shared one tensor share it
    again after loading. Sparse tensors, quantized tensors and modules are pickled instead. It is better to save a
    module's `state_dict()`, and to load this dictionary into a new module. Equal tensors make equal bytes.
    """

    name = "safetensors"
    safe = True

    def takes(self, value: object) -> bool:
        if type(value) in (torch.Tensor, torch.nn.Parameter):
            return True
        return (
            type(value) in (dict, OrderedDict)
            and isinstance(value, dict)
            and all(
                type(key) is str and type(item) in (torch.Tensor, torch.nn.Parameter) for key, item in value.items()
            )
        )

    def save(self, value: Any, sink: Sink) -> None:
        tensors_by_name: dict[str, Any] = value if isinstance(value, dict) else {"": value}
        tensors, note = _flatten(tensors_by_name)
        metadata = {KEY: msgspec.json.encode(note).decode()}
        if sum(tensor.nbytes for tensor in tensors.values()) > SMALL_BYTES:
            save_file(tensors, sink.path, metadata)
        else:
            sink.write(save_bytes(tensors, metadata))

    def load(self, source: Source) -> object:
        if source.inline is not None:
            tensors = load_bytes(source.inline)
            header = int.from_bytes(source.inline[:8], "little")
            metadata = msgspec.json.decode(source.inline[8 : 8 + header])["__metadata__"]
        else:
            with safe_open(source.path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it isn't a dictionary
                metadata = file.metadata()
        note = msgspec.json.decode(metadata[KEY], type=Note)
        values = _unflatten(tensors, note)
        match source.type:
            case "builtins.dict":
                return values
            case "collections.OrderedDict":
                return _state_dict(values, note)
            case _:
                return values[""]


CODECS = (TorchCodec(),)


def _flatten(given: dict[str, Any]) -> tuple[dict[str, Any], Note]:
    """Return each tensor once, contiguous and on the CPU. Also return a `Note` of all else that loading must
    restore."""
    tensors: dict[str, Any] = {}
    same: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in given.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta" or tensor.is_complex():
            raise Declined("a tensor that safetensors doesn't hold")
        where = (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if tensor.numel() and (shared := first.setdefault(where, name)) != name:
            same[name] = shared
            continue
        plain = tensor.detach().cpu().resolve_neg().contiguous()
        if plain.numel() and plain.untyped_storage().nbytes() != plain.nbytes:
            plain = plain.clone()  # a view of a bigger tensor, which may overlap with another view
        tensors[name] = plain
    return tensors, Note(
        names=list(given),
        same=same,
        parameters=[name for name, each in given.items() if isinstance(each, torch.nn.Parameter)],
        gradients=[name for name, each in given.items() if each.requires_grad],
        versions=getattr(given, "_metadata", None),
    )


def _unflatten(tensors: dict[str, Any], note: Note) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in note.names:
        tensor = tensors[note.same.get(name, name)]
        if name in note.parameters:
            values[name] = torch.nn.Parameter(tensor, requires_grad=name in note.gradients)
        else:
            values[name] = tensor.requires_grad_(name in note.gradients)
    return values


def _state_dict(found: dict[str, Any], note: Note) -> OrderedDict[str, Any]:
    state: Any = OrderedDict(found)
    if note.versions is not None:
        state._metadata = OrderedDict(note.versions)
    return state  # type: ignore[no-any-return]
