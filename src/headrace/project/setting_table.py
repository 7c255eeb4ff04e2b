"""All settings as a table, for the documentation, and their types in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, Struct, structs

from headrace.project.section import Section
from headrace.project.settings import SECTIONS, PinSection, PoolSection


class Setting(Struct, frozen=True, kw_only=True):
    """One setting for the documentation: section and key, type in words, default as TOML, and description."""

    section: str
    key: str
    type: str
    default: str
    doc: str

    @property
    def variable(self) -> str:
        """The name of the environment variable that overrides this setting."""
        return "__".join(["HEADRACE", *self.section.upper().split("."), self.key.upper()])


def settings() -> Iterator[Setting]:
    """Yield every setting, in the order of the documentation."""
    for name, section in SECTIONS.items():
        for each in structs.fields(section):
            kind = hint(section, each.encode_name)
            yield Setting(
                section=name,
                key=each.encode_name,
                type=words(kind),
                default=toml(each.default),
                doc=_description(section, each.encode_name),
            )


def _description(section: type[Section], key: str) -> str:
    metas = getattr(hint(section, key), "__metadata__", ())
    text = next((meta.description for meta in metas if isinstance(meta, Meta) and meta.description), "")
    backends = backends_of(key) if section is PoolSection else ()
    return f"{text} For backend {' or '.join(f'`{each}`' for each in backends)}." if backends else text


def words(hint: Any) -> str:
    """Return a type and its bounds in words for users of TOML, such as `number above 0`."""
    origin = get_origin(hint)
    if origin is Annotated:
        return words(get_args(hint)[0]) + _bounds(hint)
    if origin in (Union, UnionType):
        return " or ".join(words(each) for each in get_args(hint) if each is not NoneType)
    if origin is Literal:
        return " or ".join(toml(each) for each in get_args(hint))
    if origin is dict:
        return f"table of {words(get_args(hint)[1])}s"
    if origin is tuple:
        each = words(get_args(hint)[0])
        return f"list of {each}" if each.endswith('"') else f"list of {each}s"
    return {str: "string", float: "number", int: "whole number", bool: "true or false"}[hint]


def _bounds(hint: Any) -> str:
    metas = [meta for meta in hint.__metadata__ if isinstance(meta, Meta)]
    least = [f" above {meta.gt:g}" for meta in metas if meta.gt is not None]
    least += [f" from {meta.ge:g}" for meta in metas if meta.ge is not None]
    return "".join([*least, *(f", at most {meta.le:g}" for meta in metas if meta.le is not None)])


def toml(value: Any) -> str:
    """Return a value as TOML; "" for None."""
    if value is None or value is NODEFAULT:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(toml(each) for each in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def hint(section: type[Section], key: str) -> Any:
    """Return the type annotation of a section's key."""
    hints = _hints(section)
    return next(iter(hints.values())) if is_free(section) else hints[key]


def backends_of(key: str) -> tuple[str, ...]:
    """Return the backends whose pools take the setting `key`; empty if the pools of all backends take it."""
    metas = getattr(hint(PoolSection, key), "__metadata__", ())
    return next((meta.extra["backends"] for meta in metas if isinstance(meta, Meta) and meta.extra), ())


@cache
def _hints(section: type[Section]) -> dict[str, Any]:
    hints = get_type_hints(section, include_extras=True)
    return {each.encode_name: hints[each.name] for each in structs.fields(section)}


def section_class(name: str) -> type[Section] | None:
    """Return the class of a section by its first word in the file (`pool` for `[pool.NAME]`); None if unknown."""
    return SECTIONS.get(name) or SECTIONS.get(f"{name}.NAME")


def is_free(section: type[Section]) -> bool:
    """Return whether the keys of a section are names that the user chooses. If so, the section's class has one field,
    which stands for all keys."""
    return section is PinSection
