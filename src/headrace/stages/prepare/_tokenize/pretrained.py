"""Pretrained models as they lie in folders, files and installed packages; nothing is ever fetched."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.errors import NotFoundError, UsageError
from headrace.stages.error_line import sentence

GGUF = ".gguf"


def installed(name: str) -> Path:
    """Return the path that a name stands for: one that exists, or a folder in an installed package (`package/folder`).

    The package is not imported.

    Raises:
        NotFoundError: neither is there.
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
    """Return the library `transformers`, quiet, and kept from looking for anything on a network."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    import transformers  # noqa: PLC0415  3 s, and it reads the environment when it is imported

    told = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        transformers.utils.logging.set_verbosity(told)


def gguf_tokenizer(path: Path) -> Any:
    """Return the tokenizer that a GGUF file holds, as the library `tokenizers` has it."""
    with offline() as transformers:
        try:
            found = transformers.AutoTokenizer.from_pretrained(
                str(path.parent), gguf_file=path.name, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, ImportError, KeyError) as error:
            words = sentence(error)
            raise UsageError(
                f"`{path.name}` has no tokenizer that can be read: {words}", hint="is it whole?"
            ) from error
    return found.backend_tokenizer
