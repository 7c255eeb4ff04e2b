"""The signature of a model that a ready-made stage trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from headrace.define.attempt import attempt
from headrace.define.log import warn
from headrace.define.ports import current
from headrace.errors import sentence
from headrace.models.model import model_of
from headrace.models.signature import signature_of
from headrace.spec.signature import MOST_BYTES


def sign(model: Any, rows: pa.Table, columns: Sequence[str]) -> None:
    """Record a model's signature: what the model takes and gives. It is derived from `rows`, which the model learned
    from. Outside of a run, do nothing.

    If the signature can't be recorded, warn, but raise no error: the training has succeeded.
    """
    if current() is None:
        return
    try:
        signature = signature_of(model_of(model), rows, columns).encoded()
    except Exception as error:  # noqa: BLE001  the model may be code of the user, which may raise anything
        warn(f"the model has no signature: {sentence(error)}")
        return
    if signature is None:
        warn(
            f"the model has no signature: its {len(columns):,} columns are more than fit into {MOST_BYTES:,} bytes, so"
            " `headrace predict` checks no types"
        )
    else:
        attempt().sign(model, signature)
