"""The project: its folder, the folder of its state, and its settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import ConfigError, ProjectError
from headrace.project import host_limits
from headrace.project.checks import check_notify, check_places, check_times, no_pool
from headrace.project.layers import Layers
from headrace.project.settings import Config, PlaceSection, PoolSection
from headrace.spec.address import StoreAddress
from headrace.spec.duration import seconds
from headrace.spec.fleet import HOME, Link, Pool, Region, Shape

FILE = "headrace.toml"
STATE = ".headrace"
LEDGER, STORE = "ledger.db", "store"
"""The names of the ledger's file and the store's folder in the state folder, if the settings don't name others."""


class Project(Struct, frozen=True, kw_only=True):
    """A project: `root` is its folder, `home` the folder of its state, `files` the Python files with its pipelines.

    `config_files` are the files that the settings were read from. `extra` are more files to put into bundles: their
    bytes, by path. `absent` says which file of `[project] pipelines` isn't there (empty: all are there).
    """

    root: Path
    home: Path
    files: tuple[Path, ...]
    config: Config = Config()
    config_files: tuple[Path, ...] = ()
    extra: dict[str, bytes] = {}
    absent: str = ""

    @property
    def name(self) -> str:
        return self.config.project.name or self.root.name

    @property
    def ledger_url(self) -> str:
        return self.config.ledger.url or f"sqlite:///{self.home / LEDGER}"

    @property
    def timeout_s(self) -> float | None:
        """The longest time that a run may take, in seconds, if `--timeout` isn't given; None means no limit."""
        timeout = self.config.run.timeout
        return None if timeout is None else seconds(timeout)

    def pools(self) -> tuple[Pool, ...]:
        """Return the pools that tasks may run in: those of the settings. If the settings have none, return one pool,
        `local`, which is this machine.

        Raises:
            ConfigError: a pool's numbers are invalid.
        """
        sections = self.config.pool or {"local": PoolSection()}
        return tuple(_pool(name, section) for name, section in sections.items())

    def pool(self, name: str | None = None) -> Pool:
        """Return the pool of this name. Without a name, return the default pool of runs.

        Raises:
            ConfigError: there is no such pool.
        """
        pools = self.pools()
        wanted = name or self.config.run.pool
        if wanted is None:
            return pools[0]
        for pool in pools:
            if pool.name == wanted:
                return pool
        raise no_pool(wanted, pools)

    def run_pools(self, names: str | None = None) -> tuple[Pool, ...]:
        """Return the pools that a run uses, the best first. `names` are their names, separated by commas; None means
        those of the settings, including the pools that `[place]` names for stages.

        Raises:
            ConfigError: there is no such pool, or a pool is named twice.
        """
        if names is None:
            chosen = self.config.run.pools or (self.pool().name,)
            return tuple([self.pool(name) for name in dict.fromkeys((*chosen, *self.config.place.values()))])
        wanted = [name.strip() for name in names.split(",")]
        if not all(wanted):
            raise ConfigError(f"`{names}` has a pool without a name", hint="give names separated by commas: `a,b`")
        pools = [self.pool(name) for name in wanted]
        if twice := next((pool for pool in pools if pools.count(pool) > 1), None):
            raise ConfigError(f"pool `{twice.name}` is named twice", hint="name each pool once, the best first")
        return tuple(pools)

    def spare(self, pools: Collection[Pool]) -> tuple[Pool, ...]:
        """Return the pools of the settings that a run doesn't use. `pools` are the pools of the run."""
        names = {pool.name for pool in pools}
        return tuple([pool for pool in self.pools() if pool.name not in names])

    def pins(self, pools: Iterable[Pool]) -> dict[str, str]:
        """Return, by stage name, the pool that the settings name for the stage. Leave out stages whose pool isn't in
        `pools`."""
        names = {pool.name for pool in pools}
        return {stage: pool for stage, pool in self.config.place.items() if pool in names}

    def region(self, name: str = HOME) -> Region:
        """Return the region of this name, with the address of its store. A folder's path is made absolute.

        Raises:
            ConfigError: the settings have no such region, or its store is missing or invalid.
        """
        section = self.config.region.get(name)
        if section is None and name != HOME:
            raise ConfigError(f"there is no region `{name}`", hint=f"describe it under `[region.{name}]`")
        if section is not None and section.store is not None:
            return Region(name=name, store=self._address(section.store, section), jurisdiction=section.jurisdiction)
        if name != HOME:
            raise ConfigError(f"`[region.{name}]` has no `store`", hint="give it the address of its store")
        jurisdiction = None if section is None else section.jurisdiction
        url = self.config.store.url or str(self.home / STORE)
        return Region(name=name, store=self._address(url, self.config.store), jurisdiction=jurisdiction)

    def regions(self) -> tuple[Region, ...]:
        """Return all regions. The region of the project's own store is the first."""
        return tuple(self.region(name) for name in dict.fromkeys((HOME, *self.config.region)))

    def link(self, source: str, target: str) -> Link:
        """Return the link between two regions. A link that isn't in the settings has 1 Gbit/s and costs nothing."""
        for section in self.config.link.values():
            if (section.source, section.target) == (source, target):
                numbers = {"bits_per_s": section.bits_per_s, "usd_per_gb": section.usd_per_gb}
                return Link(source=source, target=target, **numbers)
        return Link(source=source, target=target, bits_per_s=1e9, usd_per_gb=0.0)

    def local(self, region: str) -> Path:
        """Return this machine's local folder for a region whose store is a bucket."""
        return self.home / "local" / region

    def backup(self, url: str | None = None) -> StoreAddress:
        """Return the address of the backups: `url` if it is given, else that of the settings.

        A folder in `url` is relative to the current folder.

        Raises:
            ConfigError: neither is given.
        """
        section = self.config.backup
        if url is None and section.url is None:
            raise ConfigError(
                "there is no place for backups", hint="name a folder or URL, or set `[backup] url` in headrace.toml"
            )
        if url is not None and "://" not in url:
            url = str(Path(url).expanduser().resolve())
        return self._address(url or section.url or "", section)

    def _address(self, url: str, section: PlaceSection) -> StoreAddress:
        if "://" not in url:
            url = str(self.root / Path(url).expanduser())
        return StoreAddress(
            url=url,
            endpoint=section.endpoint,
            region=section.region,
            options=tuple(section.options.items()),
            cache_gib=section.cache_gib,
        )

    def check_files(self) -> None:
        """Check that the files with the project's pipelines are there.

        Raises:
            ConfigError: a file that the settings name isn't there.
        """
        if self.absent:
            raise ConfigError(
                self.absent,
                hint="`[project] pipelines` lists the Python files that define pipelines, relative to the project's"
                " folder",
            )

    def address(self, target: str) -> str:
        """Return the address of a pipeline. If `target` is `FILE:NAME`, FILE is made relative to the project's
        folder."""
        if ":" not in target:
            return target
        file, _, name = target.rpartition(":")
        return f"{os.path.relpath(Path(file).resolve(), self.root.resolve())}:{name}"

    def make_home(self) -> Path:
        """Return the state folder. If it doesn't exist, create it, with a `.gitignore` that hides it from git.

        Raises:
            ProjectError: the folder can't be created or written.
        """
        ignore = self.home / ".gitignore"
        try:
            self.home.parent.mkdir(parents=True, exist_ok=True)
            self.home.mkdir(mode=0o700, exist_ok=True)  # other users may not read it
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            reason = error.strerror
        else:
            if os.access(self.home, os.W_OK):
                return self.home
            reason = "it is read-only"
        raise ProjectError(
            f"the state folder `{self.home}` can't be written: {reason}",
            hint="make the folder writable, or set HEADRACE_HOME to a writable copy of it",
        )


def load(
    *,
    target: str | None = None,
    notebook: bool = False,
    overlay: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Project:
    """Return the project of the current folder, or of the file in `target` if it is `FILE:NAME`, with its settings.

    `notebook` is True if the pipeline is in a notebook. If there is no `headrace.toml` in or above the current folder,
    the project of a notebook is the current folder. `overlay` is the file of `--config`. `environment` are the
    environment variables; None means those of this process.

    Raises:
        ProjectError: there is no project.
        ConfigError: the settings are invalid.
    """
    environment = os.environ if environment is None else environment
    here = _here()
    named = _named_file(target, here)
    root = _upward(here, FILE) or here if notebook else _root(here, named)
    _check_encoding(root)
    layers = Layers()
    config_files = [file for file in (root / FILE, overlay) if file is not None and (file is overlay or file.exists())]
    for file in config_files:
        layers.add_file(file)
    layers.add_environment(environment)
    config = layers.config()
    check_times(config, layers)
    check_places(config, layers)
    check_notify(config, layers)
    project_file = (root / FILE).is_file()
    has_settings = project_file or layers.origin("project", "pipelines")
    files, absent = _pipeline_files(root, config, layers) if has_settings else ((), "")
    if named is not None and named not in files:
        files = (named, *files)
    home = root / Path(environment.get("HEADRACE_HOME") or STATE).expanduser()
    _check_links(home)
    return Project(
        root=root,
        home=home,
        files=files,
        config=config,
        config_files=tuple(config_files),
        absent=absent,
    )


def _check_links(home: Path) -> None:
    """Raise an error if the state folder or the store in it holds symbolic links.

    A project from elsewhere could bring such links, and Headrace would then write and delete files of other folders.

    Raises:
        ProjectError: there is a link. The message names it.
    """
    for folder in (home, home / STORE):
        try:
            with os.scandir(folder) as entries:
                links = [entry.path for entry in entries if entry.is_symlink()]
        except OSError:  # it doesn't exist yet, or can't be read: the code that needs it raises the error
            continue
        if links:
            raise ProjectError(
                f"`{links[0]}` is a link, and links aren't allowed in the state folder",
                hint="remove it; `[store] url`, `[ledger] url` and HEADRACE_HOME say where else to keep data",
            )


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ProjectError("the current folder was deleted", hint="change to a folder that exists") from None


def _check_encoding(root: Path) -> None:
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise ProjectError(
            f"the project's folder has a name that isn't UTF-8: {str(root)!r}",
            hint="rename it, or the folder above it that has such a name",
        ) from None


def _named_file(target: str | None, here: Path) -> Path | None:
    """Return the file of a target `FILE:NAME`, or None for a plain name.

    Raises:
        ProjectError: there is no such file, or Python can't import it.
    """
    if target is None or ":" not in target:
        return None
    text = target.rpartition(":")[0]
    file = here / text
    if not file.is_file():
        raise ProjectError(
            f"there is no file `{text}`",
            hint="name a pipeline as `path/to/file.py:name`, relative to the current folder",
        )
    _check_module(file, text)
    return file.resolve()


def _check_module(file: Path, name: str) -> None:
    """Raise an error if Python can't import a file because of its name.

    Raises:
        ProjectError: the name doesn't end in `.py`, or has another dot.
    """
    if file.suffix != ".py" or "." in file.stem:
        raise ProjectError(
            f"`{name}` can't be imported as a module",
            hint="a pipeline's file ends in `.py`, and has no other dot in its name",
        )


def _root(here: Path, named: Path | None) -> Path:
    """Return the project's folder: the one with the nearest `headrace.toml` in or above the current folder `here`.

    If the file `named` isn't in that folder, return the folder with the nearest `headrace.toml` above the file; if
    there is none, return the file's own folder. If `named` is None and there is no `headrace.toml`, return the nearest
    folder with the state of earlier runs. For a named file, the state of earlier runs isn't used: runs in a folder
    above the file must not change which modules and files it finds.

    Raises:
        ProjectError: `named` is None, and neither a `headrace.toml` nor the state of earlier runs is found.
    """
    root = _upward(here, FILE)
    if named is None:
        root = root or _upward(here, f"{STATE}/{LEDGER}")
        if root is not None:
            return root
        raise ProjectError(
            f"no `{FILE}` in `{here}` or above it",
            hint="`headrace init` makes a project; `headrace run path/to/file.py:name` runs without one, and its runs"
            " are shown in that file's folder",
        )
    if root is not None and named.is_relative_to(root.resolve()):
        return root
    return _upward(named.parent, FILE) or named.parent


def _upward(folder: Path, name: str) -> Path | None:
    """Return the nearest folder, this one or one above it, that has a file of this name; None if none has."""
    return next((each for each in (folder, *folder.parents) if (each / name).exists()), None)


def _pipeline_files(root: Path, config: Config, layers: Layers) -> tuple[tuple[Path, ...], str]:
    """Return the files of the settings that may define pipelines, and a text that says which of them isn't there. The
    text is empty if all are there.

    The default file may be missing: runs can name their files.
    """
    files, absent = [], ""
    where = layers.origin("project", "pipelines")
    for name in config.project.pipelines:
        file = root / name
        if file.is_file():
            _check_module(file, name)
            files.append(file)
        elif where is not None:
            absent = absent or f"{where}: there is no file `{name}` in `{root}`"
    return tuple(files), absent


def _pool(name: str, section: PoolSection) -> Pool:
    pool = Pool(
        name=name,
        backend=section.backend,
        provider=section.provider,
        region=section.region,
        cpu=host_limits.cpus() if section.cpu is None else section.cpu,
        memory_gib=host_limits.memory_gib() if section.memory_gib is None else section.memory_gib,
        gpus=section.gpus,
        gpu_kind=section.gpu_kind,
        nodes=section.nodes,
        usd_per_hour=section.usd_per_hour,
    )
    return replace(pool, machines=machines_of(section, pool.shapes))


def machines_of(section: PoolSection, measured: Iterable[Shape]) -> tuple[Shape, ...]:
    """Return the kinds of machines in a pool, each once. What the settings say about a machine replaces what was
    measured."""
    shapes = [
        Shape(
            cpu=each.cpu if section.machine_cpu is None else section.machine_cpu,
            memory_gib=each.memory_gib if section.machine_memory_gib is None else section.machine_memory_gib,
            gpus=each.gpus if section.machine_gpus is None else section.machine_gpus,
            gpu_kind=section.gpu_kind,
        )
        for each in measured
    ]
    return tuple(dict.fromkeys(shapes))
