"""References to secrets. A secret's value is sent only to the workers that need it."""

from __future__ import annotations

import re

from headrace.errors import DefinitionError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Secret:
    """A reference to a secret by name. A stage with a `Secret` as an argument gets the secret's value as text. Only the
    name is part of the key."""

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
    """Return a reference to a secret, for a stage's parameter that takes text.

    The driver reads the value from the environment variable of that name and sends it to the workers that need it. The
    value is masked in their output and in the values that they return.
    """
    return Secret(name)  # type: ignore[return-value]  # stages see text: the type is what the worker makes of it
