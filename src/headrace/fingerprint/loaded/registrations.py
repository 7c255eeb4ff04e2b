"""The functions and classes that an object of a library holds: what was registered with an application, a router."""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from headrace.fingerprint.python_objects import instance_dict, is_a, is_thing, plain_function

MOST_HELD = 2_000
"""So many objects are looked at in one."""
PLAIN = (str, bytes, int, float, complex, bool, type(None), types.ModuleType)


def held(value: object, is_wanted: Callable[[object], bool]) -> Iterator[object]:
    """Return the functions and classes that are wanted of those in an object, and the classes of instances in it."""
    seen: set[int] = set()
    rest = deque(_inside(value))
    while rest and len(seen) < MOST_HELD:
        each = rest.popleft()
        each = plain_function(each) or each
        if id(each) in seen or is_a(each, PLAIN):
            continue
        seen.add(id(each))
        thing = each if is_a(each, type | types.FunctionType) else type(each)
        if is_wanted(thing):
            yield thing
        if not is_thing(each):
            rest.extend(_inside(each))


def _inside(value: Any) -> Iterator[object]:
    """Return what an object holds, as far as that can be seen without running code of its class."""
    if is_a(value, dict):
        yield from dict.values(value)
    elif is_a(value, list | tuple):
        yield from value
    elif is_a(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif is_a(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    yield from instance_dict(value).values()
