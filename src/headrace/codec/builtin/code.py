"""Code as an argument of a stage: a function, a class or a partial, saved by its name.

Only arguments may be code. A worker finds the code in the bundle by its name. The artifact doesn't show what the code
does, so the digest of all code that the argument reaches is part of the task's key.
"""

from __future__ import annotations

import functools
import importlib
import types
from typing import Any

import msgspec

from headrace.codec.classes import is_importable
from headrace.codec.misfit import Misfit
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError

KINDS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type, functools.partial)


class CodeCodec:
    """A function or class, saved by its name; a partial, saved as its function and arguments.

    Loading imports a module, so it isn't safe.
    """

    name = "code"
    safe = False

    def takes(self, value: object) -> bool:
        return isinstance(value, KINDS)

    def save(self, value: object, sink: Sink) -> None:
        if isinstance(value, functools.partial):
            sink.part(value.func, "function")
            sink.part(list(value.args), "args")
            sink.part(dict(value.keywords), "keywords")
        else:
            sink.write(msgspec.json.encode(_name(value)))

    def load(self, source: Source) -> object:
        if source.names is not None:
            function, args, keywords = source.parts()
            return functools.partial(_checked(function, callable), *_checked(args, list), **_checked(keywords, dict))
        module, _, qualname = msgspec.json.decode(source.read(), type=str).partition(":")
        value: Any = importlib.import_module(module)
        for part in qualname.split("."):
            value = getattr(value, part, None)
        if not isinstance(value, KINDS):
            raise CodecError(
                f"there is no function or class `{qualname}` in `{module}` any more",
                hint="it was renamed, moved or deleted: run again the tasks that use it",
            )
        return value


def _name(value: Any) -> str:
    """Return the name `module:qualname` under which another process can import a function or class. If there is no such
    name, raise `Misfit`."""
    owner = getattr(value, "__self__", None)
    module = getattr(owner if isinstance(owner, type) else value, "__module__", None) or ""
    qualname = getattr(value, "__qualname__", "")
    if not is_importable(value, module):
        kind = "class" if isinstance(value, type) else "function"
        raise Misfit(
            f"{module}.{qualname}",
            f"no other process can import this {kind}",
            "define it at the top level of a module of the project, under a name of its own",
        )
    return f"{module}:{qualname}"


def _checked(value: Any, kind: Any) -> Any:
    if not (kind(value) if kind is callable else isinstance(value, kind)):
        raise CodecError(
            "a saved `functools.partial` must have a function and its arguments, but has something else",
            hint="run again the task that made it",
        )
    return value
