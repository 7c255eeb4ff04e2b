"""Uploads in parts that nobody may finish, as servers tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree as ET

import pytest

from headrace.spec.address import StoreAddress
from headrace.store.bucket.unfinished_uploads import Uploads


class Told(Uploads):
    """Uploads of a server that gives this for the time when one began."""

    def __init__(self, initiated: str) -> None:
        super().__init__(StoreAddress(url="s3://bucket/prefix"), {})
        self._initiated = initiated

    def _ask(self, method: str, key: str, query: Mapping[str, str]) -> ET.Element | None:
        inner = f"<Key>k</Key><UploadId>1</UploadId><Initiated>{self._initiated}</Initiated>"
        return None if key else ET.fromstring(f"<All><Upload>{inner}</Upload></All>")


@pytest.mark.parametrize("initiated", ["", "Thu, 26 Nov 2026 07:00:00 GMT"])
def test_an_upload_whose_time_cannot_be_told_is_young(initiated: str) -> None:
    (upload,) = Told(initiated).begun()
    assert upload.modified > 1e12, "whoever sends it may be at work"


def test_the_time_of_one_is_when_it_began_where_its_parts_are_not_told() -> None:
    (upload,) = Told("2026-11-26T07:00:00.000Z").begun()
    assert upload.modified == 1795676400.0
