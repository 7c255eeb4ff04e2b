"""The suffixes of file names: the format that each suffix stands for, and a test whether a text is a file name."""

from __future__ import annotations

import re

BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".txt": "text",
    ".md": "text",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
    ".gif": "image",
    ".webp": "image",
}
PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_NAME = re.compile(
    rf"({'|'.join(map(re.escape, BY_SUFFIX))}|\.log)(\.\d+)?({'|'.join(map(re.escape, PACKED))})?$", re.IGNORECASE
)


def is_file_name(text: str) -> bool:
    """Return whether a text is the name of a data file or of a log, even a rotated or packed one.

    >>> is_file_name("in/a.csv"), is_file_name("access.log.1.gz"), is_file_name("example.org")
    (True, True, False)
    """
    return _NAME.search(text) is not None
