"""The base class of all sections of `headrace.toml`."""

from __future__ import annotations

from msgspec import Struct


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base class of all sections of `headrace.toml`."""
