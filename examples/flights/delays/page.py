"""The report: one HTML file that needs nothing else, made of what evaluation found."""

import base64
from collections.abc import Iterable
from html import escape
from typing import Any

import pyarrow as pa

from delays.cleaning import LATE_MINUTES
from delays.evaluation import BASELINES, MODEL, Metrics, beats_baselines
from delays.features import FEATURES, PREDICTED_BEFORE_H
from delays.figures import slice_name
from delays.intervals import LEAST, Interval
from delays.learning import Candidate

TITLE = "Will it land late?"

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --muted: #66727f; --line: #e3e7eb; --model: #0b6e8f; --soft: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Arial, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 40px 24px 72px; }
h1 { font-size: 34px; line-height: 1.15; margin: 0 0 6px; letter-spacing: -0.02em; }
h2 { font-size: 21px; margin: 48px 0 8px; letter-spacing: -0.01em; }
p { max-width: 72ch; margin: 8px 0 14px; }
li { max-width: 72ch; margin: 4px 0; }
.lead { font-size: 18px; }
.verdict { display: inline-block; padding: 3px 12px; border-radius: 99px; font-size: 14px; font-weight: 600; }
.yes { background: #e2f3ea; color: #14603a; }
.no { background: #fbe6e2; color: #8f2517; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px; margin: 24px 0 8px; }
.card { border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.card span { display: block; font-size: 14px; font-weight: 600; }
.card b { display: block; font-size: 30px; line-height: 1.3; color: var(--model); letter-spacing: -0.02em; }
.card small { display: block; color: var(--muted); font-size: 13px; }
figure { margin: 18px 0 8px; }
figure.narrow { max-width: 640px; }
figure img { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; }
th { color: var(--muted); font-weight: 600; line-height: 1.3; vertical-align: bottom; }
td:first-child, th:first-child { text-align: left; padding-left: 0; }
tr.strong td { font-weight: 700; color: var(--model); }
tr.group td { padding-top: 18px; font-weight: 600; }
small, .faint { color: var(--muted); font-weight: 400; }
.off { color: #a8431a; font-weight: 600; }
@media print { main { padding: 0; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""


def report_page(
    metrics: Metrics,
    slices: pa.Table,
    candidates: list[Candidate],
    best: Candidate,
    figures: dict[str, str],
    airlines: dict[str, str],
) -> str:
    """The whole page. `figures` are SVG texts named `ranking`, `calibration`, `days`, `slices`, `learning`."""
    passed = beats_baselines(metrics)
    verdict = "better than both baselines" if passed else "not clearly better than the baselines"
    body = f"""
<h1>{TITLE}</h1>
<p class="lead">The chance that a flight from New York lands {LATE_MINUTES} minutes late or more, as it could be known
{PREDICTED_BEFORE_H} hours before it should leave. Learned from January to August 2013, judged on
{_count(metrics.flights)} flights of October to December that it has not seen.</p>
<p class="verdict {"yes" if passed else "no"}">{verdict}</p>
{_headline(metrics)}
{_cards(metrics)}
<h2>Beside the baselines</h2>
<p>The constant is the share of late flights in training. Carrier and hour is that share for each carrier and scheduled
hour. Brackets are 95% intervals from drawing whole days again and again: flights of one day share its weather.</p>
{_scores(metrics)}
{_figure("ranking", figures, "ROC and precision-recall curves of the model and both baselines")}
<h2>Are the probabilities right?</h2>
<p>Each point is a twentieth of the flights. Over all, {_percent(metrics.late_rate["value"], 1)} were late and
{_percent(metrics.predicted_rate, 1)} were predicted.</p>
{_figure("calibration", figures, "Calibration curve, and a histogram of the predicted probabilities", narrow=True)}
{_figure("days", figures, "Share of late flights on each day, predicted and observed")}
<h2>If one warned about the likeliest flights</h2>
{_alarms(metrics)}
<h2>Where it is better and worse</h2>
<p>A slice with fewer than {LEAST} late flights, or {LEAST} others, is only counted. Where the interval of late less
predicted leaves out zero, the number is coloured.</p>
{_figure("slices", figures, "Area under the ROC curve and calibration by month, origin and carrier")}
{_slices(slices, airlines)}
<h2>How it was chosen, and what it looks at</h2>
<p>{len(candidates)} models of different size were learned, each stopped when September's log loss no longer fell. The
one of {best.num_leaves} leaves and {best.rounds} trees had the lowest, {best.loss:.4f}. It sees {len(FEATURES)}
features.</p>
{_figure("learning", figures, "Log loss on September by number of trees, and the gain of each feature")}
<h2>What to know before using it</h2>
{_limits(metrics)}
"""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{TITLE}</title>'
    head += f"<style>{STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{body}</main></body></html>\n'


def _headline(metrics: Metrics) -> str:
    tenth = next(each for each in metrics.alarms if each["share"] == 0.1)
    first, last = metrics.calibration[0], metrics.calibration[-1]
    return f"""<p>Of the tenth most likely to be late by the model, <b>{_percent(tenth["precision"])}</b> were,
against {_percent(metrics.late_rate["value"])} of all; they are {_percent(tenth["recall"])} of all late flights. Of the
least likely twentieth {_percent(first["late"])} were late, of the most likely {_percent(last["late"])}.</p>"""


def _cards(metrics: Metrics) -> str:
    scores, base = metrics.scores[MODEL], metrics.scores[BASELINES[0]]
    cards = [
        ("ROC AUC", scores["auc"], base["auc"]),
        ("Average precision", scores["average_precision"], base["average_precision"]),
        ("Log loss", scores["log_loss"], base["log_loss"]),
        ("Brier score", scores["brier"], base["brier"]),
    ]
    made = [
        f'<div class="card"><span>{name}</span><b>{score["value"]:.3f}</b>'
        f"<small>{_bracket(score)}</small><small>{BASELINES[0]}: {other['value']:.3f}</small></div>"
        for name, score, other in cards
    ]
    return f'<div class="cards">{"".join(made)}</div>'


def _scores(metrics: Metrics) -> str:
    columns = {
        "auc": "ROC AUC ↑",
        "average_precision": "average precision ↑",
        "log_loss": "log loss ↓",
        "brier": "Brier ↓",
    }
    rows = []
    for name in [MODEL, *BASELINES]:
        scores = metrics.scores[name]
        cells = [_interval(scores.get(column)) for column in columns]
        gain = "" if name == MODEL else _interval(metrics.gains[name])
        rows.append(_row([name, *cells, gain], strong=name == MODEL))
    return _table(["", *columns.values(), "log loss of the model lower by"], rows)


def _alarms(metrics: Metrics) -> str:
    rows = [
        _row(
            [
                f"the likeliest {_percent(each['share'])}",
                f"{each['above']:.2f}",
                _percent(each["precision"]),
                _percent(each["recall"]),
                f"{each['precision'] / metrics.late_rate['value']:.1f}",
            ]
        )
        for each in metrics.alarms
    ]
    return _table(
        ["", "probability from", "warnings that came true", "late flights warned about", "times the share of all"], rows
    )


def _slices(slices: pa.Table, airlines: dict[str, str]) -> str:
    rows, last = [], None
    for each in slices.to_pylist():
        if each["by"] != last:
            last = each["by"]
            rows.append(f'<tr class="group"><td colspan="7">by {last}</td></tr>')
        name = escape(slice_name(each))
        if each["by"] == "carrier":
            name += f" {_faint(escape(airlines.get(each['name'], '')))}"
        ranked = each["auc_value"] is not None
        rows.append(
            _row(
                [
                    name,
                    _count(each["flights"]),
                    _percent(each["late_rate"], 1),
                    _percent(each["predicted_rate"], 1),
                    _gap(each) if ranked else _faint("too few"),
                    _interval(_ends(each, "auc")) if ranked else _faint("too few"),
                    _interval(_ends(each, "gain")) if ranked else _faint("too few"),
                ]
            )
        )
    titles = [
        "",
        "flights",
        "late",
        "predicted",
        "late less predicted, points",
        "ROC AUC",
        "log loss below carrier and hour",
    ]
    return _table(titles, rows)


def _limits(metrics: Metrics) -> str:
    cancelled, diverted = metrics.statuses.get("cancelled", 0), metrics.statuses.get("diverted", 0)
    points = f"""
Cancelled and diverted flights ({_count(cancelled)} and {_count(diverted)} of these months) have no delay at their
destination. They are in no score, and the probability reads: late, if it lands there.

One year is one winter and one summer. The months judged are not the months learned from, and nothing here says how
another year would go.

It knows the weather in New York as observed by the time it predicts, no forecast, and the weather elsewhere only by how
flights to there went.

Of other flights it knows what has landed, or is due and has not, and only flights from New York: where a plane comes
from is not in the data.

The tail number is taken as known {PREDICTED_BEFORE_H} hours ahead. Planes are swapped, so a real system would know a
little less.
""".strip().split("\n\n")
    return f"<ul>{''.join(f'<li>{point}</li>' for point in points)}</ul>"


def _figure(name: str, figures: dict[str, str], text: str, *, narrow: bool = False) -> str:
    # As an image, not inline: matplotlib gives shapes of different figures the same ids.
    data = base64.b64encode(figures[name].encode()).decode()
    kind = ' class="narrow"' if narrow else ""
    return f'<figure{kind}><img alt="{escape(text)}" src="data:image/svg+xml;base64,{data}"></figure>'


def _table(titles: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(cells: Iterable[str], *, strong: bool = False) -> str:
    kind = ' class="strong"' if strong else ""
    return f"<tr{kind}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _ends(row: dict[str, Any], name: str) -> Interval:
    return {"value": row[f"{name}_value"], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


def _gap(row: dict[str, Any]) -> str:
    gap = _ends(row, "gap")
    sure = gap["low"] > 0 or gap["high"] < 0
    text = f"{100 * gap['value']:+.1f}"
    ends = f"<small>[{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]</small>"
    return f"{f'<span class=off>{text}</span>' if sure else text} {ends}"


def _interval(score: Interval | None) -> str:
    return _faint("-") if score is None else f"{score['value']:.3f} <small>{_bracket(score)}</small>"


def _bracket(score: Interval) -> str:
    return f"[{score['low']:.3f}, {score['high']:.3f}]"


def _faint(text: str) -> str:
    return f'<span class="faint">{text}</span>'


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f}%"


def _count(number: int) -> str:
    return f"{number:,}"
