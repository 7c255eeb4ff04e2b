"""What can be set in `headrace.toml`: each section a frozen struct, each setting with its documentation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, Struct, field, structs


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
            "not given. A password belongs into `PGPASSWORD` or `~/.pgpass`, not in here."
        ),
    ] = None


class PlaceSection(Section, frozen=True):
    """What a store is reached by, beside its address."""

    endpoint: Annotated[
        str | None, Meta(description="The address of the store's server, if it isn't the cloud's own.")
    ] = None
    region: Annotated[
        str | None, Meta(description="The cloud's own name for the bucket's region, such as `eu-west-1`.")
    ] = None
    cache_gib: Annotated[
        float,
        Meta(ge=0, description="The most that each machine keeps in its cache of an object store's blobs, in GiB."),
    ] = 16.0
    options: Annotated[
        dict[str, str],
        Meta(
            description="More options for the cloud's client, by name, such as `virtual_hosted_style_request`; "
            "credentials come from the cloud's usual places."
        ),
    ] = {}


class StoreSection(PlaceSection, frozen=True):
    """Where artifacts are kept: the store of the region `local`. Pools that name no region are in `local`."""

    url: Annotated[
        str | None,
        Meta(
            description="The store's address: a folder, `s3://bucket/prefix`, `gs://bucket/prefix` or "
            "`az://container/prefix`; in the state folder when not given."
        ),
    ] = None


class RegionSection(PlaceSection, frozen=True):
    """A place with a store of its own. Transfers bring blobs that its pools need from other regions' stores."""

    store: Annotated[
        str | None,
        Meta(
            description="The address of its store, as in `[store] url`. Region `local` uses `[store]` when not given."
        ),
    ] = None
    jurisdiction: Annotated[
        str | None, Meta(description="The law that applies to its data, such as `EU`. It has no effect yet.")
    ] = None


class LinkSection(Section, frozen=True):
    """The line from one region to another: its speed and its price."""

    source: Annotated[str, Meta(description="The region that the bytes leave.")] = field(name="from")
    target: Annotated[str, Meta(description="The region that they come to.")] = field(name="to")
    bits_per_s: Annotated[
        float, Meta(gt=0, description="Its speed in bits per second, used to forecast transfers.")
    ] = 1e9
    usd_per_gb: Annotated[
        float, Meta(ge=0, description="US dollars for a GB (10^9 bytes), used to price transfers.")
    ] = 0.0


def only_for(*backends: str) -> dict[str, Any]:
    """Mark a pool's setting as one that these backends alone take, for `Meta(extra=...)`."""
    return {"backends": backends}


class PoolSection(Section, frozen=True):
    """Like machines behind one backend."""

    backend: Annotated[
        str, Meta(description="The backend that runs attempts: `local`, or `ray` for a Ray cluster.")
    ] = "local"
    cpu: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="Cpus to use; when not given, what this machine lets the process use (affinity, control "
            "group), or what the cluster has."
        ),
    ] = None
    memory_gib: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="Memory to use, in GiB; when not given, what this machine lets the process use, or what the "
            "cluster has."
        ),
    ] = None
    gpus: Annotated[int, Meta(ge=0, description="Accelerators to use.")] = 0
    gpu_kind: Annotated[str | None, Meta(description="The kind of its accelerators, such as `A100`.")] = None
    nodes: Annotated[int, Meta(ge=1, description="Machines that the pool consists of.")] = 1
    usd_per_hour: Annotated[
        float, Meta(ge=0, description="The price of the whole pool, in US dollars per hour; attempts are priced by it.")
    ] = 0.0
    provider: Annotated[str, Meta(description="Who owns its machines.")] = "local"
    region: Annotated[
        str, Meta(description="The region that it is in: `local`, or one that `[region.NAME]` describes.")
    ] = "local"
    environment: Annotated[
        Literal["auto", "present", "lock"],
        Meta(
            description="What stages run in there: `present`, the Python that Headrace runs on; `lock`, an environment "
            "built from the project's lock; `auto`, the present one where it has what is locked, and else one so built."
        ),
    ] = "auto"
    namespace: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description="Whether workers live in a namespace (bubblewrap) without the state folder, but for the store: "
            "`auto` where it works, `on` without the project's folder too and closed to root, `off`.",
            extra=only_for("local", "ray"),
        ),
    ] = "auto"
    address: Annotated[
        str | None,
        Meta(
            description="The cluster's address; when not given, one is started on this machine.",
            extra=only_for("ray"),
        ),
    ] = None
    headless_s: Annotated[
        float,
        Meta(
            gt=0,
            le=50,
            description="So many seconds the cluster's head may be out of reach before the driver gives up, 50 at "
            "most: Ray ends it after 60.",
            extra=only_for("ray"),
        ),
    ] = 20.0
    labels: Annotated[
        dict[str, str],
        Meta(description="What the machines are labelled that it may use, by label.", extra=only_for("ray")),
    ] = {}
    resources: Annotated[
        dict[str, float],
        Meta(
            description="What else than cpus, memory and accelerators each worker takes of a machine, by the "
            "cluster's own name of it.",
            extra=only_for("ray"),
        ),
    ] = {}


class RunSection(Section, frozen=True):
    """How runs go when the command doesn't say."""

    timeout: Annotated[
        str | float | None,
        Meta(description='The longest time that a run may take: seconds, or words such as "90s", "1h30m", "7d".'),
    ] = None
    pool: Annotated[
        str | None,
        Meta(
            description="The pool that runs use; when not given the first, and first of all what the file of "
            "`--config` adds."
        ),
    ] = None
    variables: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]*\*?)$")], ...],
        Meta(
            description="Which environment variables stages and pipelines see, beside those that every program needs; "
            "`NAME*` is all that begin so. Secrets are given by `hr.secret` instead."
        ),
    ] = ()


class LogSection(Section, frozen=True):
    """Headrace's own log of runs, one line per event. The output of tasks is kept apart: see `headrace logs`."""

    file: Annotated[
        str | None,
        Meta(description="The log's file, relative to the project's folder; `-` is stderr. No log when not given."),
    ] = None
    format: Annotated[
        Literal["json", "text"], Meta(description="The form of a line: one JSON object, or text for people.")
    ] = "json"
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The lowest level that is logged; `debug` also has each start of a task."),
    ] = "info"


class GcSection(Section, frozen=True):
    """Which runs `headrace gc` keeps when the command doesn't say: those that any rule keeps, or all without rules."""

    keep_runs: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="How many ended runs to keep, the newest first.")
    ] = None
    keep_runs_per_pipeline: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="How many runs of each pipeline to keep, the newest first.")
    ] = None
    keep: Annotated[
        str | float | None,
        Meta(description='How long to keep runs after their end: seconds, or words such as "30d".'),
    ] = None


class BackupSection(PlaceSection, frozen=True):
    """Where `headrace backup` keeps its copies, and how many."""

    url: Annotated[
        str | None, Meta(description="The address of the backups, as in `[store] url`: a place for nothing else.")
    ] = None
    keep: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many snapshots to keep, the newest first; all when not given."),
    ] = None


class Config(Section, frozen=True):
    """All of `headrace.toml`."""

    project: ProjectSection = ProjectSection()
    ledger: LedgerSection = LedgerSection()
    store: StoreSection = StoreSection()
    region: dict[str, RegionSection] = {}
    link: dict[str, LinkSection] = {}
    pool: dict[str, PoolSection] = {}
    run: RunSection = RunSection()
    log: LogSection = LogSection()
    gc: GcSection = GcSection()
    backup: BackupSection = BackupSection()


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
    "region.NAME": RegionSection,
    "link.NAME": LinkSection,
    "pool.NAME": PoolSection,
    "run": RunSection,
    "gc": GcSection,
    "backup": BackupSection,
    "log": LogSection,
}


def section_class(name: str) -> type[Section] | None:
    """Return the class of a section by the name that the file uses for it (`pool` for the table of pools)."""
    return SECTIONS.get(name) or SECTIONS.get(f"{name}.NAME")


def keys(section: type[Section]) -> tuple[str, ...]:
    """Name the keys of a section, as the file does."""
    return section.__struct_encode_fields__


def hint(section: type[Section], key: str) -> Any:
    """Return the type of a key."""
    return _hints(section)[key]


def backends_of(key: str) -> tuple[str, ...]:
    """Name the backends whose pools alone take a key; none where all do."""
    metas = getattr(hint(PoolSection, key), "__metadata__", ())
    return next((meta.extra["backends"] for meta in metas if isinstance(meta, Meta) and meta.extra), ())


@cache
def _hints(section: type[Section]) -> dict[str, Any]:
    hints = get_type_hints(section, include_extras=True)
    return {each.encode_name: hints[each.name] for each in structs.fields(section)}


def settings() -> Iterator[Setting]:
    """Yield every setting there is, in the order of the documentation."""
    for name, section in SECTIONS.items():
        for each in structs.fields(section):
            found = hint(section, each.encode_name)
            yield Setting(
                section=name,
                key=each.encode_name,
                type=words(found),
                default=_toml(each.default),
                doc=_description(section, each.encode_name),
            )


def _description(section: type[Section], key: str) -> str:
    metas = getattr(hint(section, key), "__metadata__", ())
    text = next((meta.description for meta in metas if isinstance(meta, Meta) and meta.description), "")
    backends = backends_of(key) if section is PoolSection else ()
    return f"{text} For backend {' or '.join(f'`{each}`' for each in backends)}." if backends else text


def words(hint: Any) -> str:
    """Say a type, and what it is bounded by, as someone who writes TOML would."""
    origin = get_origin(hint)
    if origin is Annotated:
        return words(get_args(hint)[0]) + _bounds(hint)
    if origin in (Union, UnionType):
        return " or ".join(words(each) for each in get_args(hint) if each is not NoneType)
    if origin is Literal:
        return " or ".join(_toml(each) for each in get_args(hint))
    if origin is dict:
        return f"table of {words(get_args(hint)[1])}s"
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
    if isinstance(value, float) and value.is_integer():
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
