"""Wheels made by hand: distributions of a few bytes, for environments that are really built."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

MODULE = """
VERSION = "{version}"


class Thing:
    pass


def main() -> None:
    print(VERSION)
"""


def wheel(folder: Path, name: str, version: str, *, requires: str = "") -> str:
    """Make a wheel whose module tells its version; return its line in a file of requirements, with its hash."""
    files = {
        f"{name}.py": MODULE.format(version=version),
        f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        f"{name}-{version}.dist-info/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    files[f"{name}-{version}.dist-info/RECORD"] = f"{record}{name}-{version}.dist-info/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def only(folder: Path) -> str:
    """Return the lines of a file of requirements that have an installer look nowhere but in a folder."""
    return f"--no-index\n--find-links {folder.as_uri()}\n"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
