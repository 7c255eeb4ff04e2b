"""The project: its folder, where its state lives, and its settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from headrace.errors import ConfigError, DefinitionError, ProjectError
from headrace.project import host_limits
from headrace.project.checks import check_places, no_pool
from headrace.project.layers import Layers
from headrace.project.settings import Config, PlaceSection, PoolSection
from headrace.spec.address import StoreAddress
from headrace.spec.duration import seconds
from headrace.spec.fleet import HOME, Link, Pool, Region

FILE = "headrace.toml"
STATE = ".headrace"
LEDGER, STORE = "ledger.db", "store"
"""What lies in the state folder where the settings name no other."""


class Project(Struct, frozen=True, kw_only=True):
    """A project as found: `root` is its folder, `home` that of its state, `files` the Python files with its pipelines.

    `config_files` are the files that the settings come from. `extra` goes into bundles beside the source files.
    """

    root: Path
    home: Path
    files: tuple[Path, ...]
    config: Config = Config()
    config_files: tuple[Path, ...] = ()
    extra: dict[str, bytes] = {}

    @property
    def name(self) -> str:
        return self.config.project.name or self.root.name

    @property
    def ledger_url(self) -> str:
        return self.config.ledger.url or f"sqlite:///{self.home / LEDGER}"

    @property
    def timeout_s(self) -> float | None:
        """The longest that a run may take unless the command says otherwise."""
        timeout = self.config.run.timeout
        return None if timeout is None else seconds(timeout)

    def pools(self) -> tuple[Pool, ...]:
        """Return the pools that tasks may run in: those of the settings, or this machine.

        Raises:
            ConfigError: a pool's numbers make no sense.
        """
        sections = self.config.pool or {"local": PoolSection()}
        return tuple(_pool(name, section) for name, section in sections.items())

    def pool(self, name: str | None = None) -> Pool:
        """Return the pool of this name; without a name, the one that runs use when nobody says otherwise.

        Raises:
            ConfigError: there is none of this name.
        """
        pools = self.pools()
        wanted = name or self.config.run.pool
        if wanted is None:
            return pools[0]
        for pool in pools:
            if pool.name == wanted:
                return pool
        raise no_pool(wanted, pools)

    def region(self, name: str = HOME) -> Region:
        """Return a region: its store's address, with a folder's path made absolute.

        Raises:
            ConfigError: the settings describe no such region, or its store makes no sense.
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
        """Return all regions: that of the project's own store first."""
        return tuple(self.region(name) for name in dict.fromkeys((HOME, *self.config.region)))

    def link(self, source: str, target: str) -> Link:
        """Return the link between two regions; what the settings don't describe costs nothing."""
        for section in self.config.link.values():
            if (section.source, section.target) == (source, target):
                found = {"bits_per_s": section.bits_per_s, "usd_per_gb": section.usd_per_gb}
                return Link(source=source, target=target, **found)
        return Link(source=source, target=target, bits_per_s=1e9, usd_per_gb=0.0)

    def local(self, region: str) -> Path:
        """Return the folder of this machine that goes with a region's store, where that is no folder itself."""
        return self.home / "local" / region

    def backup(self, url: str | None = None) -> StoreAddress:
        """Return the address of the backups: the settings', or this one, where a folder is seen from the current one.

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

    def address(self, target: str) -> str:
        """Return a pipeline as the command names it, the file of `FILE:NAME` relative to the project's folder."""
        if ":" not in target:
            return target
        file, _, name = target.rpartition(":")
        return f"{os.path.relpath(Path(file).resolve(), self.root.resolve())}:{name}"

    def make_home(self) -> Path:
        """Make the state folder where it isn't there yet, hidden from git, and return it.

        Raises:
            ProjectError: it can't be made.
        """
        ignore = self.home / ".gitignore"
        try:
            self.home.parent.mkdir(parents=True, exist_ok=True)
            self.home.mkdir(mode=0o700, exist_ok=True)  # what is in there is nobody else's to read
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
            hint="make the folder writable, or set HEADRACE_HOME to a writable one, such as a copy of it",
        )


def load(
    *, target: str | None = None, overlay: Path | None = None, environment: Mapping[str, str] | None = None
) -> Project:
    """Find the project of the current folder, or of the file that `target` names as `FILE:NAME`, with its settings.

    Raises:
        ProjectError: there is none.
        ConfigError: its settings are broken.
    """
    environment = os.environ if environment is None else environment
    here = _here()
    named = _named_file(target, here)
    root = _root(here, named)
    _check_encoding(root)
    layers = Layers()
    config_files = [file for file in (root / FILE, overlay) if file is not None and (file is overlay or file.exists())]
    for file in config_files:
        layers.add_file(file)
    layers.add_environment(environment)
    config = layers.config()
    _check_timeout(config, layers)
    check_places(config, layers)
    project_file = (root / FILE).is_file()
    files = _pipeline_files(root, config, layers) if project_file or layers.origin("project", "pipelines") else ()
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
    )


def _check_links(home: Path) -> None:
    """Refuse links inside of the state folder: a project from elsewhere could bring them, and what Headrace writes and
    collects would be files of another folder.

    Raises:
        ProjectError: it names one.
    """
    for folder in (home, home / STORE):
        try:
            with os.scandir(folder) as entries:
                links = [entry.path for entry in entries if entry.is_symlink()]
        except OSError:  # it isn't there yet, or can't be read: whoever needs it says so
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
            f"the project's folder has a name that isn't UTF-8: {str(root)!r}", hint="rename it, or one above it"
        ) from None


def _named_file(target: str | None, here: Path) -> Path | None:
    """Return the file of `FILE:NAME`; a pipeline's plain name has none."""
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
    """Refuse a file that Python can't import by its name."""
    if file.suffix != ".py" or "." in file.stem:
        raise ProjectError(
            f"`{name}` can't be imported as a module",
            hint="a pipeline's file ends in `.py`, and has no other dot in its name",
        )


def _root(here: Path, named: Path | None) -> Path:
    """Return the project's folder: that of the `headrace.toml` above, or else of the file that is named.

    Where no file is named, it is the one where runs of a file without a project have left their state. Such state says
    nothing of other files: what a file reads and imports mustn't change with what ran in a folder above it.
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
    """Return the nearest folder, this one or above it, that has such a file."""
    return next((each for each in (folder, *folder.parents) if (each / name).exists()), None)


def _pipeline_files(root: Path, config: Config, layers: Layers) -> tuple[Path, ...]:
    files = []
    for name in config.project.pipelines:
        file = root / name
        if not file.is_file():
            where = layers.origin("project", "pipelines")
            if where is None:
                continue  # the default: a project may do without, and name each file as it runs it
            raise ConfigError(
                f"{where}: there is no file `{name}` in `{root}`",
                hint="`[project] pipelines` lists the Python files that define pipelines, relative to its folder",
            )
        _check_module(file, name)
        files.append(file)
    return tuple(files)


def _check_timeout(config: Config, layers: Layers) -> None:
    try:
        if config.run.timeout is not None and seconds(config.run.timeout) <= 0:
            raise DefinitionError(f"`timeout` is {config.run.timeout!r}", hint="give a time above 0")
    except DefinitionError as error:
        raise ConfigError(f"{layers.origin('run', 'timeout')}: {error.message}", hint=error.hint) from None


def _pool(name: str, section: PoolSection) -> Pool:
    return Pool(
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
