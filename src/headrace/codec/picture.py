"""A picture as a value: what becomes of a figure."""

from __future__ import annotations

import base64

from headrace.spec.noun import Noun


class Picture(Noun, frozen=True):
    """A drawing as SVG. Notebooks and pages show it as an image, so that no script in it runs."""

    svg: str

    def __repr__(self) -> str:
        return f"<picture of {len(self.svg)} characters of SVG>"

    def _repr_html_(self) -> str:
        return f'<img src="data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}">'
