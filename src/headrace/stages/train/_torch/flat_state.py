"""A nested state as one flat dictionary of tensors and a plain rest: what a checkpoint is stored as."""

from __future__ import annotations

from typing import Any

import torch

MARK = "\0tensor"


class Packer:
    """Copies a state's tensors to memory of its own, which it uses again: a copy takes no new pages after the first.

    So what it packed last is overwritten by the next.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Any] = {}

    def pack(self, state: Any) -> dict[str, Any]:
        """Give `{"tensors": ..., "rest": ...}`; tensors that are one stay one."""
        tensors: dict[str, Any] = {}
        names: dict[int, str] = {}
        rest = _replace(state, tensors, names, "")
        return {"tensors": {name: self._copy(name, each) for name, each in tensors.items()}, "rest": rest}

    def reserve(self, state: Any) -> None:
        """Take the memory that `pack` will copy such a state to: a thread can, while the state changes."""
        tensors: dict[str, Any] = {}
        _replace(state, tensors, {}, "")
        for name, each in tensors.items():
            self._memory[name] = torch.zeros(each.shape, dtype=each.dtype).fill_(0)  # written, so that it is there

    def _copy(self, name: str, tensor: Any) -> Any:
        tensor = tensor.detach()
        mine = self._memory.get(name)
        if mine is None or mine.shape != tensor.shape or mine.dtype != tensor.dtype:
            mine = self._memory[name] = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
        mine.copy_(tensor)
        return mine


def unpack(packed: dict[str, Any]) -> Any:
    """Give the state that was packed."""
    return _restore(packed["rest"], packed["tensors"])


def _replace(value: Any, tensors: dict[str, Any], names: dict[int, str], path: str) -> Any:
    if isinstance(value, torch.Tensor):
        name = names.setdefault(id(value), path)
        tensors[name] = value
        return (MARK, name)
    if isinstance(value, dict):
        return {key: _replace(each, tensors, names, f"{path}/{key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        found = [_replace(each, tensors, names, f"{path}/{place}") for place, each in enumerate(value)]
        return found if isinstance(value, list) else tuple(found)
    return value


def _restore(value: Any, tensors: dict[str, Any]) -> Any:
    match value:
        case (str() as mark, str() as name) if mark == MARK and isinstance(value, tuple):
            return tensors[name]
        case dict():
            return {key: _restore(each, tensors) for key, each in value.items()}
        case list():
            return [_restore(each, tensors) for each in value]
        case tuple():
            return tuple(_restore(each, tensors) for each in value)
        case _:
            return value
