"""The parts of an artifact that a page shows: its figures, and the numbers in its dictionaries and records.

No user code is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headrace.spec.artifact import Ref

LIMIT_BYTES = 1 << 20
DEPTH = 5
SPOKEN_FOR = (
    "headrace.spec.report.Report",
    "headrace.stages.train.Network",
    "headrace.stages.train._torch.network.Network",
)
"""Types whose numbers are not results: a report is shown as a whole, and the numbers in a `Network` are settings."""
Load = Callable[[Ref], object]


def numbers(ref: Ref, load: Load) -> dict[str, float]:
    """Return the numbers in a dictionary or record by name. A number in an inner dictionary or record is named
    `outer.inner`."""
    if ref.codec not in ("json", "record", "parts"):
        return {}
    return {name: number for name, number in _numbers(ref, load, "", DEPTH) if name}


def figures(ref: Ref, load: Load, path: str = "", depth: int = DEPTH) -> Iterator[tuple[str, str]]:
    """Yield the figures in an artifact as SVG, each with its path in the artifact."""
    if ref.codec == "svg":
        picture = load(ref)
        if picture is not None:
            yield path, str(getattr(picture, "svg", ""))
    elif ref.parts and depth:
        for name, part in _named(ref):
            yield from figures(part, load, _join(path, name), depth - 1)


def _numbers(ref: Ref, load: Load, path: str, depth: int) -> Iterator[tuple[str, float]]:
    if ref.codec == "json" and ref.size <= LIMIT_BYTES:
        yield from _flat(load(ref), path, depth)
    elif ref.parts and ref.names and depth and ref.codec in ("record", "parts"):
        for name, part in _named(ref):
            if part.type.partition("@")[0] not in SPOKEN_FOR:
                yield from _numbers(part, load, _join(path, name), depth - 1)


def _flat(value: object, path: str, depth: int) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items() if depth else ():
            if isinstance(name, str):
                yield from _flat(inner, _join(path, name), depth - 1)
    elif hasattr(value, "item") and not isinstance(value, type):  # a NumPy scalar
        yield from _flat(value.item(), path, depth)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _named(ref: Ref) -> Iterator[tuple[str, Ref]]:
    parts = ref.parts or ()
    yield from zip(ref.names or map(str, range(len(parts))), parts, strict=True)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
