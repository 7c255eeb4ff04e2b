"""The stage `prepare.tokenizer`: a tokenizer that is trained on the texts of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from headrace.codec.values import Folder
from headrace.define.stage import ready
from headrace.errors import DefinitionError, UsageError
from headrace.models.types import is_text, plain_type
from headrace.stages.scratch import scratch

SPECIAL = 2
"""The number of tokens that aren't bytes: the end of a text, and padding."""


def _check(given: Mapping[str, Any]) -> None:
    """Refuse numbers from which no tokenizer can be made, if they are known when the pipeline is traced.

    Raises:
        DefinitionError: `vocab_size` or `min_frequency` is too small.
    """
    vocab_size, min_frequency = given.get("vocab_size"), given.get("min_frequency", 0)
    if vocab_size is not None and vocab_size < 256 + SPECIAL:
        raise DefinitionError(
            f"`vocab_size` is {vocab_size}",
            hint=f"give {256 + SPECIAL} or more: one token for each of the 256 bytes, and {SPECIAL} special tokens",
        )
    if min_frequency < 0:
        raise DefinitionError(f"`min_frequency` is {min_frequency}", hint="give 0 or more")


@ready("prepare.tokenizer", version=1, on=("tokenizers",), kind="prepare", check=_check)
def tokenizer(
    table: pa.Table,
    *,
    column: str = "text",
    vocab_size: int = 8000,
    min_frequency: int = 2,
    end: str = "<|end|>",
    padding: str = "<|pad|>",
) -> Folder:
    """Train a tokenizer on a column of texts, and return its folder.

    The tokenizer uses byte pair encoding (BPE) on bytes, so it has no unknown tokens. `vocab_size` (in tokens) and
    `min_frequency` (of a pair) mean the same as for `BpeTrainer` of the library `tokenizers`. `tokenize` and Hugging
    Face's `AutoTokenizer` can read the folder. `end` and `padding` are the special tokens.

    Raises:
        DefinitionError: the column is missing or isn't text, `min_frequency` is below 0, or `vocab_size` is too small
            for the 256 bytes and the special tokens.
        UsageError: the column has no text.
    """
    _check({"vocab_size": vocab_size, "min_frequency": min_frequency})
    if column not in table.column_names:
        raise DefinitionError(f"the table has no column `{column}`", hint=f"it has {', '.join(table.column_names)}")
    if not is_text(plain_type(table.schema.field(column).type)):
        raise DefinitionError(
            f"column `{column}` is `{table.schema.field(column).type}`, not text", hint="name a column of texts"
        )
    special = [end, padding]
    if not any(table[column].drop_null().to_pylist()):
        raise UsageError(f"column `{column}` has no text to learn from", hint="check the stage that makes it")
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (
        text or ""
        for batch in table.select([column]).to_batches(max_chunksize=1024)
        for text in batch.column(0).to_pylist()
    )
    made.train_from_iterator(texts, trainer)
    folder = scratch() / "tokenizer"
    folder.mkdir(exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "pad_token": padding}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return Folder(folder)
