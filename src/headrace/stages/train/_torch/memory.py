"""Too little memory, which PyTorch says in a `RuntimeError`, said as Python does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_WORDS = ("can't allocate memory", "not enough memory")
"""What PyTorch's allocator on CPUs says: on Linux, and elsewhere (c10/core/impl/alloc_cpu.cpp)."""


def is_short_of_memory(error: BaseException) -> bool:
    """Return whether an error of the model's means that there is not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error) for each in _WORDS)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise what means that there is not enough memory as `MemoryError`: a kind of failure of its own."""
    try:
        yield
    except RuntimeError as error:
        if not is_short_of_memory(error):
            raise
        line = str(error).strip().partition("\n")[0]
        raise MemoryError(line.partition("DefaultCPUAllocator: ")[2] or line) from error
