"""How busy the GPU is that a training uses, where it uses one and the driver tells."""

from __future__ import annotations

import threading
from typing import Any

import torch

LOOK_S = 1.0


class Gpu:
    """Looks once a second at the device's utilisation (percent) and at this process's memory on it (GiB).

    On a CPU, or where NVML can't be asked, it sees nothing.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._seen: list[float] = []
        self._ended = threading.Event()
        if device.type == "cuda":
            threading.Thread(target=self._watch, name="headrace-gpu", daemon=True).start()

    def now(self) -> dict[str, float]:
        """Give what was seen last."""
        if self._device.type != "cuda":
            return {}
        found = {"memory_gib": torch.cuda.memory_allocated(self._device) / 2**30}
        return {**found, "busy_percent": self._seen[-1]} if self._seen else found

    def mean(self) -> dict[str, float]:
        """Give the mean utilisation, and the most memory."""
        if self._device.type != "cuda":
            return {}
        found = {"peak_memory_gib": torch.cuda.max_memory_allocated(self._device) / 2**30}
        return {**found, "mean_busy_percent": sum(self._seen) / len(self._seen)} if self._seen else found

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self._seen.append(float(torch.cuda.utilization(self._device)))
            except Exception:  # noqa: BLE001  NVML is absent, of another version or forbidden: nothing depends on it
                return
