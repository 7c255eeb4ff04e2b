"""Opens a pool's backend for a run."""

from __future__ import annotations

from headrace.app.early import take
from headrace.app.project import Project
from headrace.backends.local.backend import LocalBackend
from headrace.backends.local.namespace import Namespace, works
from headrace.errors import ConfigError
from headrace.run.wire import Hello
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.store.folder import FolderStore


def open_backend(project: Project, run: str, bundle: Bundle, store: FolderStore) -> LocalBackend:
    """Open the backend of the project's first pool.

    Raises:
        ConfigError: this release has no such backend, or its workers can't have the namespace that they must have.
    """
    pool = project.pools()[0]
    if pool.backend != "local":
        raise ConfigError(
            f"pool `{pool.name}` has backend `{pool.backend}`, which this release doesn't have", hint='use "local"'
        )
    hello = Hello(run=run, bundle=bundle, store=str(store.root), memory_gib=pool.memory_gib)
    prefix = _prefix(project, pool, store)
    return LocalBackend(pool, hello, prefix=prefix, spawned=take(project.home, prefix))


def _prefix(project: Project, pool: Pool, store: FolderStore) -> list[str]:
    """Give the words that put workers into their namespace; none where there is to be none."""
    section = project.config.pool.get(pool.name)
    wanted = "auto" if section is None else section.namespace
    if wanted == "off" or not (_works(project) or wanted == "on"):
        return []
    if wanted == "on" and not works():
        raise ConfigError(
            f'pool `{pool.name}` has namespace = "on", and bubblewrap is missing or may not work here',
            hint='install `bubblewrap`, or set namespace = "auto"',
        )
    hidden = [project.home.resolve()]
    if wanted == "on":
        hidden.insert(0, project.root.resolve())
    return Namespace(hidden=tuple(hidden), shown=(store.root.resolve(),)).command()


def _works(project: Project) -> bool:
    """Whether namespaces can be had; asked once a project, since asking takes 20 ms."""
    answer = project.home / "namespaces"
    try:
        return answer.read_text() == "yes"
    except OSError:
        answer.write_text("yes" if works() else "no")
    return answer.read_text() == "yes"
