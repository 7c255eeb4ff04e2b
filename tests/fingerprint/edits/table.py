"""The whole table."""

from __future__ import annotations

from tests.fingerprint.edits import basics, code, loading, made, modules, state, values

ROWS = [*basics.ROWS, *code.ROWS, *modules.ROWS, *state.ROWS, *loading.ROWS, *values.ROWS, *made.ROWS[::5], *made.IDLE]
