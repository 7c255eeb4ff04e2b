"""Pretrained models in folders, files and installed packages. Nothing is ever downloaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.errors import NotFoundError, UsageError, sentence

GGUF = ".gguf"


def installed(name: str) -> Path:
    """Return the path with this name: an existing path, or a folder in an installed package (`package/folder`).

    The package is not imported.

    Raises:
        NotFoundError: there is no such path, and no such folder in a package.
    """
    if (path := Path(name)).exists():
        return path
    package, _, inside = name.partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (found := Path(place, inside)).exists():
            return found
    raise NotFoundError(
        f"there is no folder `{name}`, and no installed package has it",
        hint="give a path, or `package/folder` of a package that is installed",
    )


@contextmanager
def offline() -> Iterator[Any]:
    """Yield the library `transformers` with few messages and without network access."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    import transformers  # noqa: PLC0415  the import takes 3 s, and reads the environment

    told = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        transformers.utils.logging.set_verbosity(told)


def gguf_tokenizer(path: Path) -> Any:
    """Return the tokenizer in a GGUF file, as an object of the library `tokenizers`.

    Raises:
        UsageError: the file has no tokenizer that can be read.
    """
    with offline() as transformers:
        try:
            found = transformers.AutoTokenizer.from_pretrained(
                str(path.parent), gguf_file=path.name, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, ImportError, KeyError) as error:
            words = sentence(error)
            raise UsageError(
                f"`{path.name}` has no tokenizer that can be read: {words}", hint="is the file complete?"
            ) from error
    return found.backend_tokenizer
