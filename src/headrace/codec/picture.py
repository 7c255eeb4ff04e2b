"""A picture as a value: what becomes of a figure."""

from __future__ import annotations

from headrace.spec.noun import Noun


class Picture(Noun, frozen=True):
    """A drawing as SVG, which notebooks show. A page shows it as an image, so that no script in it runs."""

    svg: str

    def __repr__(self) -> str:
        return f"<picture of {len(self.svg)} characters of SVG>"

    def _repr_svg_(self) -> str:
        return self.svg
