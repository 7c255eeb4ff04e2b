"""The resources that a worker needs, as options of its Ray actor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headrace.run.ports import Job


class Needs(Struct, frozen=True, kw_only=True):
    """What each worker of a pool needs besides the resources of its stage: labels that its node must have, and custom
    resources."""

    labels: dict[str, str] = {}
    resources: dict[str, float] = {}

    def options(self, job: Job) -> dict[str, Any]:
        """Return the options of a worker's actor. A tracer reserves no resources, because it ends soon."""
        need = job.resources
        options: dict[str, Any] = {"num_cpus": 0 if job.role == "tracer" else need.cpu}
        if need.memory_gib and job.role != "tracer":
            options["memory"] = int(need.memory_gib * 2**30)
        if need.gpus > 0:
            options["num_gpus"] = need.gpus
            if need.gpu_kind:
                options["accelerator_type"] = need.gpu_kind
        if self.resources and job.role != "tracer":
            options["resources"] = dict(self.resources)
        if self.labels:
            options["label_selector"] = dict(self.labels)
        if need.nodes > 1:
            options["scheduling_strategy"] = "SPREAD"
        return options


def amounts(options: Mapping[str, Any]) -> dict[str, float]:
    """Return the amounts of resources among an actor's options, by Ray's names of the resources."""
    counted = {"CPU": options.get("num_cpus", 0), "GPU": options.get("num_gpus", 0), "memory": options.get("memory", 0)}
    counted |= options.get("resources", {})
    if kind := options.get("accelerator_type"):
        counted[f"accelerator_type:{kind}"] = 0.001
    return {name: float(amount) for name, amount in counted.items() if amount}
