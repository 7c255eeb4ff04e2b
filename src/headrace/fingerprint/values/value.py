"""The digest of a constant by its value: equal values have the same digest in every process, and different values have
different digests.

Pickle and marshal aren't used: their bytes depend on which parts of a value are the same object. A value is written as
a stream of marks and contents. For a container, the number of its elements is written first, so the stream can be read
in only one way.
"""

from __future__ import annotations

import copyreg
import functools
import re
import types
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import PurePath
from typing import Any, Literal, NewType, TypeVar

from blake3 import blake3
from msgspec import Struct, field

from headrace.fingerprint.project_roots import ProjectRoots
from headrace.fingerprint.python_objects import is_thing, plain_function
from headrace.fingerprint.source.changes import MUTATORS
from headrace.fingerprint.values.arrays import read_array, read_tensor

Owner = Literal["project", "standard", "other"]

DESCRIPTORS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
LRU_CACHE = type(functools.lru_cache(len))
PLAIN = frozenset({int, float, complex, str, bytes, bool, type(None)})
STATELESS = frozenset({"_thread.lock", "_thread.RLock", "builtins.object", "os._Environ"})
"""Types whose values hold no state that belongs to the code."""
RANDOM = frozenset(
    {"random.Random", "numpy.random._generator.Generator", "numpy.random.mtrand.RandomState", "torch._C.Generator"}
)
COPIED = frozenset({"datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta", "decimal.Decimal"})
"""Types whose instances show their content only in the form that Python uses to copy them (`__reduce__`)."""
MOST_SETS = 4
"""How deep sets may be nested in sets. This limit also stops the reading of sets that contain themselves, through
objects."""
MOST_STEPS = 1_000_000
"""A value with more elements than this isn't read, since that would take seconds. Only its source text counts."""


class Encoded(Struct, eq=False):
    """A value's digest.

    `things` are the functions, classes and modules in the value, which enter the digest only by their position.
    `unread` holds the type names of objects that could not be read. `changing` says which part of the value changes
    while the value is used. It is None if no part changes.
    """

    digest: str = ""
    things: list[object] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    changing: str | None = None


class Values:
    """Encodes values.

    `owner` returns the owner of a class. `name` returns the name of a function, class or module, for sorting the
    elements of sets. `module` returns the name under which a module is imported. `symbol` returns whether only the name
    of a value counts, as for a distribution's function.
    """

    def __init__(
        self,
        roots: ProjectRoots,
        *,
        owner: Callable[[type], Owner],
        name: Callable[[object], str],
        module: Callable[[str], str] = str,
        symbol: Callable[[object], bool] = lambda _: False,
    ) -> None:
        self.neutral = roots.neutral
        self.owner = owner
        self.name = name
        self.module = module
        self.symbol = symbol
        self.steps_left = {False: 2 * MOST_STEPS, True: 2 * MOST_STEPS}
        self._known: dict[tuple[int, bool], tuple[object, Encoded]] = {}

    def encode(self, value: object, *, states: bool = False) -> Encoded:
        """Return a value's digest. The number of steps is limited for each value, and for all values together.

        With `states`, instances of distributions' classes inside the value are read too, by the state that pickle would
        store. If something in the value still can't be read, the result is the same as without `states`.
        """
        known = self._known.get((id(value), states))
        if known is None:
            encoded = self._encode(value, states=states)
            if states and encoded.unread:
                encoded = self._encode(value, states=False)
            # the value is kept with its digest: while it lives, no other object gets its id
            known = self._known[id(value), states] = (value, encoded)
        return known[1]

    def _encode(self, value: object, *, states: bool) -> Encoded:
        try:
            return _Encoder(self, states=states).encode(value)
        except Exception as error:  # noqa: BLE001  reading a value may run code of its class, which may raise anything
            return Encoded(unread=[f"{type_name(type(value))}, which raises {type(error).__name__}"])


class _Leave:
    """An entry of the stack of an `_Encoder`. It marks the place where the reading of a container ends."""

    def __init__(self, key: int) -> None:
        self.key = key


class _Mark:
    """An entry of the stack of an `_Encoder`. It holds bytes that are written unchanged."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class _Encoder:
    """Reads one value. It uses a stack instead of recursion, since values may be nested deeper than Python can
    recurse."""

    def __init__(self, values: Values, *, states: bool, sets_around: int = 0) -> None:
        self._values = values
        self._states = states
        self._sets_around = sets_around
        self._hasher = blake3()
        self._stack: list[object] = []
        self._path: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._kept: list[object] = []
        self._foreign: set[int] = set()
        self._found = Encoded()

    def encode(self, value: object) -> Encoded:
        self._stack.append(value)
        steps = 0
        while self._stack:
            item = self._stack.pop()
            steps += 1
            self._values.steps_left[self._states] -= 1
            if steps > MOST_STEPS or self._values.steps_left[self._states] < 0:
                self._found.unread.append("a value that is too large to read")
                break
            if isinstance(item, _Leave):
                del self._path[item.key]
            elif isinstance(item, _Mark):
                self._write(item.data)
            else:
                self._read(item)
        self._found.digest = self._hasher.hexdigest(length=16)
        return self._found

    # Writing

    def _write(self, data: bytes) -> None:
        self._hasher.update(b"%d:" % len(data))
        self._hasher.update(data)

    def _text(self, mark: str, text: str) -> None:
        self._write(f"{mark}{text}".encode("utf-8", "surrogatepass"))

    def _put(self, value: object, mark: str, inner: Iterable[object]) -> None:
        """Write a container: first its mark, then its size, then its elements."""
        elements = list(inner)
        self._text(mark, str(len(elements)))
        self._path[id(value)] = len(self._path)
        self._kept.append(value)
        self._stack.append(_Leave(id(value)))
        self._stack.extend(reversed(elements))

    # Reading

    def _read(self, value: object) -> None:
        kind = type(value)
        if kind in PLAIN:
            self._plain(value)
        elif not is_thing(value) and (plain := plain_function(value)) is not None:
            self._stack.append(plain)
        elif id(value) in self._path:
            self._text("cycle ", str(len(self._path) - self._path[id(value)]))
        elif is_thing(value) or self._values.symbol(value):
            self._thing(value)
        elif not self._container(value, kind) and not self._known(value, kind) and not self._object(value, kind):
            self._unread(value, kind)

    def _plain(self, value: object) -> None:
        if isinstance(value, str):
            self._text("s", self._values.neutral(value))
        elif isinstance(value, bytes):
            self._write(b"b" + value)
        elif isinstance(value, int) and value.bit_length() > 10_000:
            self._text("h", f"{value:x}")
        else:
            self._text("p", repr(value))

    def _thing(self, value: object) -> None:
        if self._sets_around:
            # to sort a set, functions, classes and modules count by their names
            self._text("thing ", self._values.name(value))
            return
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._found.things)
            self._found.things.append(value)
        self._text("thing ", str(self._numbers[id(value)]))

    def _container(self, value: object, kind: type) -> bool:
        if isinstance(value, list | tuple) and kind in (list, tuple):
            if not self._all_plain(value, value):
                self._put(value, kind.__name__, value)
        elif isinstance(value, dict) and kind is dict:
            if not self._all_plain(value, [*value.keys(), *value.values()]):
                self._put(value, "dict", (item for pair in value.items() for item in pair))
        elif isinstance(value, set | frozenset) and kind in (set, frozenset):
            self._set(value, kind.__name__)
        elif isinstance(value, types.MappingProxyType):
            self._put(value, "mappingproxy", [dict(value)])
        else:
            return False
        return True

    def _set(self, value: set[Any] | frozenset[Any], mark: str) -> None:
        if set(map(type, value)) <= PLAIN - {int}:
            self._put(value, mark, (_Mark(text.encode("utf-8", "surrogatepass")) for text in sorted(map(repr, value))))
        elif self._sets_around > MOST_SETS:
            self._found.unread.append("sets in sets")
            self._text(mark, str(len(value)))
        else:
            self._put(value, mark, sorted(value, key=self._sort_key))

    def _sort_key(self, value: object) -> str:
        inner = _Encoder(self._values, states=self._states, sets_around=self._sets_around + 1)
        return inner.encode(value).digest

    def _all_plain(self, value: object, elements: Iterable[object]) -> bool:
        """If all elements of a container are plain, write the container's `repr`, which differs for different plain
        values. Return whether the container was written."""
        kinds = set(map(type, elements))
        if not kinds <= PLAIN:
            return False
        try:
            text = repr(value)
        except ValueError:  # an integer with more digits than Python prints
            return False
        self._text("plain ", self._values.neutral(text) if str in kinds else text)
        return True

    def _known(self, value: Any, kind: type) -> bool:
        """Write a value if its type is a known type of the standard library, or if it is an array or table. Return
        whether the value was written."""
        if isinstance(value, Enum):
            self._put(value, "enum", [kind, value.name, value.value])
        elif isinstance(value, functools.partial):
            self._put(value, "partial", [kind, value.func, value.args, value.keywords, vars(value)])
        elif isinstance(value, types.MethodType):
            self._put(value, "method", [value.__func__, value.__self__])
        elif isinstance(value, types.BuiltinMethodType | types.MethodWrapperType):
            self._put(value, "builtin", [value.__self__, value.__name__])
            if value.__name__ in MUTATORS and isinstance(value.__self__, list | dict | set | bytearray | deque):
                self._found.changing = f"`{kind_name(value.__self__)}.{value.__name__}`"
        elif isinstance(value, property):
            self._put(value, "property", [value.fget, value.fset, value.fdel])
        elif isinstance(value, staticmethod | classmethod):
            self._put(value, kind.__name__, [value.__func__])
        elif isinstance(value, functools.cached_property):
            self._put(value, "cached_property", [value.func])
        elif isinstance(value, functools.singledispatchmethod):
            self._put(value, "singledispatchmethod", [value.dispatcher, value.func])
        elif isinstance(value, functools.partialmethod):
            self._put(value, "partialmethod", [value.func, value.args, value.keywords])
        elif kind is LRU_CACHE:
            self._put(value, "lru_cache", [value.__wrapped__, value.cache_parameters()])
        elif isinstance(value, types.UnionType):
            self._put(value, "union", value.__args__)
        elif isinstance(value, NewType):
            self._put(value, "type", [value.__name__, value.__supertype__])
        elif isinstance(value, TypeVar):
            self._put(value, "type", [value.__name__, value.__bound__, value.__constraints__])
        elif isinstance(value, re.Pattern):
            self._put(value, "pattern", [value.pattern, value.flags])
        elif isinstance(value, PurePath):
            self._text(f"path {kind.__name__} ", self._values.neutral(str(value)))
        elif isinstance(value, bytearray | memoryview):
            self._put(value, kind.__name__, [bytes(value)])
        elif kind in (range, slice):
            self._put(value, kind.__name__, [value.start, value.stop, value.step])
        elif type_name(kind) == "logging.Logger":
            self._text("logger ", self._values.module(value.name))
        elif type_name(kind) in STATELESS or value is Ellipsis or value is NotImplemented:
            self._text("single ", type_name(kind))
        elif isinstance(value, DESCRIPTORS):
            self._put(value, "descriptor", [value.__objclass__, value.__name__])
        else:
            return self._array(value, kind)
        return True

    def _array(self, value: object, kind: type) -> bool:
        read = read_array(value, kind)
        if read is None and self._states:
            read = read_tensor(value)
        if read is None:
            return False
        for data in read.blocks:
            self._stack.append(_Mark(data))
        self._put(value, f"array {type_name(kind)}", read.values)
        return True

    def _object(self, value: Any, kind: type) -> bool:
        """If the state of an instance can be read, write its class and its state. Return whether the instance was
        written."""
        if self._foreign.isdisjoint(self._path):  # a generator inside a distribution's object is part of its state
            if is_random(kind):
                self._found.changing = f"a random generator (`{kind.__name__}`)"
                return False
            if hasattr(kind, "__next__"):
                self._found.changing = f"an iterator (`{kind.__name__}`)"
                return False
        state = self._fields(value, kind)
        if state is None and self._values.owner(kind) == "standard":
            state = reduced(value)
            fold: object = value.fold if hasattr(kind, "fold") else 0
            if state is not None and fold:
                state.append(fold)
        foreign = any(self._values.owner(base) == "other" for base in kind.__mro__)
        if state is None and foreign and self._states:
            state = reduced(value)
            self._foreign.add(id(value))
        if state is None and self._values.owner(kind) == "project":
            state = [*base_content(value), *attributes(value, kind)]
            if foreign:
                self._found.unread.append(type_name(kind))
        if state is None:
            return False
        self._put(value, "object", [kind, *state])
        return True

    def _fields(self, value: Any, kind: type) -> list[object] | None:
        """Return the state of an instance whose class lists its fields. Return None for any other instance."""
        if hasattr(kind, "__struct_fields__"):
            return [getattr(value, name, None) for name in kind.__struct_fields__]
        if hasattr(kind, "_fields") and isinstance(value, tuple):
            return list(tuple.__iter__(value))
        listed = hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__attrs_attrs__")
        if listed or hasattr(kind, "__pydantic_fields__"):
            return [*base_content(value), *attributes(value, kind)]
        return None

    def _unread(self, value: object, kind: type) -> None:
        self._found.unread.append(type_name(kind))
        self._put(value, "unread", [kind])


def type_name(kind: type) -> str:
    """Return a class's name as `module.Qualname`."""
    return f"{kind.__module__}.{kind.__qualname__}"


def kind_name(value: object) -> str:
    """Return the name of a value's class."""
    return type(value).__name__


def is_random(kind: type) -> bool:
    """Return whether the instances of a class are random number generators, whose state changes with each draw."""
    names = {type_name(base) for base in kind.__mro__}
    return bool(names & RANDOM) and "random.SystemRandom" not in names


def base_content(value: Any) -> list[object]:
    """Return what `value`, whose class is derived from a builtin type such as `list`, holds as that type."""
    if isinstance(value, dict):
        factory = [value.default_factory] if isinstance(value, defaultdict) else []
        return [{key: dict.__getitem__(value, key) for key in dict.__iter__(value)}, *factory]
    if isinstance(value, deque):
        return [list(deque.__iter__(value)), value.maxlen]
    if isinstance(value, list | tuple):
        base: Any = list if isinstance(value, list) else tuple
        return [list(base.__iter__(value))]
    if isinstance(value, set | frozenset):
        plain: Any = set if isinstance(value, set) else frozenset
        return [frozenset(plain.__iter__(value))]
    kinds: tuple[Any, ...] = (str, bytes, int, float, complex)
    for kind in kinds:
        if isinstance(value, kind):
            return [kind.__getnewargs__(value)]
    if isinstance(value, BaseException):
        return [value.args]
    for base_class in type(value).__mro__:
        if type_name(base_class) in COPIED:
            copied = vars(base_class).get("__reduce_ex__")
            return list(copied(value, 4) if copied is not None else vars(base_class)["__reduce__"](value))[1:2]
    return []


def attributes(value: Any, kind: type) -> list[object]:
    """Return an instance's attributes, including those in slots, as a flat list of names and values."""
    values: dict[str, object] = {}
    for each in reversed(kind.__mro__):
        slots = each.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            mangled = (
                f"_{each.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            )
            member = each.__dict__.get(mangled)
            if isinstance(member, types.MemberDescriptorType):
                try:
                    values[mangled] = member.__get__(value, kind)
                except AttributeError:
                    continue
    inner = getattr(value, "__dict__", None)
    if isinstance(inner, dict):
        values.update(inner)
    return [each for pair in values.items() for each in pair]


def reduced(value: Any) -> list[object] | None:
    """Return the state of an instance, in the form that Python uses to copy the instance. Return None if it can't be
    copied."""
    copied = copyreg.dispatch_table.get(type(value))
    try:
        parts: Any = value.__reduce_ex__(2) if copied is None else copied(value)
    except Exception:  # noqa: BLE001  a type may raise anything to refuse copying
        return None
    if isinstance(parts, str):
        return [parts]
    made, arguments, *rest = parts
    state: list[object] = [made, arguments]
    for part in rest:
        if hasattr(type(part), "__next__"):
            elements = list(part)
            state.append(elements)
        else:
            state.append(part)
    return state
