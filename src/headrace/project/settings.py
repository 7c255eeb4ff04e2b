"""The settings of `headrace.toml`: a frozen struct for each section, with the documentation of each setting."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field, structs

from headrace.project.section import Section
from headrace.project.serving import EndpointSection, ServeSection


class ProjectSection(Section, frozen=True):
    """The project's name and files."""

    name: Annotated[
        str | None, Meta(description="The project's name, as shown on pages; by default the folder's name.")
    ] = None
    pipelines: Annotated[
        tuple[str, ...],
        Meta(description="The Python files that define the project's pipelines, relative to `headrace.toml`."),
    ] = ("pipelines.py",)


class LedgerSection(Section, frozen=True):
    """Where the ledger, the record of runs, is kept."""

    url: Annotated[
        str | None,
        Meta(
            description="The ledger's address, such as `postgresql://user@host/name`; by default SQLite in the state "
            "folder. Put a password into `PGPASSWORD` or `~/.pgpass`, not into this address."
        ),
    ] = None


class PlaceSection(Section, frozen=True):
    """The settings that Headrace needs to use a store, in addition to the store's address."""

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
    ] = field(default_factory=dict)


class StoreSection(PlaceSection, frozen=True):
    """Where artifacts are kept: the store of the region `local`. Pools that name no region are in `local`."""

    url: Annotated[
        str | None,
        Meta(
            description="The store's address: a folder, `s3://bucket/prefix`, `gs://bucket/prefix` or "
            "`az://container/prefix`; by default a folder in the state folder."
        ),
    ] = None


class RegionSection(PlaceSection, frozen=True):
    """A place with its own store. Blobs that its pools need are transferred from the stores of other regions."""

    store: Annotated[
        str | None,
        Meta(
            description="The address of the region's store, as in `[store] url`. For the region `local`, the default "
            "is `[store]`."
        ),
    ] = None
    jurisdiction: Annotated[
        str | None, Meta(description="The law that applies to the region's data, such as `EU`. It has no effect yet.")
    ] = None


class LinkSection(Section, frozen=True):
    """The connection from one region to another: its speed and its price."""

    source: Annotated[str, Meta(description="The region that the bytes leave.")] = field(name="from")
    target: Annotated[str, Meta(description="The region that the bytes go to.")] = field(name="to")
    bits_per_s: Annotated[
        float, Meta(gt=0, description="The link's speed in bits per second, used to forecast transfers.")
    ] = 1e9
    usd_per_gb: Annotated[
        float, Meta(ge=0, description="US dollars for a GB (10^9 bytes), used to price transfers.")
    ] = 0.0


def only_for(*backends: str) -> dict[str, Any]:
    """Return the value for `Meta(extra=...)` of a pool's setting that only these backends take."""
    return {"backends": backends}


class PoolSection(Section, frozen=True):
    """A pool: machines of one kind, used through one backend."""

    backend: Annotated[
        str, Meta(description="The backend that runs attempts: `local`, or `ray` for a Ray cluster.")
    ] = "local"
    cpu: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="The CPUs to use; by default all that this machine lets the process use (affinity, control "
            "group), or all CPUs of the cluster."
        ),
    ] = None
    memory_gib: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="The memory to use, in GiB; by default all that this machine lets the process use, or all "
            "memory of the cluster."
        ),
    ] = None
    gpus: Annotated[int, Meta(ge=0, description="The number of accelerators to use.")] = 0
    gpu_kind: Annotated[str | None, Meta(description="The kind of the accelerators, such as `A100`.")] = None
    nodes: Annotated[int, Meta(ge=1, description="The number of machines in the pool.")] = 1
    machine_cpu: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="The CPUs of one machine; by default `cpu` divided by `nodes`, and in a pool of Ray what each "
            "of its machines has."
        ),
    ] = None
    machine_memory_gib: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="The memory of one machine, in GiB; by default `memory_gib` divided by `nodes`, and in "
            "a pool of Ray what each of its machines has."
        ),
    ] = None
    machine_gpus: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="The accelerators of one machine; by default `gpus` divided by `nodes`, and in a pool of "
            "Ray what each of its machines has."
        ),
    ] = None
    usd_per_hour: Annotated[
        float,
        Meta(
            ge=0,
            description="The price of the whole pool, in US dollars per hour. The cost of attempts follows from it.",
        ),
    ] = 0.0
    provider: Annotated[str, Meta(description="Who owns the pool's machines.")] = "local"
    region: Annotated[
        str, Meta(description="The region that the pool is in: `local`, or one that `[region.NAME]` describes.")
    ] = "local"
    environment: Annotated[
        Literal["auto", "present", "lock"],
        Meta(
            description="The Python that stages run in. `present`: the one that Headrace runs in. `lock`: an "
            "environment built from the project's lock. `auto`: the present one if it has all that is locked, else "
            "one built from the lock."
        ),
    ] = "auto"
    stop_s: Annotated[
        Annotated[float, Meta(ge=0, le=86400)],
        Meta(
            description="How many seconds an attempt has to clean up (in `finally`, for example) and end after ^C or "
            "`headrace cancel`. Then it is killed.",
            extra=only_for("local", "ray"),
        ),
    ] = 5.0
    namespace: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description="Whether workers run in a namespace (bubblewrap), in which they see the store but not the rest "
            "of the state folder. `auto`: if namespaces work on the machine. `on`: always; the project's folder is "
            "hidden too, and workers that run as root have no more rights than those of other users. `off`: never.",
            extra=only_for("local", "ray"),
        ),
    ] = "auto"
    address: Annotated[
        str | None,
        Meta(
            description="The cluster's address; by default a cluster is started on this machine.",
            extra=only_for("ray"),
        ),
    ] = None
    headless_s: Annotated[
        float,
        Meta(
            gt=0,
            le=50,
            description="How many seconds the cluster's head may be unreachable before the driver gives up. At most "
            "50, since Ray ends the driver after 60.",
            extra=only_for("ray"),
        ),
    ] = 20.0
    labels: Annotated[
        dict[str, str],
        Meta(
            description="The labels, with their values, of the machines that the pool may use.", extra=only_for("ray")
        ),
    ] = field(default_factory=dict)
    resources: Annotated[
        dict[str, float],
        Meta(
            description="The amounts of other resources that each worker takes of a machine, besides cpus, memory and "
            "accelerators, by the cluster's names for the resources.",
            extra=only_for("ray"),
        ),
    ] = field(default_factory=dict)


class RunSection(Section, frozen=True):
    """Defaults for runs. Options of the command override them."""

    timeout: Annotated[
        str | float | None,
        Meta(description='The longest time that a run may take: seconds, or text such as "90s", "1h30m", "7d".'),
    ] = None
    pool: Annotated[
        str | None,
        Meta(
            description="The pool that runs use; by default the first one. Pools that the file of `--config` adds come "
            "first."
        ),
    ] = None
    approve_own: Annotated[
        bool,
        Meta(
            description="Whether a user who started a run, or gave it new code, may also approve the run's tasks "
            "(`@stage(approval=...)`)."
        ),
    ] = False
    pools: Annotated[
        tuple[str, ...],
        Meta(
            description="Several pools that runs use, the best first. A task goes to the first of them that may run it "
            "and has room. The pipeline is traced in the first pool."
        ),
    ] = ()
    variables: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]*\*?)$")], ...],
        Meta(
            description="The environment variables that stages and pipelines see, besides those that every program "
            "needs. `NAME*` means all that begin with NAME. For secrets, use `hr.secret` instead."
        ),
    ] = ()


class PinSection(Section, frozen=True):
    """Pools for single stages. Each key is the name of a stage."""

    STAGE: Annotated[
        str,
        Meta(
            description="The pool in which all tasks of this stage run. A run uses this pool in addition to its other "
            "pools. If `--pool` is given, the run uses only the pools that `--pool` names."
        ),
    ]


class LogSection(Section, frozen=True):
    """Headrace's own log of runs, one line per event. For the printed output of tasks, see `headrace logs`."""

    file: Annotated[
        str | None,
        Meta(
            description="The log's file, relative to the project's folder; `-` is stderr. By default there is no log."
        ),
    ] = None
    format: Annotated[
        Literal["json", "text"], Meta(description="The form of a line: one JSON object, or text for people.")
    ] = "json"
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The lowest level that is logged. `debug` also logs each start of a task."),
    ] = "info"


class GcSection(Section, frozen=True):
    """The runs that `headrace gc` keeps by default: those that any of these rules keeps; without rules, all runs."""

    keep_runs: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="How many ended runs to keep, the newest first.")
    ] = None
    keep_runs_per_pipeline: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="How many runs of each pipeline to keep, the newest first.")
    ] = None
    keep: Annotated[
        str | float | None,
        Meta(description='How long to keep runs after their end: seconds, or text such as "30d".'),
    ] = None


class BackupSection(PlaceSection, frozen=True):
    """Where `headrace backup` keeps its copies, and how many."""

    url: Annotated[
        str | None, Meta(description="The address of the backups, as in `[store] url`. Use it for nothing else.")
    ] = None
    keep: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many snapshots to keep, the newest first; by default all."),
    ] = None


class NotifySection(Section, frozen=True):
    """How notices about runs are sent to people. The process that stores a notice also sends it, with the settings that
    this process has read."""

    command: Annotated[
        str | tuple[str, ...] | None,
        Meta(
            description="The command that sends a notice, as words or as one text; no shell reads it. It runs in the "
            "project's folder and gets the notice as JSON on its standard input."
        ),
    ] = None
    webhook: Annotated[
        str | None,
        Meta(
            description="The URL to which a notice is sent, as a POST of JSON. If it holds a secret, put it into "
            "`HEADRACE__NOTIFY__WEBHOOK`, not into this file."
        ),
    ] = None
    secret: Annotated[
        Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None,
        Meta(
            description="The environment variable with the secret that signs the webhook's requests; the server "
            "knows the same secret."
        ),
    ] = None
    on: Annotated[
        tuple[Literal["failed", "waiting", "refused"], ...],
        Meta(description="The states of a run about which notices are sent."),
    ] = ("failed", "waiting", "refused")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of notices that are sent."""
        return frozenset(f"run.{state}" for state in self.on)


class Config(Section, frozen=True):
    """All sections of `headrace.toml`."""

    project: ProjectSection = ProjectSection()
    ledger: LedgerSection = LedgerSection()
    store: StoreSection = StoreSection()
    region: dict[str, RegionSection] = field(default_factory=dict)
    link: dict[str, LinkSection] = field(default_factory=dict)
    pool: dict[str, PoolSection] = field(default_factory=dict)
    run: RunSection = RunSection()
    place: dict[str, str] = field(default_factory=dict)
    log: LogSection = LogSection()
    gc: GcSection = GcSection()
    backup: BackupSection = BackupSection()
    notify: NotifySection = NotifySection()
    serve: ServeSection = ServeSection()
    endpoint: dict[str, EndpointSection] = field(default_factory=dict)

    def of_endpoint(self, name: str) -> ServeSection:
        """Return the settings of an endpoint. Those that the endpoint doesn't set itself are taken from `[serve]`."""
        own = structs.asdict(self.endpoint.get(name, EndpointSection()))
        return structs.replace(self.serve, **{key: value for key, value in own.items() if value is not None})


SECTIONS: dict[str, type[Section]] = {
    "project": ProjectSection,
    "ledger": LedgerSection,
    "store": StoreSection,
    "region.NAME": RegionSection,
    "link.NAME": LinkSection,
    "pool.NAME": PoolSection,
    "run": RunSection,
    "place": PinSection,
    "gc": GcSection,
    "backup": BackupSection,
    "notify": NotifySection,
    "serve": ServeSection,
    "endpoint.NAME": EndpointSection,
    "log": LogSection,
}


def keys(section: type[Section]) -> tuple[str, ...]:
    """Return the keys of a section, as the file spells them."""
    return section.__struct_encode_fields__
