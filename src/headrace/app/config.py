"""What can be set in `headrace.toml`: each section a frozen struct, each setting with its documentation."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, Struct, structs


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all sections."""


class ProjectSection(Section, frozen=True):
    """What the project is."""

    name: Annotated[
        str | None, Meta(description="The project's name, as pages show it; the folder's name when not given.")
    ] = None
    pipelines: Annotated[
        tuple[str, ...],
        Meta(description="The Python files that define the project's pipelines, relative to `headrace.toml`."),
    ] = ("pipelines.py",)


class LedgerSection(Section, frozen=True):
    """Where the record of runs is kept."""

    url: Annotated[
        str | None,
        Meta(
            description="The ledger's address, such as `postgresql://user@host/name`; SQLite in the state folder when "
            "not given."
        ),
    ] = None


class StoreSection(Section, frozen=True):
    """Where artifacts are kept."""

    url: Annotated[
        str | None,
        Meta(description="The store's address, in this release a folder; in the state folder when not given."),
    ] = None


class PoolSection(Section, frozen=True):
    """Like machines behind one backend."""

    backend: Annotated[str, Meta(description="What runs attempts there; in this release `local`.")] = "local"
    cpu: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="Cpus to use; when not given, what this machine lets the process use (affinity, control group)."
        ),
    ] = None
    memory_gib: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Memory to use, in GiB; when not given, what this machine lets the process use."),
    ] = None
    gpus: Annotated[int, Meta(ge=0, description="Accelerators to use.")] = 0
    gpu_kind: Annotated[str | None, Meta(description="What its accelerators are, such as `A100`.")] = None
    nodes: Annotated[int, Meta(ge=1, description="Machines that the pool consists of.")] = 1
    usd_per_hour: Annotated[
        float, Meta(ge=0, description="What all of the pool costs, in US dollars an hour; attempts are priced by it.")
    ] = 0.0
    provider: Annotated[str, Meta(description="Who owns its machines.")] = "local"
    region: Annotated[str, Meta(description="The region that it stands in.")] = "local"
    namespace: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description="Whether workers live in a namespace (bubblewrap) without the state folder, but for the store: "
            "`auto` where it works, `on` without the project's folder too, `off`."
        ),
    ] = "auto"


class RunSection(Section, frozen=True):
    """How runs go when the command doesn't say."""

    timeout: Annotated[
        str | float | None,
        Meta(description='A run that takes longer ends: seconds, or words such as "90s", "1h30m", "7d".'),
    ] = None


class Config(Section, frozen=True):
    """All of `headrace.toml`."""

    project: ProjectSection = ProjectSection()
    ledger: LedgerSection = LedgerSection()
    store: StoreSection = StoreSection()
    pool: dict[str, PoolSection] = {}
    run: RunSection = RunSection()


class Setting(Struct, frozen=True, kw_only=True):
    """One setting as the documentation shows it: `[section] key`, its type in words, its default as in TOML."""

    section: str
    key: str
    type: str
    default: str
    doc: str

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return "__".join(["HEADRACE", *self.section.upper().split("."), self.key.upper()])


SECTIONS: dict[str, type[Section]] = {
    "project": ProjectSection,
    "ledger": LedgerSection,
    "store": StoreSection,
    "pool.NAME": PoolSection,
    "run": RunSection,
}


def section_class(name: str) -> type[Section] | None:
    """Give the class of a section by the name that the file uses for it (`pool` for the table of pools)."""
    return SECTIONS.get(name) or SECTIONS.get(f"{name}.NAME")


def settings() -> Iterator[Setting]:
    """Give every setting there is, in the order of the documentation."""
    for name, section in SECTIONS.items():
        hints = get_type_hints(section, include_extras=True)
        for field in structs.fields(section):
            yield Setting(
                section=name,
                key=field.name,
                type=words(hints[field.name]),
                default=_toml(field.default),
                doc=_description(hints[field.name]),
            )


def _description(hint: Any) -> str:
    for meta in getattr(hint, "__metadata__", ()):
        if isinstance(meta, Meta) and meta.description:
            return meta.description
    return ""


def words(hint: Any) -> str:
    """Say a type, and what it is bounded by, as someone who writes TOML would."""
    origin = get_origin(hint)
    if origin is Annotated:
        return words(get_args(hint)[0]) + _bounds(hint)
    if origin in (Union, UnionType):
        return " or ".join(words(each) for each in get_args(hint) if each is not NoneType)
    if origin is Literal:
        return " or ".join(_toml(each) for each in get_args(hint))
    if origin is tuple:
        return f"list of {words(get_args(hint)[0])}s"
    return {str: "string", float: "number", int: "whole number", bool: "true or false"}[hint]


def _bounds(hint: Any) -> str:
    metas = [meta for meta in hint.__metadata__ if isinstance(meta, Meta)]
    above = "".join(f" above {meta.gt:g}" for meta in metas if meta.gt is not None)
    return above + "".join(f" from {meta.ge:g}" for meta in metas if meta.ge is not None)


def _toml(value: Any) -> str:
    if value is None or value is NODEFAULT:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
