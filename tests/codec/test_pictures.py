"""Figures become pictures."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.codec.codecs import Codecs
from headrace.codec.values import Picture
from headrace.store.folder.folder import FolderStore

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure


def figure() -> Any:
    drawn = Figure()
    axes = drawn.subplots()
    axes.plot([1, 2, 3], [3, 1, 2], label="loss")
    axes.fill_between([1, 2, 3], [3, 1, 2], hatch="/")
    axes.legend()
    return drawn


def test_a_figure_comes_back_as_a_picture_that_shows_itself(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(figure(), store)
    assert (ref.codec, ref.type) == ("svg", "headrace.Picture")
    found = codecs.load(ref, store, safe_only=True)
    assert isinstance(found, Picture)
    assert found._repr_html_().startswith('<img src="data:image/svg+xml;base64,')
    assert found.svg.startswith("<?xml")
    assert "</svg>" in found.svg


def test_drawing_it_again_makes_the_same_artifact(codecs: Codecs, store: FolderStore) -> None:
    first = codecs.save(figure(), store)
    assert codecs.save(figure(), store).identity == first.identity
    assert codecs.save(codecs.load(first, store), store).identity == first.identity
