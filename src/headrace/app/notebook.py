"""Bundles a pipeline that is in a notebook: by value, with the cells that its functions come from."""

from __future__ import annotations

import json
import linecache
from typing import Any

import cloudpickle

from headrace.define.pipeline import PipelineFunction
from headrace.errors import ProjectError
from headrace.work.notebook import CELLS, NOTEBOOK


def notebook_files(pipeline: PipelineFunction[Any]) -> dict[str, bytes]:
    """Give the files that stand for a notebook in a bundle.

    Raises:
        ProjectError: the pipeline reaches something that can't be sent to another process.
    """
    try:
        pickled = cloudpickle.dumps(pipeline)
    except Exception as error:  # pickling runs code of whatever is reached
        raise ProjectError(
            f"pipeline `{pipeline.name}` reaches something that can't be sent to a worker: {error}",
            hint="make connections, locks and open files inside of stages",
        ) from error
    return {NOTEBOOK: pickled, CELLS: json.dumps(_cells()).encode()}


def _cells() -> dict[str, str]:
    """Give the sources of the cells that have run, by the file name that their code has."""
    return {
        name: "".join(entry[2])
        for name, entry in list(linecache.cache.items())
        if len(entry) == 4 and ("ipykernel_" in name or name.startswith("<ipython-input"))
    }
