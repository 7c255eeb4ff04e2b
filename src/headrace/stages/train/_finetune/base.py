"""Loads a Hugging Face model from a folder or a GGUF file, without a network, and without running the model's own
code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headrace.codec.values import File, Folder
from headrace.errors import NotFoundError, UsageError, listed, sentence
from headrace.stages.prepare._tokenize.pretrained import GGUF, installed, offline


def base_model(model: Folder | File | str, gguf_file: str | None) -> Folder | File:
    """Return a model's folder or GGUF file. This is the given folder, a GGUF file in this folder, or the folder of an
    installed package that `model` names.

    Raises:
        NotFoundError: the folder or file doesn't exist.
    """
    if isinstance(model, Folder | File):  # a relative path is not checked: only the driver may see the project's folder
        return model if gguf_file is None else File(model.path / gguf_file)
    path = installed(model) if gguf_file is None else installed(model) / gguf_file
    if path.is_file():
        return File(path)
    if not path.is_dir():
        raise NotFoundError(f"there is no model at `{path}`", hint="give a folder with a config.json, or a GGUF file")
    return Folder(path)


def sequence_classifier(base: Folder | File, classes: int) -> Any:
    """Load the model with a new head for `classes` classes. The head's weights come from PyTorch's random generator."""
    with offline() as transformers:
        return _loaded(transformers.AutoModelForSequenceClassification, base, num_labels=classes)


def language_model(base: Folder | File) -> Any:
    """Load the model as a causal language model."""
    with offline() as transformers:
        return _loaded(transformers.AutoModelForCausalLM, base)


def _loaded(kind: Any, base: Folder | File, **more: Any) -> Any:
    """Load a model's weights from safetensors or GGUF, formats that can't run code."""
    path = base.path
    given = {**more, "local_files_only": True, "trust_remote_code": False, "dtype": "float32"}
    if isinstance(base, File):
        if path.suffix != GGUF:
            raise UsageError(
                f"`{path.name}` is not a GGUF file", hint="give a folder with a config.json, or a .gguf file"
            )
        path, given = path.parent, {**given, "gguf_file": path.name}
    else:
        _check(path)
        given["use_safetensors"] = True
    try:
        model = kind.from_pretrained(str(path), **given)
    except (OSError, ValueError, ImportError, KeyError) as error:
        words = sentence(error)
        raise UsageError(
            f"the model can't be loaded as {kind.__name__}: {words}",
            hint="is it a folder that `save_pretrained` wrote, of an architecture that your transformers knows?",
        ) from error
    model.config.use_cache = False
    return model


def _check(path: Path) -> None:
    """Raise an error if a folder holds no model, or if its weights are only stored as pickles, which can run code."""
    there = sorted(each.name for each in path.iterdir()) if path.is_dir() else []
    told = listed(there, 8) or "nothing"
    if "config.json" not in there:
        ggufs = [name for name in there if name.endswith(GGUF)]
        raise UsageError(
            f"the model's folder has no config.json; it has {told}",
            hint=f'give `gguf_file="{ggufs[0]}"`' if ggufs else "give a folder that `save_pretrained` wrote",
        )
    if not any(name.endswith(".safetensors") for name in there):
        raise UsageError(
            f"the model's folder has no weights in safetensors; it has {told}",
            hint="pickled weights run code when they are read: save them again with `save_pretrained`",
        )
