"""Files and folders that a pipeline names, kept as artifacts by the driver, who sees the project's folder."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import ProjectError
from headrace.operate.inputs import Inputs, marks_of
from headrace.project.project import Project
from headrace.spec.artifact import Ref
from headrace.spec.fleet import HOME
from headrace.store.store import Store

MEMORY = "inputs.msgpack"
TYPES = {"file": "headrace.File", "folder": "headrace.Folder"}
"""As what they are kept. An older release may have remembered another name, by which keys and traces would differ."""


def keep_path(project: Project, region: str, store: Store, about: str, path: str) -> Ref:
    """Keep a file or folder as it is now, in a region's store; a relative path is seen from the project's folder.

    What was kept before and hasn't changed since is not kept again.

    Raises:
        ProjectError: it isn't there.
    """
    from headrace.codec.codecs import Codecs  # noqa: PLC0415  30 ms that only pipelines with files need
    from headrace.codec.values import File, Folder  # noqa: PLC0415  as above

    root = project.root
    found = root / Path(path).expanduser()
    there = found.is_file() if about == "file" else found.is_dir()
    if not there:
        raise ProjectError(f"there is no {about} `{path}`", hint=f"paths are seen from the project's folder, `{root}`")
    inputs = Inputs(project.home / (MEMORY if region == HOME else f"inputs-{region}.msgpack"), store)
    known = inputs.recall(found)
    if known is not None and known.type == TYPES[about]:
        return known
    marks = marks_of(found)
    ref = Codecs().save(File(found) if about == "file" else Folder(found), store)
    inputs.remember(found, marks, ref)
    return ref
