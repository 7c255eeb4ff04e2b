"""The metrics of a server: as data that can be added to the metrics of other processes, and as text for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal, NamedTuple

from headrace.spec.noun import Noun

KIND = b"text/plain; version=0.0.4; charset=utf-8"
"""The content type of the text: https://prometheus.io/docs/instrumenting/exposition_formats/"""
BOUNDS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""The upper bounds of the classes of a histogram, in seconds. One more class counts durations above the last bound."""

Labels = tuple[str, ...]


class Metric(NamedTuple):
    """Something that is counted: its name, its kind, a description, and the names of its labels. A counter never falls
    while the server lives. A gauge is a value at the moment."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[str, ...] = ()


_VARIANT = ("endpoint", "variant", "version")
REQUESTS = Metric(
    "headrace_requests_total",
    "counter",
    "Requests that were answered, by status and, if they failed, by the error. The endpoint is empty if there is none"
    " with the requested name, and the variant is empty if the request failed before one was chosen. If several"
    " variants answered for its records, the variant is `several`. The status 499 means that the client left before the"
    " answer.",
    (*_VARIANT, "status", "error"),
)
LATENCY = Metric(
    "headrace_request_seconds",
    "histogram",
    "How long requests to endpoints took, from their headers to their answers.",
    _VARIANT,
)
PREDICTIONS = Metric(
    "headrace_predictions_total", "counter", "Predictions that were made, those of a shadow too.", _VARIANT
)
UNLOGGED = Metric(
    "headrace_predictions_unlogged_total",
    "counter",
    "Predictions that were made and aren't in the log: because the endpoint logs none (`off`) or only a sample of its"
    " requests (`sample`), or because the log couldn't be written (`failed`).",
    ("endpoint", "why"),
)
TOLD = Metric("headrace_labels_total", "counter", "Labels of predictions that are in the log.", ("endpoint",))
BYTES = Metric(
    "headrace_bytes_total",
    "counter",
    "Bytes of the bodies of requests to endpoints, unpacked, and of answers.",
    ("endpoint", "direction"),
)
LOG = Metric(
    "headrace_log_wait_seconds", "histogram", "How long answers waited until they were in the log.", ("endpoint",)
)
TAKEN = Metric(
    "headrace_values_taken_total",
    "counter",
    "Values that didn't quite fit and were accepted: `unseen` are texts that none of the training rows had, and `null`"
    " are fields that were null or missing.",
    ("endpoint", "fault"),
)
MIRRORS = Metric(
    "headrace_mirrors_total",
    "counter",
    "Copies of requests for the shadow: answered, failed, or dropped because too many ran.",
    ("endpoint", "outcome"),
)
RESTARTS = Metric(
    "headrace_model_restarts_total",
    "counter",
    "How often a model process was started again, since it had ended or couldn't be started.",
    ("endpoint", "version"),
)
WAITING = Metric(
    "headrace_waiting_requests", "gauge", "Requests that wait for a model at the moment.", ("endpoint", "version")
)
CONNECTIONS = Metric("headrace_connections", "gauge", "Connections of clients at the moment.")
UP = Metric(
    "headrace_worker_up",
    "gauge",
    "1 if a web worker has sent its numbers in time. If it is 0, the worker's numbers are missing.",
)
WORKER_RESTARTS = Metric("headrace_worker_restarts_total", "counter", "How often a web worker was started again.")
METRICS = (
    REQUESTS, LATENCY, PREDICTIONS, UNLOGGED, TOLD, BYTES, LOG, TAKEN, MIRRORS, RESTARTS, WAITING, CONNECTIONS, UP,
    WORKER_RESTARTS,
)  # fmt: skip


class Spread(Noun, frozen=True):
    """A histogram: how many durations are in each class of `BOUNDS_S`, and their sum in seconds."""

    counts: tuple[int, ...]
    seconds: float

    @property
    def count(self) -> int:
        """How many durations there are."""
        return sum(self.counts)


class Reading(Noun, frozen=True):
    """What was counted so far: for each metric, by its name, the value of each series, by the values of the labels."""

    numbers: dict[str, dict[Labels, float]]
    spreads: dict[str, dict[Labels, Spread]]

    def __add__(self, other: Reading) -> Reading:
        """Return the sum of what two processes counted."""
        numbers = {name: dict(series) for name, series in self.numbers.items()}
        for name, series in other.numbers.items():
            into = numbers.setdefault(name, {})
            for labels, number in series.items():
                into[labels] = into.get(labels, 0) + number
        spreads = {name: dict(each) for name, each in self.spreads.items()}
        for name, each in other.spreads.items():
            wider = spreads.setdefault(name, {})
            for labels, spread in each.items():
                wider[labels] = _sum(wider[labels], spread) if labels in wider else spread
        return Reading(numbers=numbers, spreads=spreads)

    def of_worker(self, worker: str) -> Reading:
        """Return this reading with one more label at the end of each series: the web worker that counted it."""
        return Reading(
            numbers={name: {(*labels, worker): each for labels, each in s.items()} for name, s in self.numbers.items()},
            spreads={name: {(*labels, worker): each for labels, each in s.items()} for name, s in self.spreads.items()},
        )


class _Classes:
    """A histogram to which durations are added."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0


class Metrics:
    """Counts what a server does. All methods are called in one event loop.

    No label may have a value that a client can choose: each new value makes a new series, and series are kept forever.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, dict[Labels, float]] = {each.name: {} for each in METRICS if each.kind == "counter"}
        self._spreads: dict[str, dict[Labels, _Classes]] = {
            each.name: {} for each in METRICS if each.kind == "histogram"
        }
        self._gauges: dict[str, Callable[[], Mapping[Labels, float]]] = {}

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add `by` to a metric, in the series with these labels."""
        series = self._numbers[metric.name]
        series[labels] = series.get(labels, 0) + by

    def took(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Add a duration to a histogram."""
        series = self._spreads[metric.name]
        classes = series.get(labels)
        if classes is None:
            classes = series[labels] = _Classes()
        classes.counts[bisect_left(BOUNDS_S, seconds)] += 1
        classes.seconds += seconds

    def gauge(self, metric: Metric, now: Callable[[], Mapping[Labels, float]]) -> None:
        """Set the function `now`, which returns the present values of a gauge by labels."""
        self._gauges[metric.name] = now

    def reading(self) -> Reading:
        """Return what was counted so far."""
        numbers = {name: dict(series) for name, series in self._numbers.items()}
        numbers |= {name: dict(now()) for name, now in self._gauges.items()}
        return Reading(
            numbers=numbers,
            spreads={
                name: {
                    labels: Spread(counts=tuple(each.counts), seconds=each.seconds) for labels, each in series.items()
                }
                for name, series in self._spreads.items()
            },
        )


def text(reading: Reading, endpoints: Collection[str] | None = None, *, by_worker: bool = False) -> str:
    """Return a reading as text in the format 0.0.4 of Prometheus. If `endpoints` isn't None, leave out numbers about
    requests to other endpoints, and about requests without an endpoint. If `by_worker` is True, the last label of each
    series is the number of the web worker that counted it."""
    return "".join(f"{line}\n" for line in _lines(reading, endpoints, by_worker=by_worker))


def _lines(reading: Reading, endpoints: Collection[str] | None, *, by_worker: bool) -> Iterator[str]:
    for metric in METRICS if not by_worker else [each._replace(labels=(*each.labels, "worker")) for each in METRICS]:
        about = metric.about.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {metric.name} {about}"
        yield f"# TYPE {metric.name} {metric.kind}"
        for labels, number in sorted(reading.numbers.get(metric.name, {}).items()):
            if _is_shown(metric, labels, endpoints):
                yield f"{metric.name}{_labels(metric.labels, labels)} {number:.17g}"
        for labels, spread in sorted(reading.spreads.get(metric.name, {}).items()):
            if _is_shown(metric, labels, endpoints):
                yield from _classes(metric, labels, spread)


def _is_shown(metric: Metric, labels: Labels, endpoints: Collection[str] | None) -> bool:
    return endpoints is None or "endpoint" not in metric.labels or labels[metric.labels.index("endpoint")] in endpoints


def _classes(metric: Metric, labels: Labels, spread: Spread) -> Iterator[str]:
    """Yield the lines of a histogram. In Prometheus, the count of a class includes those of all lower classes."""
    total = 0
    for bound, count in zip([f"{each:g}" for each in BOUNDS_S] + ["+Inf"], spread.counts, strict=True):
        total += count
        yield f"{metric.name}_bucket{_labels((*metric.labels, 'le'), (*labels, bound))} {total}"
    yield f"{metric.name}_sum{_labels(metric.labels, labels)} {spread.seconds:.17g}"
    yield f"{metric.name}_count{_labels(metric.labels, labels)} {total}"


def _labels(names: tuple[str, ...], values: Labels) -> str:
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{shown}}}" if shown else ""


def _escaped(value: str) -> str:
    r"""Return a label's value in the form that the format requires.

    >>> print(_escaped('a "\\" and a\nline'))
    a \"\\\" and a\nline
    """
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _sum(one: Spread, other: Spread) -> Spread:
    return Spread(
        counts=tuple(a + b for a, b in zip(one.counts, other.counts, strict=True)),
        seconds=one.seconds + other.seconds,
    )
