"""The people: answers to the American Community Survey in Massachusetts, 2015 to 2018, aged 18 to 64.

The files come with the PyPI package `nannyml`, of which only they are read (importing it fails on a new pandas). They
are the task ACSEmployment of folktables (Ding et al. 2021, "Retiring Adult").
"""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

AGES = (18, 64)
FEATURES = ["age", "schooling", "married", "relation", "disabled", "citizen", "moved", "military", "ancestry"]
FEATURES += ["born_abroad", "deaf", "blind", "memory"]
CODES = {
    "SCHL": "schooling",
    "MAR": "married",
    "RELP": "relation",
    "DIS": "disabled",
    "CIT": "citizen",
    "MIG": "moved",
    "MIL": "military",
    "ANC": "ancestry",
    "NATIVITY": "born_abroad",
    "DEAR": "deaf",
    "DEYE": "blind",
    "DREM": "memory",
}
SEXES = {"1": "male", "2": "female"}
RACES = {
    "1": "White",
    "2": "Black",
    "3": "American Indian",
    "4": "Alaska Native",
    "5": "American Indian or Alaska Native, tribe not told",
    "6": "Asian",
    "7": "Pacific Islander",
    "8": "some other race",
    "9": "two or more races",
}


class Parts(NamedTuple):
    """People by year: 2015 to learn from, 2016 to choose the threshold by, 2017 and 2018 to judge by."""

    train: pa.Table
    valid: pa.Table
    test: pa.Table


def release() -> str:
    """The version of the package that the data come with."""
    return version("nannyml")


def read(edition: str) -> pa.Table:
    """All answers, as they come."""
    found = find_spec("nannyml")
    if found is None or not found.submodule_search_locations or edition != release():
        raise FileNotFoundError("the data are in the package `nannyml`: pip install --no-deps nannyml")
    folder = Path(found.submodule_search_locations[0], "datasets", "data")
    known = parquet.read_table(folder / "employment_MA_reference.pq")
    later = parquet.read_table(folder / "employment_MA_analysis.pq")
    answers = parquet.read_table(folder / "employment_MA_analysis_target.pq")
    later = later.join(answers, "id").select(["id", "AGEP", *CODES, "SEX", "RAC1P", "employed", "year"])
    return pa.concat_tables([known.select(later.column_names).cast(later.schema), later]).sort_by("id")


def tidy(raw: pa.Table, share: float) -> pa.Table:
    """People of working age, `share` of them: `id`, features as numbers, `sex`, `race`, `employed` (1 or 0), `year`."""
    some = raw.filter(pc.and_(pc.greater_equal(raw["AGEP"], AGES[0]), pc.less_equal(raw["AGEP"], AGES[1])))
    if share < 1:
        some = some.filter(pc.less(pc.bit_wise_and(pc.multiply(some["id"], 40503), 0xFFFF), int(share * 0x10000)))
    codes = {name: some[code].cast(pa.string()).cast(pa.int16()) for code, name in CODES.items()}
    return pa.table(
        {
            "id": some["id"],
            "age": some["AGEP"].cast(pa.int16()),
            **codes,
            "sex": pa.array([SEXES[each] for each in some["SEX"].to_pylist()]),
            "race": pa.array([RACES[each] for each in some["RAC1P"].to_pylist()]),
            "employed": some["employed"].cast(pa.int8()),
            "year": some["year"].cast(pa.int16()),
        }
    )


def by_year(people: pa.Table) -> Parts:
    """Cut by year, since that is how a model is used: learned from the past."""
    year = people["year"]
    return Parts(
        train=people.filter(pc.equal(year, 2015)),
        valid=people.filter(pc.equal(year, 2016)),
        test=people.filter(pc.greater_equal(year, 2017)),
    )
