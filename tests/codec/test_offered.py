"""Codecs that other packages offer are found, late."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.codec.codecs import Codecs
from headrace.errors import CodecError
from headrace.store.folder.folder import FolderStore

PACKAGE = """
class Temperature:
    def __init__(self, kelvin):
        self.kelvin = kelvin

class TemperatureCodec:
    name = "temperature"
    safe = True
    def takes(self, value):
        return type(value) is Temperature
    def save(self, value, sink):
        sink.write(repr(value.kelvin).encode())
    def load(self, source):
        return Temperature(float(source.read()))
"""


@pytest.fixture
def thermometer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A package that offers a codec, installed in a folder of its own."""
    (tmp_path / "thermometer.py").write_text(PACKAGE)
    info = tmp_path / "thermometer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thermometer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headrace.codecs]\ntemperature = thermometer:TemperatureCodec\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("thermometer")
    yield sys.modules["thermometer"]
    del sys.modules["thermometer"]


def test_a_codec_that_a_package_offers_takes_its_values(thermometer: Any, store: FolderStore) -> None:
    ref = Codecs().save([thermometer.Temperature(3.5)], store)
    assert (ref.parts or ())[0].codec == "temperature"
    found: Any = Codecs().load(ref, store, safe_only=True)
    assert found[0].kelvin == 3.5


def test_without_the_package_its_artifact_is_not_read(thermometer: Any, store: FolderStore) -> None:
    codec = thermometer.TemperatureCodec()
    codec.name = "thermometer-2"
    ref = Codecs([codec]).save(thermometer.Temperature(3.5), store)
    with pytest.raises(CodecError, match="thermometer-2") as caught:
        Codecs().load(ref, store)
    assert "install the package" in (caught.value.hint or "")
