"""A secret by reference: its value exists only in the worker that needs it."""

from __future__ import annotations

import re

from headrace.errors import DefinitionError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Secret:
    """Names a secret; given to a stage, the stage gets its value as text. It counts in a key by name only."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(
                f"a secret's name is letters, digits and `_`, not {name!r}",
                hint='name the environment variable that holds it: hr.secret("WAREHOUSE_PASSWORD")',
            )
        self.name = name

    def __repr__(self) -> str:
        return f"secret({self.name!r})"


def secret(name: str) -> str:
    """Refer to a secret by name, for a parameter of a stage that takes text.

    It is read from the environment variable of that name where the driver runs, is sent to the workers that need it,
    and is masked in their output and in values that they return.
    """
    return Secret(name)  # type: ignore[return-value]  # stages see text: the type is what the worker makes of it
