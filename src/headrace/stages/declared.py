"""Reads nouns (frozen structs) that users declare in TOML files, such as contracts and cleaning rules. Checks the types
of their fields, and writes the error messages."""

from __future__ import annotations

import functools
import re
import tomllib
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from msgspec import NODEFAULT, StructMeta

from headrace.define.type_check import in_words, misfit
from headrace.errors import DefinitionError, meant

T = TypeVar("T")


class Declared(StructMeta):
    """The metaclass of nouns (frozen structs, such as contracts) that users create in TOML files or in Python. In
    Python, the fields' names and types are checked as they are for a TOML file. If a field's name is misspelled, the
    error suggests the right name."""

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Return a new instance of this class.

        Raises:
            DefinitionError: the class has no field of a given name, a field is missing, or a value has the wrong type.
        """
        known = self.__struct_fields__
        strange = [name for name in given if name not in known]
        if strange:
            hint = f"{meant(strange[0], known)} it has {', '.join(known)}".lstrip()
            raise DefinitionError(f"`{self.__name__}` has no field `{strange[0]}`", hint=hint)
        _check_types(self, {**dict(zip(known, args, strict=False)), **given})
        return super().__call__(*args, **given)


def _check_types(kind: Any, given: Mapping[str, Any]) -> None:
    """Raise if a field is missing or has a value of the wrong type. A list may stand for a tuple."""
    required = kind.__struct_fields__[: len(kind.__struct_fields__) - len(kind.__struct_defaults__)]
    optional = dict(zip(kind.__struct_fields__[len(required) :], kind.__struct_defaults__, strict=True))
    missing = [
        name for name in kind.__struct_fields__ if optional.get(name, NODEFAULT) is NODEFAULT and name not in given
    ]
    if missing:
        raise DefinitionError(
            f"`{kind.__name__}` needs `{missing[0]}`", hint=f"`{missing[0]}` is {in_words(_hints(kind)[missing[0]])}"
        )
    for name, value in given.items():
        wanted = _hints(kind)[name]
        found = misfit(tuple(value) if isinstance(value, list) else value, wanted)
        if found is not None:
            part, need = (value, wanted) if found[1] is wanted else found
            where = "" if need is wanted else "a part of "
            raise DefinitionError(
                f"{where}`{name}` of `{kind.__name__}` is {part!r:.80}", hint=f"give {in_words(need)}"
            )


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def check_pattern(pattern: str) -> None:
    """Raise if `pattern` isn't a regular expression.

    The pattern will be used by RE2, which comes with Arrow. Arrow takes long to import, so RE2 is asked only if
    Python's `re` can't read the pattern.

    Raises:
        DefinitionError: neither `re` nor RE2 can read the pattern.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        import pyarrow as pa  # noqa: PLC0415  it takes long
        import pyarrow.compute as pc  # noqa: PLC0415

        try:
            pc.match_substring_regex(pa.nulls(1, pa.string()), pattern)
        except pa.ArrowInvalid:
            raise DefinitionError(f"the pattern `{pattern}` can't be read: {error}", hint="correct it") from error


def text_of(path: Path, named: str) -> str:
    """Return the text of a file. `named` is the file's name in errors.

    Raises:
        DefinitionError: the file can't be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DefinitionError(f"{named} can't be read: {why}", hint="give a TOML file") from error


def _toml(text: str, named: str) -> dict[str, Any]:
    try:
        text.encode()  # raises for a lone surrogate
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # such as a number of thousands of digits, or lists nested very deep
        said = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise DefinitionError(f"{named}: this is not TOML: {said}", hint="correct that line") from error


def from_toml(text: str, kind: type[T], named: str, *, docs: str) -> T:
    """Return an instance of `kind`, made from a TOML text. Errors say where the fault is, and suggest similar words.
    `named` is the text's name in errors, and `docs` is the subject of the docs page that lists the allowed words.

    Raises:
        DefinitionError: the text isn't TOML, or has an unknown word or a value of the wrong type.
    """
    told = _toml(text, named)
    try:
        return msgspec.convert(told, kind)
    except DefinitionError as error:
        raise DefinitionError(f"{named}: {error.message}{_entry(error, told, kind)}", hint=error.hint) from error
    except msgspec.ValidationError as error:
        said = str(error)
        hint = f"see the docs on {docs} for the words that are allowed"
        if unknown := re.search(r"unknown field `(.+?)`", said):
            hint = meant_by(unknown[1], _words(kind, told, said.rpartition(" - at `$")[2]))
        elif wrong := re.search(r"^Invalid (?:enum )?value '(.*)' - at `.*\.(\w+)(?:\[[^]]*\])*`$", said, re.DOTALL):
            choices = _choices(kind, wrong[2])
            hint = f"{meant(wrong[1], choices)} there are {', '.join(choices)}".lstrip() if choices else hint
        where = _keyed(said, told, kind).replace(" - at `$", " (at `").replace("Object contains unknown", "there is no")
        raise DefinitionError(f"{named}: {where})" if " (at `" in where else f"{named}: {where}", hint=hint) from error


def _keyed(said: str, told: dict[str, Any], kind: Any) -> str:
    """Return msgspec's error message `said` with the keys of the faulty entries, for which msgspec writes only `[...]`.
    `told` is the content of the TOML text; the function removes entries from its tables."""
    head, _, path = said.rpartition(" - at `$")
    inner: Any = told
    shown = ""
    for step, name, index in re.findall(r"(\.(\w+)|\[(\d+)\]|\[\.\.\.\])", path if head else ""):
        key = name or (int(index) if index else _refused(inner, said, told, kind))
        if key is None:
            return said
        inner = inner[key]
        shown += step.replace("...", str(key))
    return f"{head} - at `${shown}`" if head else said


def _entry(error: DefinitionError, told: dict[str, Any], kind: Any) -> str:
    """Return words to append to an error's message: they say which entry of a TOML table is at fault. Return an empty
    text if no entry is at fault, or if the message names the entry already. `told` is the content of the TOML text; the
    function removes entries from its tables."""
    for name, table in told.items():
        if isinstance(table, dict) and all(isinstance(each, dict) for each in table.values()):
            key = _refused(table, str(error), told, kind)
            if key is not None and f"`{key}`" not in error.message:
                return f" (at `.{name}[{key}]`)"
    return ""


def _refused(table: Any, said: str, told: dict[str, Any], kind: Any) -> str | None:
    """Return the key of the entry in `table` that causes the error message `said`. `table` is part of `told`, the
    content of the TOML text. Each entry is tried alone: the others are removed from `table`, and `told` is converted
    again. Return None if no entry gives the message, or if even the empty table gives it. `table` loses its entries."""
    entries: dict[str, Any] = dict(table) if isinstance(table, dict) else {}
    for key in (None, *entries):
        table.clear()
        if key is not None:
            table[key] = entries[key]
        try:
            msgspec.convert(told, kind)
        except (msgspec.ValidationError, DefinitionError) as error:
            if str(error) == said:
                return key
    return None


def _words(kind: Any, told: Any, path: str) -> list[str]:
    """Return the names of the fields that are allowed at a path, such as `.rules[0]`. `kind` is the class for the whole
    TOML text, and `told` is the content of the text. If several classes are allowed at the path, a tag in `told` says
    which of them is meant. Without a known tag, return the fields of all of them."""
    infos = _alternatives(msgspec.inspect.type_info(kind))
    for name, index in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", path):
        inner = [
            [field.type for field in getattr(each, "fields", ()) if field.encode_name == name]
            if name
            else [getattr(each, part) for part in ("item_type", "value_type") if hasattr(each, part)]
            for each in infos
        ]
        infos = [each for types in inner for type_ in types for each in _alternatives(type_)]
        told = told[name or int(index)] if told and index != "..." else {}  # the entry's key is unknown
    structs = [each for each in infos if isinstance(each, msgspec.inspect.StructType)]
    tagged = [each for each in structs if each.tag_field and told.get(each.tag_field) == each.tag]
    return sorted({field.encode_name for each in tagged or structs for field in each.fields})


def _alternatives(info: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    return [each for type_ in getattr(info, "types", ()) for each in _alternatives(type_)] or [info]


def _choices(kind: Any, name: str) -> list[str]:
    """Return the values that the fields called `name` may have. Only `Literal` types and tags list their values."""
    found: dict[str, None] = {}
    for info in _infos(msgspec.inspect.type_info(kind)):
        if not isinstance(info, msgspec.inspect.StructType):
            continue
        if info.tag_field == name:
            found[str(info.tag)] = None
        for field in info.fields:
            if field.name == name:
                literals = [each for each in _infos(field.type) if isinstance(each, msgspec.inspect.LiteralType)]
                found.update((str(value), None) for each in literals for value in each.values)
    return list(found)


def _infos(info: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    """Yield a type, then the types that it is made of."""
    rest = [info]
    while rest:
        each = cast(Any, rest.pop())
        yield each
        if isinstance(each, msgspec.inspect.StructType):
            rest.extend(field.type for field in each.fields)
        rest.extend(getattr(each, inner) for inner in ("item_type", "value_type") if hasattr(each, inner))
        rest.extend(getattr(each, "types", ()))


def meant_by(word: str, words: Collection[str]) -> str:
    """Return a hint for an unknown word. It names the most similar of `words`, or all `words` if none is similar."""
    return meant(word, words, f"there are {', '.join(words)}")
