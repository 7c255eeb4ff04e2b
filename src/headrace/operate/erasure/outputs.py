"""Says what was made from erased tables, and which of it a person should look at first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import get_args

from msgspec import UNSET

from headrace.ledger.views.rows import OutputView
from headrace.ledger.views.steps import Step
from headrace.report.measures import count_text
from headrace.spec.intent import PREPARATION, REPORT, RegistryKind

_MAY_NAME = "preparation, which may list the person's value as a category"


def made_of(step: Step, versions: Mapping[str, str], erased: Set[str]) -> Iterator[str]:
    """Yield a text about each output of a task that needed an erased table. `versions` has the versions of models and
    datasets, by digest.

    Outputs in `erased` and small values are left out. But preparations are always included, and reports even if they
    are small.
    """
    yield from preparations(step)
    for output in step.outputs:
        is_small = output.text is not UNSET and output.type != REPORT
        if not is_small and output.digest not in erased and output.type != PREPARATION:
            yield f"{versions.get(output.digest, output.type)}, {_source(step, output)}"


def preparations(step: Step) -> Iterator[str]:
    """Yield a text about each preparation among a task's outputs. It lists the values of text columns that have few
    different ones, so it may have the person's value, however small it is."""
    for output in step.outputs:
        if output.type == PREPARATION:
            yield f"{_MAY_NAME}, {_source(step, output)}"


def _source(step: Step, output: OutputView) -> str:
    """Return a text that says which task gave an output. A run's present output has the same task, so an output that it
    gave under an earlier code is told with its digest."""
    source = f"from task `{step.task}` of run `{step.run}`"
    return f"{source} under an earlier code: `{output.digest[:12]}`" if step.earlier else source


def rank(text: str) -> int:
    """Return where a text about an output belongs in a list: versions of models and datasets come first, then
    preparations."""
    if text.split(" ")[0] in get_args(RegistryKind):
        return 0
    return 1 if text.startswith(_MAY_NAME) else 2


def first_of(below: Sequence[str], few: int, every: str) -> list[str]:
    """Return lines that name some of these outputs, which `rank` has sorted: at most `few` versions, and at most `few`
    preparations. If these are fewer than `few`, other outputs follow up to this number. The last line says how many
    more outputs there are; `every` says how to list them."""
    versions, preparations, others = ([text for text in below if rank(text) == place] for place in range(3))
    named = [*versions[:few], *preparations[:few]]
    named += others[: max(0, few - len(named))]
    if len(named) == len(below):
        return named
    left = f"and {len(below) - len(named):,} more"
    if hidden := len(preparations[few:]):
        left += f", {count_text(hidden, 'preparation')} among them"
    return [*named, f"{left}: {every}"]
