"""Texts that are nearly the same, found by MinHash.

A text is compared by its set of shingles, which are runs of three words. Under a random order of all shingles, the
probability that two sets have the same least shingle is their similarity (Broder, On the resemblance and containment of
documents, 1997). 64 such orders form 16 bands of 4. Two texts are compared if they agree in all 4 orders of a band. At
a similarity of 0.8, a pair of texts is missed once in 5,000 times.

The work grows in proportion to the number of texts. Only the first words of a text count. Of the texts that agree in a
band, each is compared with the first one only.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.stages.prepare._split.leaks import crossing

SHINGLE = 3
WORDS = 512
BANDS, ROWS = 16, 4
SIMILAR = 0.8
TOGETHER = 1 << 16
"""The number of shingles that are hashed at a time."""
_SOME = np.uint64(0x9E3779B97F4A7C15)
Numbers = np.ndarray[Any, Any]


def near_texts(texts: pa.ChunkedArray, parts: Numbers, similar: float = SIMILAR) -> tuple[Numbers, Numbers]:
    """Return the rows of later parts that have nearly the same text as a row of an earlier part. Also return these
    earlier rows.

    The similarity is the number of shingles that both texts have, divided by the number that at least one has
    (Jaccard).
    """
    shingles, starts, rows = _shingles(texts)
    if not len(rows):
        return rows, rows
    pairs: set[tuple[int, int]] = set()
    for band in _bands(shingles, starts):
        found = crossing(band, parts[rows])
        pairs.update(zip(found.rows.tolist(), found.others.tolist(), strict=True))
    ends = np.append(starts[1:], len(shingles))
    near: dict[int, int] = {}
    for text, before in sorted(pairs):
        if text in near:
            continue
        one, other = (set(shingles[starts[each] : ends[each]].tolist()) for each in (text, before))
        if len(one & other) >= similar * len(one | other):
            near[text] = before
    return rows[np.array(list(near), np.int64)], rows[np.array(list(near.values()), np.int64)]


def _bands(shingles: Numbers, starts: Numbers) -> Numbers:
    """Return a digest for each band and text.

    Only the shingles of some texts are hashed at a time, so that they stay in the CPU's cache.
    """
    draw = np.random.default_rng(0)
    factors = draw.integers(1, 2**63, size=(BANDS, ROWS), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    bands = np.zeros((BANDS, len(starts)), np.uint64)
    begin = 0
    while begin < len(starts):
        end = max(begin + 1, int(np.searchsorted(starts, starts[begin] + TOGETHER)))
        last = starts[end] if end < len(starts) else len(shingles)
        block, inner = shingles[starts[begin] : last], starts[begin:end] - starts[begin]
        for band, row in np.ndindex(BANDS, ROWS):
            factor = factors[band, row]
            mixed = block * factor
            mixed ^= mixed >> np.uint64(29)
            mixed *= factor
            digests = bands[band, begin:end]
            digests *= _SOME
            digests += np.minimum.reduceat(mixed, inner)
        begin = end
    return bands


def _shingles(texts: pa.ChunkedArray) -> tuple[Numbers, Numbers, Numbers]:
    """Return the shingles of all texts as numbers, the start of each text's shingles, and the row of each text.

    A text of fewer words than a shingle has one shingle. A text without a word is left out.
    """
    plain = pc.utf8_lower(pc.replace_substring_regex(texts.cast(pa.large_string()), r"[^\pL\pN]+", " "))
    words = pc.list_slice(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(plain), max_splits=WORDS), 0, WORDS)
    words = words.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(words), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = pc.list_flatten(words).dictionary_encode()
    numbers = np.array([_number(word) for word in flat.dictionary.to_pylist()], np.uint64)
    values = numbers[flat.indices.to_numpy(zero_copy_only=False)] if len(flat) else np.empty(0, np.uint64)
    empty = (lengths == 0) | ((lengths == 1) & _is_blank(words, lengths))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rolled = values.copy()
    for step in range(1, SHINGLE):
        following = np.zeros_like(values)
        following[:-step] = values[step:]
        within = place + step < lengths[owner]
        rolled = rolled * _SOME + np.where(within, following, np.uint64(0))
    kept = ((place == 0) | (place <= lengths[owner] - SHINGLE)) & ~empty[owner]
    owner, rolled = owner[kept], rolled[kept]
    starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1])) if len(owner) else np.empty(0, np.int64)
    return rolled, starts, owner[starts]


def _is_blank(words: pa.Array, lengths: Numbers) -> Numbers:
    """Return a mask of the texts that have no word. Splitting such a text gives one empty word."""
    flat = pc.list_flatten(words)
    blank = pc.equal(pc.utf8_length(flat), 0).to_numpy(zero_copy_only=False)
    found = np.zeros(len(lengths), dtype=bool)
    there = lengths > 0
    found[there] = blank[(np.cumsum(lengths) - lengths)[there]]
    return found


def _number(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
