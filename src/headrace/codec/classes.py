"""Names of classes: tell a value's class without importing its library, and find a class by its name."""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from types import MethodType, ModuleType
from typing import Any

from headrace.errors import CodecError

DISTRIBUTIONS = {
    "PIL": "pillow",
    "adbc_driver_manager": "adbc-driver-manager",
    "adbc_driver_postgresql": "adbc-driver-postgresql",
    "adbc_driver_sqlite": "adbc-driver-sqlite",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "rouge_score": "rouge-score",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
"""Module name -> name to install, for modules where these two names differ. For example, scikit-learn's module is
`sklearn`, but on PyPI `sklearn` is another project."""


def describe(kind: type) -> str:
    """Return a class's name with its module: `module.Qualname`.

    >>> from decimal import Decimal
    >>> describe(Decimal)
    'decimal.Decimal'
    """
    return f"{kind.__module__}.{kind.__qualname__}"


def public_name(module: str, qualname: str) -> str:
    """Return the name that a class or function has in keys and artifacts.

    For code of Headrace, the module in this name is the nearest package from which the class or function can be
    imported. So the code can move to another file without changing the name.

    >>> public_name("headrace.codec.classes", "resolve")
    'headrace.codec.classes.resolve'
    >>> public_name("decimal", "Decimal")
    'decimal.Decimal'
    """
    if module.startswith("headrace."):
        name, package = qualname.partition(".")[0], module
        while package := package.rpartition(".")[0]:
            if place_of(package, name) == module:
                return f"{package}.{qualname}"
    return f"{module}.{qualname}"


def place_of(package: str, name: str) -> str | None:
    """Return the module that defines `name`, which a package of Headrace offers. Return None if the package offers no
    such name.

    >>> place_of("headrace.stages.train", "Network")
    'headrace.stages.train._torch.network'
    """
    tables = vars(importlib.import_module(package))  # cheap, and the same result whether loaded before or not
    place: str | None = tables.get("PLACES", {}).get(name) or tables.get("KEPT", {}).get(name)
    return place


def is_a(value: object, *names: str) -> bool:
    """Return whether a value's class, or a class that it inherits from, has one of these names. Nothing is imported.

    >>> is_a(True, "builtins.int")
    True
    >>> is_a("text", "pandas.DataFrame", "polars.dataframe.frame.DataFrame")
    False
    """
    return any(describe(base) in names for base in type(value).__mro__)


def is_exactly(value: object, *names: str) -> bool:
    """Return whether a value's own class has one of these names. Subclasses don't count: they may hold more than the
    codec of their base class saves."""
    return describe(type(value)) in names


def roots(value: object) -> tuple[str, ...]:
    """Return the top-level packages of a value's class and of its base classes, the most derived class first.

    >>> roots(True)
    ('builtins',)
    """
    kind: Any = type(value)
    return _roots(kind)


@lru_cache(maxsize=1024)
def _roots(kind: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(base.__module__.partition(".")[0] for base in kind.__mro__))


def is_importable(kind: Any, module: str | None = None) -> bool:
    """Return whether another process can import a class or function by its name. A class or function that was made
    inside a function can't be imported."""
    value: object = sys.modules.get(module or kind.__module__)
    for name in kind.__qualname__.split("."):
        value = getattr(value, name, None)
    return value is kind or (isinstance(value, MethodType) and value == kind)


def name_of(kind: type) -> str:
    """Return the name under which artifacts record a class."""
    return public_name(kind.__module__, kind.__qualname__)


def resolve(name: str) -> type:
    """Return the class that an artifact names, importing its module.

    If the name ends in `@` and digits of the class's code digest, this suffix is ignored.

    >>> resolve("decimal.Decimal")
    <class 'decimal.Decimal'>
    """
    path = name.partition("@")[0]
    module, inner = _module_of(path)
    value: object = module
    for part in inner:
        value = getattr(value, part, None)
    if not isinstance(value, type):
        if path.startswith("__main__."):
            raise CodecError(
                f"the class `{path}` of an artifact isn't defined here: it is a notebook's or script's own class",
                hint="define the class before you load the artifact, or move it to a module of the project",
            )
        raise CodecError(
            f"the class `{path}` of an artifact no longer exists",
            hint="it was renamed, moved, or can't be imported; run again the task that made the artifact",
        )
    return value


def _module_of(path: str) -> tuple[object, list[str]]:
    """Import the longest prefix of a dotted path that is a module; return the module and the names after it."""
    names = path.split(".")
    for count in range(len(names) - 1, 0, -1):
        prefix = ".".join(names[:count])
        try:
            return importlib.import_module(prefix), names[count:]
        except ModuleNotFoundError as error:
            if error.name is None or not (prefix == error.name or prefix.startswith(f"{error.name}.")):
                raise CodecError(
                    f"the module of class `{path}` can't be imported: {error}",
                    hint=f"pip install {distribution(error.name or path)}",
                ) from error
    raise CodecError(
        f"the Python module of class `{path}` can't be imported here",
        hint="install the package that it came from, or run again the task that made the artifact",
    )


def distribution(module: str) -> str:
    """Return the name to install for the library that a module belongs to.

    >>> distribution("sklearn.linear_model"), distribution("torch")
    ('scikit-learn', 'torch')
    """
    top = module.partition(".")[0]
    return DISTRIBUTIONS.get(top, top)


def library_named(name: str) -> ModuleType:
    """Import and return an optional library. If it isn't installed, raise a `CodecError` that says how to install
    it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        raise CodecError(
            f"the library `{missing}`, which a codec needs, isn't installed",
            hint=f"pip install {distribution(missing)}{' skops' if missing == 'sklearn' else ''}",
        ) from error
