"""The report of a training: how many epochs it took, and its curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from headrace.report.drawing import canvas
from headrace.spec.report import Drawing, Fact, Report


def training_report(
    title: str,
    about: str,
    history: Sequence[dict[str, float]],
    *,
    best_epoch: int,
    given_epoch: int,
    stopped_early: bool,
    cut: str = "",
    limits: Sequence[str] = (),
) -> Report:
    """Return the report of a training from its history, which has one entry for each epoch.

    The report shows no times, so that equal trainings have equal reports.

    The numbers are those of the epoch whose weights are the output (`given_epoch`, from 1). They have the names under
    which they were logged. `cut` says where the driver ended the training early. It is empty if the training wasn't
    ended early.
    """
    given = history[given_epoch - 1] if history else {}
    shown = [_fact("epochs", float(len(history))), _fact("best epoch", float(best_epoch), why="no loss was finite")]
    shown += [_fact(_logged(name), value) for name, value in given.items() if "_" in name]
    more = [f"it ended early, after epoch {len(history)}"] if stopped_early and not cut else []
    more += [f"{cut}: this is not the whole training"] if cut else []
    return Report(title=title, about=about, facts=tuple(shown), drawings=_drawings(history), limits=(*limits, *more))


def _logged(name: str) -> str:
    return "train/epoch_loss" if name == "train_loss" else name.replace("_", "/", 1)


def _fact(name: str, value: float, *, why: str = "it is not finite") -> Fact:
    good = math.isfinite(value) and not (name == "best epoch" and value < 0)
    better = "lower" if name.endswith("loss") else "higher" if name.endswith("accuracy") else ""
    return Fact(name=name, value=value if good else None, better=better, why="" if good else why)


def _drawings(history: Sequence[dict[str, float]]) -> tuple[Drawing, ...]:
    """Return drawings of the losses by epoch, and of the other measures on `valid`."""
    if not history:
        return ()
    measures = [name for name in history[-1] if name.startswith("valid_") and name != "valid_loss"]
    plots = [("Loss", ["train_loss", "valid_loss"]), *((_titled(name), [name]) for name in measures)]
    found = []
    for title, names in plots:
        lines = {name: [entry.get(name, math.nan) for entry in history] for name in names if name in history[-1]}
        found.append(_drawn(title, [entry["epoch"] for entry in history], lines))
    return tuple(found)


def _drawn(title: str, epochs: list[float], lines: dict[str, list[float]]) -> Drawing:
    with canvas(height=2.8) as drawn:
        axes: Any = drawn.axes
        for name, values in lines.items():
            axes.plot(epochs, values, marker="o" if len(epochs) < 30 else "", markersize=3, label=_titled(name))
        axes.set_xlabel("epoch")
        axes.set_ylabel(title.lower())
        if len(lines) > 1:
            axes.legend(frameon=False)
        ends = ", ".join(f"{_titled(name).lower()} {values[-1]:.4g}" for name, values in lines.items())
        return drawn.drawing(title, f"By epoch; after the last epoch: {ends}.")


def _titled(name: str) -> str:
    return name.replace("_", " ").capitalize()
