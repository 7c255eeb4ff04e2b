"""The former name of `headrace.report`: pipelines that import it go on working."""

from __future__ import annotations

from headrace.report import __all__, __dir__, __getattr__  # noqa: F401
