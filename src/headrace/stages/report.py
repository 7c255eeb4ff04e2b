"""The former name of `headrace.report`. It is kept for pipelines that import this name."""

from __future__ import annotations

from headrace.report import __all__, __dir__, __getattr__  # noqa: F401
