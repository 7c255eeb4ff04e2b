"""What is read from a lock, whichever tool wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import EnvironmentFailed
from headrace.work.environments.lock import find_lock, lock_digest, lock_texts
from headrace.work.environments.pins import Pins, read_pins

UV = """
version = 1
requires-python = ">=3.11"
conflicts = [[{ package = "mine", extra = "gpu" }, { package = "mine", group = "old" }]]

[[package]]
name = "click"
version = "8.2.0"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "colorama", marker = "sys_platform == 'win32'" }, { name = "fast", extra = ["c"] }]
wheels = [{ url = "https://files/click.whl", hash = "sha256:aa" }]

[[package]]
name = "colorama"
version = "0.4.6"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files/colorama.whl", hash = "sha256:bb" }]

[[package]]
name = "fast"
version = "1.0"
source = { registry = "https://mirror/simple" }
sdist = { url = "https://files/fast.tar.gz", hash = "sha256:cc" }

[package.optional-dependencies]
c = [{ name = "speed" }]

[[package]]
name = "speed"
version = "2.0"
source = { git = "https://host/speed?subdirectory=python&rev=main#0123abc" }

[[package]]
name = "mine"
version = "0"
source = { editable = "." }
dependencies = [
    { name = "click" },
    { name = "other" },
    { name = "six", version = "1.15.0", marker = "extra == 'group-4-mine-old'" },
    { name = "six", version = "1.16.0", marker = "extra != 'group-4-mine-old'" },
]

[package.optional-dependencies]
gpu = [{ name = "speed" }]

[package.dev-dependencies]
old = [{ name = "six", version = "1.15.0", source = { registry = "https://pypi.org/simple" } }]

[[package]]
name = "other"
version = "0"
source = { editable = "libs/other" }
dependencies = [{ name = "speed" }]

[[package]]
name = "six"
version = "1.15.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files/six.whl", hash = "sha256:dd" }]

[[package]]
name = "six"
version = "1.16.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files/six.whl", hash = "sha256:ee" }]
"""
PYLOCK = """
lock-version = "1.0"
created-by = "hand"
extras = ["gpu"]
dependency-groups = ["old"]
default-groups = []

[[packages]]
name = "six"
version = "1.16.0"
marker = "'old' not in dependency_groups"
wheels = [{ url = "https://files/six.whl", hashes = { sha256 = "ee" } }]

[[packages]]
name = "six"
version = "1.15.0"
marker = "'old' in dependency_groups"
wheels = [{ url = "https://files/six.whl", hashes = { sha256 = "dd" } }]

[[packages]]
name = "fast"
version = "1.0"
index = "https://mirror/simple"
marker = "'gpu' in extras"
sdist = { url = "https://files/fast.tar.gz", hashes = { sha256 = "cc" } }
"""
REQUIREMENTS = """
# by hand
--extra-index-url https://mirror/simple
-r requirements/base.txt
-e .
Six==1.16.0 \\
    --hash=sha256:ee \\
    --hash=sha256:ff  # two files
colorama==0.4.6 ; sys_platform == "win32"
"""
BASE = "speed @ git+https://host/speed@0123abc\n-c ../constraints.txt\n"


def pins(file: str, group: str | None = None, **texts: str) -> Pins:
    return read_pins(
        {name.replace("__", "/"): text for name, text in texts.items()} or {file: TEXTS[file]}, file, group
    )


TEXTS = {"uv.lock": UV, "pylock.toml": PYLOCK}


def lines(found: Pins) -> list[str]:
    return [pin.line for pin in found.pins]


def test_a_lock_of_uv_is_followed_from_the_project_with_markers_extras_and_sources() -> None:
    found = pins("uv.lock")
    assert lines(found) == [
        "click==8.2.0 --hash=sha256:aa",
        "fast==1.0 --hash=sha256:cc",
        "six==1.16.0 --hash=sha256:ee",
        "speed @ git+https://host/speed@0123abc#subdirectory=python",
    ]
    assert found.options == ("--extra-index-url https://mirror/simple",)
    assert [pin.hashed for pin in found.pins] == [True, True, True, False]


def test_a_group_of_a_lock_of_uv_is_what_the_project_needs_and_the_group() -> None:
    assert "six==1.15.0 --hash=sha256:dd" in lines(pins("uv.lock", "old"))
    assert "six==1.16.0 --hash=sha256:ee" in lines(pins("uv.lock", "gpu"))
    assert {pin.name for pin in pins("uv.lock", "gpu").pins} == {"click", "fast", "six", "speed"}


def test_a_pylock_is_read_with_its_groups_and_extras() -> None:
    assert lines(pins("pylock.toml")) == ["six==1.16.0 --hash=sha256:ee"]
    assert lines(pins("pylock.toml", "old")) == ["six==1.15.0 --hash=sha256:dd"]
    gpu = pins("pylock.toml", "gpu")
    assert lines(gpu) == ["fast==1.0 --hash=sha256:cc", "six==1.16.0 --hash=sha256:ee"]
    assert gpu.options == ("--extra-index-url https://mirror/simple",)


def test_requirements_are_read_with_what_they_include() -> None:
    files = {
        "requirements.txt": REQUIREMENTS.encode(),
        "requirements/base.txt": BASE.encode(),
        "constraints.txt": b"",
    }
    texts = lock_texts(files.get, "requirements.txt")
    assert set(texts) == set(files)
    found = read_pins(texts, "requirements.txt", None)
    assert found.loose is None
    assert lines(found) == [
        "Six==1.16.0 --hash=sha256:ee --hash=sha256:ff",
        "speed @ git+https://host/speed@0123abc",
    ]
    assert found.options == ("--extra-index-url https://mirror/simple",)


@pytest.mark.parametrize("line", ["six", "six>=1.15", "six==1.*", "./six.whl", "six <"])
def test_requirements_that_pin_not_all_are_no_lock(line: str) -> None:
    found = read_pins({"requirements.txt": f"click==8.2.0\n{line}\n"}, "requirements.txt", None)
    assert found.loose is not None
    assert "requirements.txt:2" in found.loose
    assert line in found.loose


@pytest.mark.parametrize("file", ["poetry.lock", "pdm.lock"])
def test_a_lock_that_only_its_tool_installs_is_said_to_be_one(file: str) -> None:
    found = read_pins({file: ""}, file, None)
    assert found.loose is not None
    assert f"{file.removesuffix('.lock')} export" in found.loose


@pytest.mark.parametrize("file", ["uv.lock", "pylock.toml"])
def test_a_group_that_is_not_there_is_told_with_those_that_are(file: str) -> None:
    with pytest.raises(EnvironmentFailed, match="no group or extra `new`") as caught:
        pins(file, "new")
    assert "`old`, `gpu`" in str(caught.value.hint)
    assert "`requirements-new.txt`" in str(caught.value.hint)


@pytest.mark.parametrize("file", ["uv.lock", "pylock.toml"])
def test_another_python_than_a_lock_allows_is_told(file: str) -> None:
    text = 'requires-python = "<3.4"\n' + TEXTS[file].replace('requires-python = ">=3.11"', "")
    with pytest.raises(EnvironmentFailed, match=r"`.*` is for Python <3.4, and this machine has 3\.") as caught:
        read_pins({file: text}, file, None)
    assert "requires-python" in str(caught.value.hint)


@pytest.mark.parametrize("file", ["uv.lock", "pylock.toml"])
@pytest.mark.parametrize("text", ["=", "version = 1", "package = 1\npackages = 2", "[[package]]\n[[packages]]"])
def test_a_broken_lock_is_told(file: str, text: str) -> None:
    with pytest.raises(EnvironmentFailed, match=file):
        read_pins({file: text}, file, None)


@given(st.text(max_size=200))
def test_whatever_stands_in_a_file_of_requirements_it_is_read_or_told(text: str) -> None:
    read_pins({"requirements.txt": text}, "requirements.txt", None)


def test_a_lock_of_the_group_s_own_wins_over_a_group_of_the_project_s() -> None:
    files = dict.fromkeys(["uv.lock", "requirements/old.txt", "requirements.txt"], b"six==1.15.0")
    assert find_lock(files.get, None) == "uv.lock"
    assert find_lock(files.get, "old") == "requirements/old.txt"
    assert find_lock(files.get, "gpu") == "uv.lock"
    assert find_lock({}.get, "old") is None
    assert lines(read_pins(lock_texts(files.get, "requirements/old.txt"), "requirements/old.txt", "old")) == [
        "six==1.15.0"
    ]


def test_a_lock_s_digest_covers_what_it_includes() -> None:
    files = {"requirements.txt": b"-r base.txt", "base.txt": b"six==1.15.0"}
    before = lock_digest(lock_texts(files.get, "requirements.txt"))
    assert before == lock_digest(lock_texts(files.get, "requirements.txt"))
    files["base.txt"] = b"six==1.16.0"
    assert before != lock_digest(lock_texts(files.get, "requirements.txt"))


def test_a_password_in_a_lock_is_shown_nowhere() -> None:
    pins = read_pins({"requirements.txt": "https://ann:geheim@example.org/x.whl\n"}, "requirements.txt", None)
    assert pins.loose is not None
    assert "https://ann:***@example.org/x.whl" in pins.loose
