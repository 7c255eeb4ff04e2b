"""Starts model processes. Each model process has one version of a model. It runs in a Linux namespace without network,
where it can read only the system's programs and its model, and can't write anything that other processes see."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread

import msgspec

from headrace.backends.processes.exit_cause import cause, with_words
from headrace.backends.processes.namespace import Namespace, works
from headrace.backends.processes.orphans import end_marked, process_began
from headrace.backends.processes.spawn import MARK, last_line, memory_file
from headrace.errors import ConfigError, EnvironmentFailed
from headrace.models.hosting import Load
from headrace.project.project import Project
from headrace.project.state import ledger_is_shared, ledger_path, reading_store
from headrace.spec.artifact import Ref, blobs
from headrace.spec.bundle import OwnCode, own_code_in
from headrace.spec.signature import signature_in
from headrace.store.folder.folder import FolderStore
from headrace.store.open_store import folder_of
from headrace.work.archive import unpack
from headrace.work.environments.cache import cache_folder
from headrace.work.environments.enter import environment_of, on
from headrace.work.environments.headrace_code import code_folder
from headrace.work.limits.memory import Scale

MODELS = "models-"
"""A server has a folder for its models in the project's state folder. The folder's name is this text, followed by the
server's process id."""

_encode_ref = msgspec.msgpack.Encoder().encode
_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""The environment variables that a model process sees."""
_HOST = "headrace.work.serving.model_host"
_HOMES = (Path("/home"), Path("/root"))
_LINE = 3
"""The file descriptor of the socket in the model process."""
_WATCH_EVERY_S = 0.5
_MOST_STDERR = 1 << 20
END_S = 10.0
"""How long a killed process may take to end, in seconds."""


def load_order(out: Ref, preparation: Ref | None) -> Load:
    """Return the message that tells a model process to load a model. `out` is the model's artifact, and `preparation`
    the artifact of its preparation, or None."""
    own = own_code_in(preparation)
    signature = signature_in(out.signature) if own is None else own.signature
    is_known = own is not None or preparation is None  # what rows a preparation takes isn't
    example = signature.example if signature is not None and is_known else None
    row = {name: [value] for name, value in example.items()} if example else None
    is_asked_by_own_code = own is not None and own.functions.predict is not None  # its answers are others
    return Load(
        model=_encode_ref(out),
        preparation=None if preparation is None else _encode_ref(preparation),
        signature=None if is_asked_by_own_code else out.signature,
        row=row,
    )


def gather_blobs(project: Project, refs: Sequence[Ref], folder: Path) -> None:
    """Copy the blobs of artifacts into a folder, for a process that can't reach the project's stores.

    Raises:
        BlobMissing, BlobDamaged: a blob can't be read.
    """
    source, store = reading_store(project), FolderStore(folder)
    with store.batch() as batch:
        for blob in (blob for ref in refs for blob in blobs(ref)):
            if store.size(blob.digest, blob.nonce or "") is None:
                with source.reader(blob.digest, blob.nonce or "") as data:
                    batch.replicate(blob.digest, blob.nonce or "", data)


def blobs_of_servers(project: Project) -> Iterator[tuple[int, set[str]]]:
    """For each running server on this host, yield its process id and the names of the blobs of its models. These blobs
    are in files, and in the memory of the model processes."""
    for folder in project.home.glob(f"{MODELS}*"):
        if _lives(pid := folder.name.removeprefix(MODELS)):
            inside = os.walk(folder)  # it leaves out a folder whose model ends meanwhile
            yield int(pid), {name for _, folders, files in inside for name in (*folders, *files)}


@contextmanager
def models_folder(project: Project) -> Iterator[Path]:
    """Yield a folder for the blobs of the models that this process has started. Folders of processes that are gone are
    deleted, and model processes that they left are ended."""
    project.make_home()
    _end_leftovers(project)
    for other in project.home.glob(f"{MODELS}*"):
        if not _lives(other.name.removeprefix(MODELS)):
            shutil.rmtree(other, ignore_errors=True)
    folder = project.home / f"{MODELS}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end_leftovers(project: Project) -> None:
    """End the processes that servers of this project left on this host when they were killed.

    Linux ends a model process together with its server, but not from the very first moment: if bubblewrap is killed
    within its first milliseconds, the process that it has just made waits for it forever, or goes on without it.
    """
    place = _place(project)

    def is_left(mark: str) -> bool:
        pid, _, began = mark.removeprefix(place).partition(" ")
        return mark.startswith(place) and pid.isdecimal() and process_began(int(pid)) != began

    end_marked(is_left)


def _mark(project: Project) -> dict[str, str]:
    """Return the environment variable that marks the processes of this server."""
    return {MARK: f"{_place(project)}{os.getpid()} {process_began(os.getpid())}"}


def _place(project: Project) -> str:
    """Return how the marks of all servers of this project begin whose process ids this process can see: a server in
    a container has other ones."""
    return f"{project.home.resolve()} {os.readlink('/proc/self/ns/pid')} "


class ModelProcess:
    """A model process that was started. `socket` is this process's end of the connection to it; whoever uses this end
    must close it.

    A thread starts the process and waits for its end, so the process never stays as a zombie. If the process and all
    that it has started take more than `limit_gib` GiB of memory, the thread kills them. If this Python process ends for
    any reason, Linux kills the model process. When the model process has ended, the thread calls `ended`.
    """

    def __init__(
        self,
        words: list[str],
        environment: Mapping[str, str],
        limit_gib: float | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.socket, theirs = socket.socketpair()
        self.pid = 0
        self._limit_gib = limit_gib
        self._ended = ended
        self._errors = memory_file()
        self._earlier = ""
        self._reaping = Lock()  # what isn't reaped keeps its process id, so no other process can be killed
        self._status: int | None = None
        self._too_large = ""
        started: SimpleQueue[OSError | None] = SimpleQueue()
        self._thread = Thread(
            target=self._live, args=(words, environment, theirs, started), name="headrace-model-watch", daemon=True
        )
        self._thread.start()
        if (error := started.get()) is not None:
            self.socket.close()
            raise error

    @property
    def is_alive(self) -> bool:
        """Whether the process, or anything that it has started, still runs."""
        return self._status is None

    def why_ended(self) -> str:
        """Return why the process has ended, with the last line that it printed on stderr; "" if it still runs."""
        if self._status is None:
            return ""
        return self._too_large or with_words(cause(self._status), self.last_words())

    def last_words(self) -> str:
        """Return the last line on the process's stderr, or "" if there is none."""
        line = last_line(self._errors, 0, os.fstat(self._errors).st_size)
        return line.lstrip("\0") or self._earlier  # what is written while the file is emptied comes after a hole

    def kill(self) -> None:
        """Kill the process and all that it has started, and don't wait until they have ended."""
        with self._reaping:
            if self._status is None:
                inside = _children(self.pid)  # the first process of the namespace: with it, the kernel ends all others
                with suppress(ProcessLookupError):
                    for pid in inside:
                        os.kill(pid, signal.SIGKILL)
                    if not inside:  # bubblewrap may be making it just now, and would leave it if it were killed alone
                        os.killpg(self.pid, signal.SIGKILL)

    def end(self, within_s: float = END_S) -> bool:
        """Kill the process and all that it has started, and wait until they have ended. Return False if this takes
        longer than `within_s` seconds, for example because a disk hangs and the kernel can't end them yet."""
        self.socket.close()
        self.kill()
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def __del__(self) -> None:
        if (errors := getattr(self, "_errors", -1)) >= 0:
            os.close(errors)

    # -- in the thread -------------------------------------------------------------------------------------------

    def _live(
        self,
        words: list[str],
        environment: Mapping[str, str],
        theirs: socket.socket,
        started: SimpleQueue[OSError | None],
    ) -> None:
        try:
            with theirs:
                self.pid = _spawned(words, environment, theirs.fileno(), self._errors)
        except OSError as error:
            self._status = -1
            self._ended()
            started.put(error)
            return
        started.put(None)
        self._watch()
        with self._reaping:
            status = 0
            with suppress(ChildProcessError):  # somebody has waited for it already
                _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            self._status = 128 - code if code > 128 else code  # bubblewrap's way to say that a signal ended the process
        self._ended()

    def _watch(self) -> None:
        """Return when the process has ended. Until then, kill it if it gets too large, and keep its stderr short."""
        scale, ended, process = Scale(self.pid), select.poll(), os.pidfd_open(self.pid)
        ended.register(process, select.POLLIN)
        try:
            while not ended.poll(1_000 * _WATCH_EVERY_S):
                self._trim()
                if self._limit_gib is None or self._too_large:
                    continue
                size = scale.weigh_gib(self._limit_gib, time.monotonic()) + scale.shared_gib()
                if size > self._limit_gib:
                    limit = f"its limit of {self._limit_gib:.3g} GiB"
                    self._too_large = f"it took {size:.2f} GiB of memory, more than {limit}"
                    self.kill()
        finally:
            os.close(process)

    def _trim(self) -> None:
        """If the process has written much to stderr, remember the last line and empty the file. Both processes share
        the position in this file, so it is set back to the start for both."""
        if os.fstat(self._errors).st_size > _MOST_STDERR:
            self._earlier = self.last_words()
            os.ftruncate(self._errors, 0)
            os.lseek(self._errors, 0, os.SEEK_SET)


def check(project: Project) -> None:
    """Check that this machine can make the Linux namespace that isolates a model process of a project.

    Raises:
        ConfigError: the machine can't make it.
    """
    if not works(private=True, environment={**os.environ, **_mark(project)}):
        raise ConfigError(
            "a model process needs a Linux namespace, and bubblewrap is missing or forbidden to make one here",
            hint="install `bubblewrap`, and allow user namespaces",
        )


def unpacked(own: OwnCode, folder: Path, tell: Callable[[str], None]) -> Path | None:
    """Unpack the bundle of a version's own code. `folder` must already have the bundle's archive (see `gather_blobs`).
    Return the interpreter of the environment that the bundle's lock file describes. Return None if this process has all
    packages that the code needs. `tell` is called with a message if the environment must be built first.

    Raises:
        EnvironmentFailed: the own code needs another version of Python than this process has, or its environment can't
            be built on this machine.
    """
    wanted, here = own.functions.python, f"{sys.version_info.major}.{sys.version_info.minor}"
    if wanted != here:
        raise EnvironmentFailed(
            f"`{own.functions.name}` ran on Python {wanted}, and this server runs on {here}",
            hint=f"run `headrace serve` on Python {wanted}, or deploy the model again from Python {here}",
        )
    bundle = unpack(own.bundle, FolderStore(folder), folder)
    if own.bundle.lock is None:
        return None
    from headrace.work.environments.choose import environment_python  # noqa: PLC0415  40 ms that few versions need

    return environment_python(bundle, None, "auto", cache_folder().absolute(), tell=tell)


def start(
    project: Project,
    folder: Path,
    limit_gib: float | None = None,
    *,
    python: Path | None = None,
    keys: Sequence[Path] = (),
    ended: Callable[[], None] = lambda: None,
) -> ModelProcess:
    """Start a model process that reads its blobs from `folder`. It is killed if it takes more than `limit_gib` GiB of
    memory (None: no limit). It runs on the interpreter `python` (None: that of this process). `keys` are the server's
    TLS files: the model process can't see them or other files in their folders. When the model process has ended,
    `ended` is called in a thread.

    Raises:
        ConfigError: this machine can't make the Linux namespace that isolates the process.
    """
    check(project)
    readable, arguments = [folder.resolve()], [str(_LINE), str(folder)]
    if limit_gib is not None:
        arguments.append(str(int(limit_gib * 2**30)))
    environment = _mark(project) | {name: value for name, value in os.environ.items() if name in _KEPT}
    if python is None:
        command = [sys.executable, "-P", "-m", _HOST, *arguments]
    else:
        code = code_folder(cache_folder().absolute())
        readable += [python.parent.parent, code]
        command = on(python, code, _HOST, arguments)
        environment["PATH"] = environment_of(python)["PATH"]
    environment["HOME"] = "/tmp"
    private = Namespace(hidden=tuple(_hidden(project, keys)), readable=tuple(readable), network=False, private=True)
    return ModelProcess([*private.command(), *command], environment, limit_gib, ended)


def _hidden(project: Project, keys: Sequence[Path] = ()) -> set[Path]:
    """Return the folders and files that a model process doesn't see: the project, its state, its stores on this
    machine, the folder of a ledger in a file, the users' homes, and files of settings and keys with their folders."""
    found = {project.root, project.home, Path.home(), *_HOMES, *_stores(project)}
    if not ledger_is_shared(project):
        found.add(ledger_path(project).parent)
    for file in (*keys, *project.config_files):
        places = (file.absolute(), file.resolve())  # it may be a link to another folder, as certbot's keys are
        found |= {*places, *(place.parent for place in places if not _has_programs(place.parent.resolve()))}
    return {path.resolve() for path in found} - {Path("/")}


def _has_programs(folder: Path) -> bool:
    """Return whether a folder is one of the system's top folders, such as `/etc` or `/usr/lib`, which have files that
    programs need."""
    return len(folder.parts) <= (3 if folder.is_relative_to("/usr") else 2)


def _stores(project: Project) -> Iterator[Path]:
    for region in project.regions():
        yield project.local(region.name) if region.store.is_remote else folder_of(region.store)


def _spawned(words: list[str], environment: Mapping[str, str], line: int, errors: int) -> int:
    """Start a command in a session of its own, so that ^C in a terminal doesn't reach it. Return its process id.

    The command gets the socket `line` as file descriptor `_LINE`, and the file `errors` as its stderr. Other processes
    that are started at the same time don't inherit the socket.
    """
    null = os.open(os.devnull, os.O_RDWR)
    pairs = ((null, 0), (null, 1), (errors, 2), (line, _LINE))
    actions = [(os.POSIX_SPAWN_DUP2, one, other) for one, other in pairs]
    try:
        return os.posix_spawn(words[0], words, environment, file_actions=actions, setsid=True)
    finally:
        os.close(null)


def _lives(pid: str) -> bool:
    """Return whether a process lives. One that has ended may stay in `/proc` until its parent asks about it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
