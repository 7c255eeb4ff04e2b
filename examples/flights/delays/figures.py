"""The figures of the report. Each takes what evaluation found and gives a matplotlib figure; nothing here is global."""

import io
from typing import Any

import lightgbm as lgb
import matplotlib as mpl
import numpy as np
import pyarrow as pa
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from delays.evaluation import CARRIER_HOUR, CONSTANT, MODEL, Metrics
from delays.learning import Candidate

INK, MUTED, FAINT = "#1f2933", "#66727f", "#e3e7eb"
COLOURS = {MODEL: "#0b6e8f", CARRIER_HOUR: "#c8702a", CONSTANT: "#8a94a0"}
TRIALS = ["#8fc1d1", "#3d93ae", "#0b4f66"]
PERCENT = PercentFormatter(1.0, decimals=0)
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "svg.hashsalt": "flights",  # the same figure gives the same bytes
}


def as_svg(figure: Any) -> str:
    """A figure as SVG text, the same each time. One that came from another stage is a picture, which is SVG already."""
    if hasattr(figure, "_repr_svg_"):
        return str(figure._repr_svg_())
    out = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def draw_ranking(predictions: pa.Table) -> Figure:
    """ROC and precision-recall curves of the model and the baselines."""
    late = np.asarray(predictions["late"]).astype(int)
    figure, (left, right) = _subplots(1, 2, size=(9.6, 4.3))
    for name in [CONSTANT, CARRIER_HOUR, MODEL]:
        probability = predictions[name].to_numpy()
        look = {"color": COLOURS[name], "label": name, "linewidth": 2.2 if name == MODEL else 1.6}
        false, true, _ = roc_curve(late, probability)
        left.plot(*_thinned(false, true), **look)
        precision, recall, _ = precision_recall_curve(late, probability)
        if name == CONSTANT:
            precision, recall = np.full(2, late.mean()), np.array([1.0, 0.0])
        steady = recall > 0.005 if name != CONSTANT else recall > -1  # the first few flights say nothing
        right.plot(*_thinned(recall[steady], precision[steady]), **look)
    _title(left, "ROC", xlabel="on-time flights warned about", ylabel="late flights warned about")
    _title(right, "Precision and recall", xlabel="late flights warned about", ylabel="warnings that came true")
    for axes in (left, right):
        axes.set(xlim=(0, 1), ylim=(0, 1.01))
        axes.xaxis.set_major_formatter(PERCENT)
        axes.yaxis.set_major_formatter(PERCENT)
    left.legend(loc="lower right", reverse=True, frameon=False)
    return figure


def draw_calibration(metrics: Metrics, predictions: pa.Table) -> Figure:
    """What was predicted against what came, and how often each probability was given."""
    predicted = np.array([each["predicted"] for each in metrics.calibration])
    came, low, high = (np.array([each[end] for each in metrics.calibration]) for end in ("late", "low", "high"))
    figure, (top, bottom) = _subplots(2, 1, size=(6.4, 6.2), sharex=True, height_ratios=[4, 1])
    top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    top.errorbar(
        predicted,
        came,
        yerr=[came - low, high - came],
        fmt="o",
        color=COLOURS[MODEL],
        markersize=5,
        elinewidth=1.3,
        label="a twentieth of the flights, with 95% interval",
    )
    _title(top, "Calibration", ylabel="share that was late", xlim=(0, 1), ylim=(0, 1))
    top.legend(loc="upper left", frameon=False)
    bottom.hist(predictions[MODEL].to_numpy(), bins=50, range=(0, 1), color=COLOURS[MODEL], alpha=0.75)
    bottom.set(xlabel="predicted probability of being late", ylabel="flights")
    bottom.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    top.yaxis.set_major_formatter(PERCENT)
    bottom.xaxis.set_major_formatter(PERCENT)
    return figure


def draw_days(predictions: pa.Table) -> Figure:
    """Each day's share of late flights, as it came and as the predictions made two hours ahead add up to."""
    frame = predictions.select(["day", "late", MODEL]).to_pandas().astype({"late": float})
    daily = frame.groupby("day")[["late", MODEL]].mean()
    figure, axes = _subplots(1, 1, size=(9.6, 3.4))
    axes.fill_between(daily.index, daily["late"], color="#c9d1d9", linewidth=0, step="mid", label="was late")
    axes.plot(daily.index, daily[MODEL], color=COLOURS[MODEL], linewidth=1.8, label="predicted")
    _title(axes, "Day by day", ylabel="share of flights", ylim=(0, None), xlim=(daily.index[0], daily.index[-1]))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.xaxis.set_major_locator(dates.MonthLocator())
    axes.xaxis.set_major_formatter(dates.DateFormatter("%-d %b"))
    axes.xaxis.set_minor_locator(dates.WeekdayLocator(byweekday=dates.MO))
    axes.grid(visible=False, axis="x")
    axes.legend(loc="upper left", ncols=2, frameon=False)
    return figure


def draw_slices(table: pa.Table, metrics: Metrics) -> Figure:
    """For each slice how well it is ranked, and how far the predictions are off on the whole."""
    rows = [each for each in table.to_pylist() if each["auc_value"] is not None]
    places, marks, place = [], [], 0.0
    for index, row in enumerate(rows):
        place += 1.7 if index and row["by"] != rows[index - 1]["by"] else 1.0
        places.append(place)
        marks.append(slice_name(row))
    figure, (left, right) = _subplots(1, 2, size=(9.6, 0.27 * place + 1.2), sharey=True)
    _dots(left, rows, places, "auc")
    left.axvline(metrics.scores[MODEL]["auc"]["value"], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    _title(left, "Ranking: area under the ROC curve", xlabel="dashed: all flights")
    _dots(right, rows, places, "gap", scale=100)
    right.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    _title(
        right, "Share that was late, less predicted", xlabel="percentage points; right of zero: later than predicted"
    )
    right.xaxis.set_major_formatter(StrMethodFormatter("{x:+.0f}"))
    left.set_yticks(places, marks, color=INK)
    left.set_ylim(place + 0.8, 0.2)
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    return figure


def draw_learning(candidates: list[Candidate], best: Candidate) -> Figure:
    """How the candidates learned, and what the best one looks at."""
    figure, (left, right) = _subplots(1, 2, size=(9.6, 4.6), width_ratios=[1, 1.05])
    for colour, each in zip(TRIALS, sorted(candidates, key=lambda each: each.num_leaves), strict=False):
        losses = each.valid_log_loss
        left.plot(np.arange(1, len(losses) + 1), losses, color=colour, label=f"{each.num_leaves} leaves")
        left.plot(each.rounds, each.loss, "o", color=colour, markersize=6)
    low = min(each.loss for each in candidates)
    _title(left, "Log loss on September", xlabel="trees", ylim=(low - 0.002, low + 0.03))
    left.legend(loc="upper right", frameon=False)
    gains = sorted(feature_gains(best.model).items(), key=lambda each: each[1])[-18:]
    names = [name.replace("_", " ") for name, _ in gains]
    right.barh(names, [gain for _, gain in gains], color=COLOURS[MODEL], height=0.66)
    _title(right, "What the trees split on: share of all gain")
    right.xaxis.set_major_formatter(PERCENT)
    right.grid(visible=False, axis="y")
    right.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8.5)
    return figure


def feature_gains(model: lgb.Booster) -> dict[str, float]:
    """Each feature's share of what all splits gained."""
    gains = model.feature_importance("gain")
    return dict(zip(model.feature_name(), (gains / gains.sum()).tolist(), strict=True))


def slice_name(row: dict[str, Any]) -> str:
    """`October`, `from JFK`, or the carrier's code."""
    months = {"10": "October", "11": "November", "12": "December"}
    match row["by"]:
        case "month":
            return months.get(row["name"], row["name"])
        case "origin":
            return f"from {row['name']}"
        case _:
            return str(row["name"])


def _subplots(
    rows: int, columns: int, *, size: tuple[float, float], sharex: bool = False, sharey: bool = False, **grid: Any
) -> tuple[Figure, Any]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.subplots(rows, columns, sharex=sharex, sharey=sharey, gridspec_kw=grid)


def _title(axes: Axes, title: str, **properties: Any) -> None:
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10.5)
    axes.set(**properties)


def _dots(axes: Axes, rows: list[dict[str, Any]], places: list[float], name: str, scale: float = 1) -> None:
    value, low, high = (scale * np.array([row[f"{name}_{end}"] for row in rows]) for end in ("value", "low", "high"))
    axes.hlines(places, low, high, color=COLOURS[MODEL], linewidth=1.4)
    axes.plot(value, places, "o", color=COLOURS[MODEL], markersize=5)


def _thinned(x: np.ndarray, y: np.ndarray, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Few enough points for a page; the eye can't tell."""
    keep = np.unique(np.linspace(0, len(x) - 1, points).round().astype(int))
    return x[keep], y[keep]
