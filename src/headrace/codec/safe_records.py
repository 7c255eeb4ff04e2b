"""The classes of Headrace whose objects may be loaded even where only safe forms are allowed: in commands, pages and
servers.

An artifact names the class of its value, and anyone may have written that name. So nothing is imported for a name
unless this list has it. The classes in the list only hold data: making an object of them only checks its fields.
"""

from __future__ import annotations

from headrace.codec.classes import place_of

RECORDS = {
    "headrace.spec.report": {"Drawing", "Fact", "Grid", "Report", "Verdict"},
    "headrace.stages.evaluate": {"Classification", "Generation", "Paired", "Regression"},
    "headrace.stages.ingest": {
        "Checked",
        "Column",
        "Contract",
        "Fresh",
        "Grown",
        "Held",
        "Lines",
        "Listing",
        "Logs",
        "Look",
        "Pages",
        "Part",
        "Reading",
        "Recorded",
        "Reference",
        "Relation",
        "Rows",
        "Unique",
    },
    "headrace.stages.prepare": {
        "Cast",
        "Cleaned",
        "Clip",
        "Dates",
        "Deduplicate",
        "Drop",
        "Fill",
        "Judged",
        "Labelled",
        "Map",
        "Normalise",
        "Nulls",
        "Numbers",
        "Preparation",
        "Prepared",
        "Rename",
        "Replace",
        "Split",
        "Step",
        "Tokens",
        "Trim",
        "Units",
        "Without",
    },
    "headrace.stages.registry": {"Entry"},
    "headrace.stages.train": {
        "Boosted",
        "Finetuned",
        "Fitted",
        "Found",
        "Lesson",
        "Made",
        "Network",
        "Study",
        "Trained",
    },
    "headrace.stages.train._torch.module": {"Named"},
}
"""Module -> names of its classes, as artifacts record them. For the parts of a network, `network_check` also checks the
values, because they name the code that makes the network's module."""


def is_listed(name: str) -> bool:
    """Return whether the class `name` is listed. `name` begins with the package that offers the class, or with the
    module that defines it.

    To find this out, only packages of the list are imported.

    >>> is_listed("headrace.stages.train.Network"), is_listed("headrace.stages.train._torch.network.Network")
    (True, True)
    >>> is_listed("headrace.stages.train._torch.rank.Network"), is_listed("subprocess.Popen")
    (False, False)
    """
    module, _, inner = name.partition("@")[0].rpartition(".")
    if inner in RECORDS.get(module, ()):
        return True
    return any(
        module.startswith(f"{package}.") and inner in names and place_of(package, inner) == module
        for package, names in RECORDS.items()
    )
