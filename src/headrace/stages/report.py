"""The former name of `headrace.report`, so that pipelines which import it still work."""

from __future__ import annotations

from headrace.report import __all__, __dir__, __getattr__  # noqa: F401
