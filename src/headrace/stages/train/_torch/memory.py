"""Turns PyTorch's errors about too little memory, which are `RuntimeError`s, into `MemoryError`s."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_WORDS = ("can't allocate memory", "not enough memory")
"""Parts of the messages of PyTorch's CPU allocator, on Linux and elsewhere (c10/core/impl/alloc_cpu.cpp)."""


def is_short_of_memory(error: BaseException) -> bool:
    """Return whether an error that the model raised means that there is not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error) for each in _WORDS)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Return a context that turns an error about too little memory into a `MemoryError`, which is a separate kind of
    failure."""
    try:
        yield
    except RuntimeError as error:
        if not is_short_of_memory(error):
            raise
        line = str(error).strip().partition("\n")[0]
        raise MemoryError(line.partition("DefaultCPUAllocator: ")[2] or line) from error
