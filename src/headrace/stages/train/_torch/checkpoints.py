"""Stores checkpoints while the training continues: the loop copies the state, and a thread writes the copy.

In a checkpoint, the tensors are stored as a flat dictionary, and all other values as plain values.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import torch

from headrace.stages.train._torch.host import Host

MARK = "\0tensor"


class Keeper:
    """Stores checkpoints through a `Host`, one at a time. `begin` stops the loop only while the state is copied, unless
    an earlier checkpoint is still being written.

    `stalled_s` is how long `begin` has stopped the loop in total, and `longest_s` is the longest single stop, both in
    seconds.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._packer = Packer()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="headrace-checkpoint")
        self._saving: Future[Any] | None = None
        self._reserving: Future[None] | None = None
        self.stalled_s = 0.0
        self.longest_s = 0.0
        self.kept = 0

    def reserve(self, state: Callable[[], Any]) -> None:
        """In a thread, allocate the memory for a copy of the state. Allocating new pages takes five times as long as
        copying."""
        if self._reserving is None:
            self._reserving = self._thread.submit(self._packer.reserve, state())

    @property
    def is_busy(self) -> bool:
        """Whether an earlier checkpoint is still being written."""
        return self._saving is not None and not self._saving.done()

    def is_free(self, within_s: float = 0.0) -> bool:
        """Wait until the last checkpoint is written, but at most `within_s` seconds. Return whether it is written."""
        if self._saving is not None and within_s:
            wait([self._saving], within_s)
        return not self.is_busy

    def begin(self, state: Callable[[], Any]) -> None:
        """Wait until the earlier checkpoint is written, copy the state, and begin to write the copy in a thread."""
        began = time.perf_counter()
        self.settle()
        if self._reserving is not None:
            self._reserving.result()
        packed = self._packer.pack(state())
        self._saving = self._thread.submit(self._host.save, packed)
        took = time.perf_counter() - began
        self.stalled_s += took
        self.longest_s = max(self.longest_s, took)

    def look(self) -> None:
        """If the last checkpoint is written by now, tell the `Host` to keep it. If writing it has failed, raise the
        error."""
        if self._saving is not None and self._saving.done():
            self.settle()

    def settle(self) -> None:
        """Wait until the last checkpoint is written, and tell the `Host` to keep it."""
        if self._saving is not None:
            saving, self._saving = self._saving, None
            self._host.keep(saving.result())
            self.kept += 1

    def close(self) -> None:
        """End the thread, without waiting for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class Packer:
    """Copies a state's tensors into memory that is reused, so only the first copy allocates pages.

    Each copy overwrites the copy before it.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Any] = {}

    def pack(self, state: Any) -> dict[str, Any]:
        """Return `{"tensors": ..., "rest": ...}`. A tensor that appears in several places of the state is copied only
        once."""
        tensors: dict[str, Any] = {}
        names: dict[int, str] = {}
        rest = _replace(state, tensors, names, "")
        return {"tensors": {name: self._copy(name, each) for name, each in tensors.items()}, "rest": rest}

    def reserve(self, state: Any) -> None:
        """Allocate the memory into which `pack` will copy a state with tensors of the same shapes. A thread may call
        this while the state changes."""
        tensors: dict[str, Any] = {}
        _replace(state, tensors, {}, "")
        for name, each in tensors.items():
            self._memory[name] = torch.zeros(each.shape, dtype=each.dtype).fill_(0)  # this allocates the pages

    def _copy(self, name: str, tensor: Any) -> Any:
        tensor = tensor.detach()
        mine = self._memory.get(name)
        if mine is None or mine.shape != tensor.shape or mine.dtype != tensor.dtype:
            mine = self._memory[name] = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
        mine.copy_(tensor)
        return mine


def unpack(packed: dict[str, Any]) -> Any:
    """Return the state that `pack` packed."""
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
