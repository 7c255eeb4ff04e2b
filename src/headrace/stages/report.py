"""The former name of `headrace.report`. This module is kept for pipelines that still import it."""

from __future__ import annotations

from headrace.report import __all__, __dir__, __getattr__  # noqa: F401
