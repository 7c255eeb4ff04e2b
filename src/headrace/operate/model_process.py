"""Starts model processes: each has one version of a model, in a Linux namespace without network that hides the project,
its state and the user's home folder."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.backends.processes.namespace import Namespace, works
from headrace.errors import ConfigError
from headrace.models.hosting import Load
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.spec.artifact import Ref, blobs
from headrace.spec.signature import signature_in
from headrace.store.folder.folder import FolderStore

_encode_ref = msgspec.msgpack.Encoder().encode
_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""The environment variables that a model process sees."""


def load_order(out: Ref, preparation: Ref | None) -> Load:
    """Return the first order for a model process: to load this artifact, with its preparation if it has one."""
    signature = signature_in(out.signature)
    example = signature.example if signature is not None and preparation is None else None
    row = {name: [value] for name, value in example.items()} if example else None
    return Load(
        model=_encode_ref(out),
        preparation=None if preparation is None else _encode_ref(preparation),
        signature=out.signature,
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


def start(project: Project, folder: Path) -> tuple[int, socket.socket]:
    """Start a model process whose blobs are in `folder`. Return its process id, and this process's end of its socket.

    Raises:
        ConfigError: this machine can't make the namespace that keeps the process from everything else.
    """
    if not works(closed=True):
        raise ConfigError(
            "a model process needs a Linux namespace, and bubblewrap is missing or forbidden to make one here",
            hint="install `bubblewrap`, and allow user namespaces",
        )
    hidden = (project.root.resolve(), project.home.resolve(), Path.home().resolve())
    closed = Namespace(hidden=hidden, readable=(folder.resolve(),), network=False, closed=True)
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    module = ["-P", "-m", "headrace.work.serving.model_host", str(theirs.fileno()), str(folder)]
    words = [*closed.command(), sys.executable, *module]
    null = os.open(os.devnull, os.O_RDWR)
    environment = {name: value for name, value in os.environ.items() if name in _KEPT}
    pid = os.posix_spawn(
        words[0], words, environment, file_actions=[(os.POSIX_SPAWN_DUP2, null, each) for each in (0, 1, 2)]
    )
    theirs.close()
    os.close(null)
    return pid, ours
