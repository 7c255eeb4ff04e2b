"""A drawing of when each attempt ran, as SVG: stages below each other, and attempts that overlapped in separate
lanes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from headrace.inspect.page.facts import AttemptFacts
from headrace.report.markup import Markup, tag
from headrace.report.measures import seconds_text

WIDTH, LABELS, RIGHT = 1100, 190, 24
LANE, BAR, GAP, HEAD = 16, 12, 10, 26
MAX_LANES = 24
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def timeline(
    attempts: Sequence[AttemptFacts],
    seconds: float,
    anchors: Mapping[str, str],
    pauses: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Return a drawing of the attempts over the `seconds` that the run took.

    There is a line at each of the `pauses`. A pause is a pair: its place on the time axis, and its length, both in
    seconds.
    """
    span = max([seconds, *(each.start_s + each.seconds for each in attempts)], default=0.0) or 1.0
    stages: dict[str, list[AttemptFacts]] = {}
    for attempt in sorted(attempts, key=lambda each: each.start_s):
        stages.setdefault(attempt.stage, []).append(attempt)
    scale = (WIDTH - LABELS - RIGHT) / span
    drawn: list[Markup] = []
    y = float(HEAD)
    for stage, members in stages.items():
        lanes = _lanes(members)
        drawn.append(tag("text", _shorten(stage), class_="label", x=LABELS - 12, y=y + BAR - 2, text_anchor="end"))
        drawn += [_bar(each, y + lane * LANE, scale, anchors) for each, lane in zip(members, lanes, strict=True)]
        y += (max(lanes) + 1) * LANE + GAP
        drawn.append(tag("line", class_="rule", x1=0, x2=WIDTH, y1=y - GAP / 2 - 1, y2=y - GAP / 2 - 1))
    return tag(
        "svg",
        _axis(span, scale, y),
        (_pause(at, rested, scale, y) for at, rested in pauses),
        drawn,
        viewBox=f"0 0 {WIDTH} {y:.0f}",
        role="group",
        aria_label=f"{len(attempts)} attempts over {seconds_text(span)}",
    )


def _lanes(attempts: Sequence[AttemptFacts]) -> list[int]:
    """Return for each attempt the first lane that is free when it starts. If no lane is free, the attempt overlaps
    others in the last lane."""
    free_at: list[float] = []
    lanes = []
    for attempt in attempts:
        lane = next((lane for lane, end in enumerate(free_at) if end <= attempt.start_s + 1e-6), len(free_at))
        lane = min(lane, MAX_LANES - 1)
        if lane == len(free_at):
            free_at.append(0.0)
        free_at[lane] = max(free_at[lane], attempt.start_s + attempt.seconds)
        lanes.append(lane)
    return lanes


def _bar(attempt: AttemptFacts, y: float, scale: float, anchors: Mapping[str, str]) -> Markup:
    again = f", attempt {attempt.attempt}" if attempt.attempt > 1 else ""
    title = f"{attempt.task}{again}: {attempt.state} after {seconds_text(attempt.seconds)}"
    anchor = anchors.get(attempt.task)
    return tag(
        "a",
        tag("title", f"{title}\n{attempt.why}" if attempt.why else title),
        tag(
            "rect",
            x=round(LABELS + attempt.start_s * scale, 2),
            y=y,
            width=round(max(2.0, attempt.seconds * scale), 2),
            height=BAR,
            rx=2,
        ),
        class_=f"bar {attempt.state}",
        href=f"#{anchor}" if anchor else None,
        aria_label=title,
    )


def _pause(at: float, rested: float, scale: float, height: float) -> Markup:
    x = round(LABELS + at * scale, 2)
    title = f"resumed after {seconds_text(rested)}"
    line = tag("line", class_="pause", x1=x, x2=x, y1=HEAD - 8, y2=height)
    return tag("g", tag("title", title), line, aria_label=title)


def _axis(span: float, scale: float, height: float) -> Iterator[Markup]:
    step = next((each for each in _steps() if span / each <= 8), span)
    for number in range(int(span / step) + 1):
        x = round(LABELS + number * step * scale, 2)
        yield tag("line", class_="grid", x1=x, x2=x, y1=HEAD - 8, y2=height)
        at = number * step
        text = f"{at:g} s" if 1 <= at < 60 else seconds_text(at)
        yield tag("text", text, class_="tick", x=x, y=HEAD - 13, text_anchor="middle")


def _steps() -> Iterator[float]:
    for power in (0.0001, 0.001, 0.01, 0.1):
        yield from (power * each for each in (1, 2, 5))
    yield from STEPS
    yield from (86400.0 * days for days in (2, 5, 10, 20, 50, 100))


def _shorten(text: str) -> str:
    return text if len(text) <= 26 else f"{text[:25]}…"
