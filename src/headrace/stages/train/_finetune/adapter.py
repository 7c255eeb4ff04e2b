"""A Hugging Face model with a peft adapter: only the adapter is trained, and only the adapter is stored."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import peft
import safetensors.torch
import torch

from headrace.codec.values import File, Folder
from headrace.errors import UsageError, sentence
from headrace.spec.noun import Noun
from headrace.stages.train._finetune.base import language_model, sequence_classifier

Task = Literal["classify", "continue"]
WEIGHTS, CONFIG, NOTES = "adapter_model.safetensors", "adapter_config.json", "task.json"
_TYPES = {"classify": "SEQ_CLS", "continue": "CAUSAL_LM"}


class Notes(Noun, frozen=True):
    """How an adapter was trained: the task, the columns, the classes and the maximum length of texts. These notes are
    stored with the adapter, so that texts are read in the same way when the adapter is used."""

    task: Task
    text: str
    target: str
    classes: list[Any] | None
    length: int
    end: str = ""


class Tuned(torch.nn.Module):  # type: ignore[misc]
    """A model with its adapter. Its state is only the trained parameters, so checkpoints and results hold no copy of
    the base model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, **batch: Any) -> Any:
        return self.model(**batch).logits

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {name: each for name, each in self.named_parameters() if each.requires_grad}

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        strange = set(state) ^ set(self.state_dict())
        if strange:
            raise RuntimeError(f"the adapter has other parameters: {min(strange)}")
        return super().load_state_dict(state, strict=False)

    def counts(self) -> tuple[int, int]:
        """Return the number of trained parameters, and the number of all parameters."""
        learning = sum(each.numel() for each in self.parameters() if each.requires_grad)
        return learning, sum(each.numel() for each in self.parameters())


def tuned(base: Folder | File, task: Task, classes: int, config: Mapping[str, Any]) -> Tuned:
    """Return a model with a new adapter. `config` holds parameters of peft's `LoraConfig`, by their names in peft.

    Raises:
        UsageError: the model can't be loaded, or peft refuses the parameters.
    """
    model = sequence_classifier(base, classes) if task == "classify" else language_model(base)
    try:
        lora = peft.LoraConfig(task_type=_TYPES[task], **config)
        with _quiet():
            return Tuned(peft.get_peft_model(model, lora))
    except (TypeError, ValueError) as error:
        words = sentence(error).removeprefix("LoraConfig.__init__() ")
        raise UsageError(
            f"peft doesn't accept the adapter {dict(config)!r}: {words}",
            hint="`peft=` has parameters of peft.LoraConfig; `target_modules` names layers of the model",
        ) from error


def save_adapter(module: Tuned, state: Mapping[str, Any], called: str, notes: Notes, folder: Path) -> Folder:
    """Write an adapter's folder, which peft's `from_pretrained` can read. Equal adapters have equal bytes."""
    folder.mkdir(exist_ok=True)
    module.load_state_dict(state)
    weights = peft.get_peft_model_state_dict(module.model)
    plain = {name: each.detach().cpu().contiguous() for name, each in sorted(weights.items())}
    safetensors.torch.save_file(plain, folder / WEIGHTS, metadata={"format": "pt"})
    config = {name: _plain(value) for name, value in module.model.peft_config["default"].to_dict().items()}
    config.update(base_model_name_or_path=called, inference_mode=True)
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    about = {name: getattr(notes, name) for name in notes.__struct_fields__}
    (folder / NOTES).write_text(json.dumps(about, indent=2, ensure_ascii=False), encoding="utf-8")
    return Folder(folder)


def read_notes(adapter: Folder) -> Notes:
    """Return how an adapter was trained.

    Raises:
        UsageError: the folder isn't an adapter that `finetune` made.
    """
    try:
        return Notes(**json.loads((adapter / NOTES).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            "the folder given as `adapter` wasn't made by `finetune`", hint="give its output `adapter`"
        ) from error


def load_adapter(base: Folder | File, adapter: Folder, notes: Notes) -> Any:
    """Return a model with its adapter, ready to predict (`eval`).

    Raises:
        UsageError: the adapter was made for another model.
    """
    model = sequence_classifier(base, len(notes.classes or ())) if notes.task == "classify" else language_model(base)
    try:
        with _quiet():
            return peft.PeftModel.from_pretrained(model, str(adapter.path)).eval()
    except (RuntimeError, ValueError, OSError) as error:
        words = sentence(error)
        raise UsageError(
            f"the adapter doesn't fit the model: {words}", hint="give the model that it was made for"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings of peft and transformers about future versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _plain(value: Any) -> Any:
    """Return a value made of JSON's types. Sets are sorted, since their order differs between processes."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(getattr(value, "value", value))
