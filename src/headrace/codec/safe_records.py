"""The classes of Headrace whose objects may be loaded where only safe forms are: in commands, pages and servers.

An artifact names the class of its value, and anyone may have written that name. So nothing is imported for a name
before it is found here. The classes here only hold data: to make one of their objects is to check its fields.
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
"""Module -> names of the classes, as artifacts record them. For the parts of a network, `network_check` also checks the
values: they name the code that makes the module."""


def is_listed(name: str) -> bool:
    """Return whether an artifact's class is listed, by its own name or by the module in which it lies.

    Nothing that the artifact names is imported, only packages of the list.

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
