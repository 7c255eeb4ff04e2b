"""Finds the owners of loaded functions, classes and other objects, and the names under which a digest includes such
objects."""

from __future__ import annotations

import sys
import types

from headrace.fingerprint.loaded.function import cells_of
from headrace.fingerprint.module_owner import ModuleOwners
from headrace.fingerprint.python_objects import instance_dict, is_a, module_of, plain_function, qualname_of, thing_name
from headrace.fingerprint.values.value import Owner

PLAIN = (str, bytes, int, float, complex, bool, type(None), list, tuple, dict, set, frozenset)


class Owners:
    """Finds the owner of functions, classes and other objects: the project, or a distribution."""

    def __init__(self, homes: ModuleOwners) -> None:
        self._homes = homes

    def of_class(self, cls: type) -> Owner:
        """Return the owner of a class. Classes of Headrace are treated like those of any distribution (`other`)."""
        home = self._homes.of_module(cls.__module__)
        return "other" if home == "ours" else home

    def is_project(self, thing: object) -> bool:
        """Return whether a function or class is the project's."""
        if is_a(thing, types.FunctionType):
            return self._homes.of_code(thing.__code__, thing.__globals__) == "project"
        return is_a(thing, type) and self.of_class(thing) == "project"

    def holds_project(self, value: object) -> bool:
        """Return whether a value is a function or class of the project, or any function with a closure."""
        plain = plain_function(value) or value
        if is_a(plain, types.FunctionType):
            is_ours = self._homes.of_code(plain.__code__, plain.__globals__) == "project"
            return is_ours or plain.__closure__ is not None
        return is_a(plain, type) and self.of_class(plain) == "project"

    def is_of_distribution(self, value: object) -> bool:
        """Return whether a module or callable belongs to a distribution."""
        if is_a(value, types.ModuleType):
            return self._homes.of_module(value.__name__) == "other"
        return callable(value) and self._homes.of_module(module_of(value) or "") == "other"

    def is_symbol(self, value: object) -> bool:
        """Return whether only the name of a callable enters the digest, not its code. This is so if the callable isn't
        the project's and is found in its module under its own name."""
        kind = type(value)
        if self._homes.of_module(kind.__module__) == "project" or not callable(value) or kind in PLAIN:
            return False
        inside = instance_dict(value)
        if "__name__" not in inside and not any("__name__" in vars(base) for base in kind.__mro__):
            return False
        module = module_of(value)
        return module is not None and self._homes.of_module(module) != "project" and is_at_home(value)

    def stable_name(self, value: object) -> str:
        """Return the dotted name of a function, class or module. This name is the same in every process."""
        plain = plain_function(value) or value
        module, _, name = thing_name(plain).rpartition(".")
        return f"{self._homes.module_name(module_of(plain) or module)}.{name}"

    def wrapped(self, value: object) -> list[tuple[str, object]]:
        """Return the functions and classes of the project that a distribution's object, such as a wrapper, holds. Each
        is returned with the name under which the object holds it."""
        inside = dict(instance_dict(value))
        if is_a(value, types.FunctionType):
            inside.update((f"cell {name}", item) for name, item in cells_of(value).items())
            registry = inside.pop("registry", None)
            if is_a(registry, types.MappingProxyType):
                # `singledispatch`: the function registered for each class
                for kind, item in registry.items():
                    name = f"for {self.stable_name(kind)}"
                    inside[name if name not in inside else f"{name} {len(inside)}"] = item
        return [(name, item) for name, item in sorted(inside.items()) if self.holds_project(item)]


def is_at_home(value: object) -> bool:
    """Return whether a function or class is found where it says that it is defined: in its own module, under its own
    name."""
    owner: object = sys.modules.get(module_of(value) or "builtins")
    for name in qualname_of(value).split("."):
        inside = vars(owner) if is_a(owner, type | types.ModuleType) else {}
        owner = inside.get(name)
    return owner is value
