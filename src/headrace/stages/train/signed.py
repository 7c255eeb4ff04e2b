"""The signature of a model that a ready-made stage trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from headrace.define.attempt import attempt
from headrace.define.ports import current
from headrace.models.model import model_of
from headrace.models.signature import signature_of


def sign(model: Any, rows: pa.Table, columns: Sequence[str]) -> None:
    """Record what a model takes and gives, seen from the rows that it learned from. Outside of a run, do nothing."""
    if current() is None:
        return
    signature = signature_of(model_of(model), rows, columns).encoded()
    if signature is not None:
        attempt().sign(model, signature)
