"""Keeping checkpoints while training goes on: copied in the loop, written by a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from headrace.stages.train._torch.flat_state import Packer
from headrace.stages.train._torch.host import Host


class Keeper:
    """Keeps checkpoints, one at a time. The loop stands still only while the state is copied.

    `stalled_s` is how long it has stood still, in seconds, and `longest_s` the longest that it did at once.
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
        """Have a thread take the memory for a copy of the state: new pages cost five times what the copy does."""
        if self._reserving is None:
            self._reserving = self._thread.submit(self._packer.reserve, state())

    @property
    def is_busy(self) -> bool:
        """Whether an earlier checkpoint is still being written."""
        return self._saving is not None and not self._saving.done()

    def is_free(self, within_s: float = 0.0) -> bool:
        """Whether the earlier checkpoint is written, or will be in this time."""
        if self._saving is not None and within_s:
            wait([self._saving], within_s)
        return not self.is_busy

    def begin(self, state: Callable[[], Any]) -> None:
        """Copy the state, and have it written aside. An earlier one is waited for."""
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
        """Report a checkpoint that has been written meanwhile; raise what went wrong with it."""
        if self._saving is not None and self._saving.done():
            self.settle()

    def settle(self) -> None:
        """Wait until the last one is written, and report it."""
        if self._saving is not None:
            saving, self._saving = self._saving, None
            self._host.keep(saving.result())
            self.kept += 1

    def close(self) -> None:
        """Wait for nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
