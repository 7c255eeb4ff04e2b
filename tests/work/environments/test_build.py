"""Environments that are really built, by uv and by pip."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from headrace.errors import EnvironmentFailed
from headrace.waits import locked
from headrace.work.environments import build as building
from headrace.work.environments.build import build, find_uv, python_of
from headrace.work.environments.cache import environments_folder
from headrace.work.environments.choose import environment_python
from headrace.work.environments.headrace_code import code_folder
from headrace.work.environments.headrace_install import present
from headrace.work.environments.pins import Pins, read_pins
from tests.wheels import only, wheel

Write = Callable[[str, str], None]


@pytest.fixture(params=["uv", "pip"])
def uv(request: pytest.FixtureRequest) -> str | None:
    """The installer: uv's path, or None for pip."""
    if request.param == "pip":
        return None
    found = find_uv()
    if found is None:
        pytest.skip("install `uv`, which environments are built with where it is there")
    return found


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def pins(*lines: str) -> Pins:
    return read_pins({"requirements.txt": "\n".join(lines)}, "requirements.txt", None)


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def built(cache: Path) -> list[Path]:
    return [path for path in environments_folder(cache).iterdir() if not path.name.startswith(".")]


# -- building ----------------------------------------------------------------------------------------------------


def test_an_environment_has_what_is_locked_and_what_headrace_needs(tmp_path: Path, uv: str | None) -> None:
    lines = [wheel(tmp_path, "lone", "1.5"), wheel(tmp_path, "other", "2.0", requires="nowhere")]
    place = tmp_path / "environments" / "first"
    build(pins(only(tmp_path), *lines), place, uv=uv)
    python = python_of(place)
    assert run(python, "import lone, other; print(lone.VERSION, other.VERSION)") == "1.5 2.0"
    code = code_folder(tmp_path / "cache")
    found = run(
        python,
        f"import sys; sys.path.append({str(code)!r}); import headrace.work.zygote, pyarrow; print(headrace.__file__)",
    )
    assert found == str(code / "headrace" / "__init__.py")
    assert [path.name for path in code.iterdir()] == ["headrace"]
    assert run(python, "import sys; print(sys.prefix)") == str(place)


def test_programs_of_an_environment_run_where_it_came_to_lie(tmp_path: Path, uv: str | None) -> None:
    place = tmp_path / "environments" / "first"
    build(pins(only(tmp_path), wheel(tmp_path, "lone", "1.5")), place, uv=uv)
    assert subprocess.run([place / "bin" / "lone"], check=True, capture_output=True, text=True).stdout == "1.5\n"
    assert [path.name for path in place.parent.iterdir() if not path.name.startswith(".first")] == ["first"]


def test_many_builders_of_one_environment_build_it_once(tmp_path: Path, uv: str | None) -> None:
    wanted = pins(only(tmp_path), wheel(tmp_path, "lone", "1.5"))
    place = tmp_path / "environments" / "first"
    left = place.with_name(".new-first-dead")
    (left / "bin").mkdir(parents=True)
    threads = [threading.Thread(target=build, args=(wanted, place), kwargs={"uv": uv}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run(python_of(place), "import lone; print(lone.VERSION)") == "1.5"
    assert not left.exists()
    assert {path.name for path in place.parent.iterdir()} == {"first", ".first.lock"}


def test_a_builder_that_was_stopped_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "LOCK_S", 0.05)
    place = tmp_path / "environments" / "first"
    half = place.with_name(".new-first-stopped")
    half.mkdir(parents=True)
    with locked(place.with_name(".first.lock"), 0.0):
        build(pins(only(tmp_path), wheel(tmp_path, "lone", "1.5")), place, uv=find_uv())
    assert half.exists(), "it may go on"
    assert run(python_of(place), "import lone; print(lone.VERSION)") == "1.5"


def test_another_file_than_was_locked_is_refused(tmp_path: Path, uv: str | None) -> None:
    locked = wheel(tmp_path, "lone", "1.5")
    wheel(tmp_path, "lone", "1.5", requires="something-else")
    with pytest.raises(EnvironmentFailed, match=r"can't be built from `requirements.txt`: .*") as caught:
        build(pins(only(tmp_path), locked), tmp_path / "environments" / "first", uv=uv)
    assert "lock again: the files in the index are not those" in str(caught.value.hint)
    assert list((tmp_path / "environments").glob("[!.]*")) == []
    assert list((tmp_path / "environments").glob(".new*")) == []


def test_a_version_that_no_index_has_is_told(tmp_path: Path, uv: str | None) -> None:
    wheel(tmp_path, "lone", "1.5")
    with pytest.raises(EnvironmentFailed, match="lone") as caught:
        build(pins(only(tmp_path), "lone==1.6"), tmp_path / "environments" / "first", uv=uv)
    assert "lock again, for that machine's platform" in str(caught.value.hint)


def test_an_index_that_can_t_be_reached_is_told(
    tmp_path: Path, uv: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    lines = ["--index-url http://127.0.0.1:9/simple", f"lone==1.5 --hash=sha256:{'0' * 64}"]
    with pytest.raises(EnvironmentFailed, match=r"lone|127") as caught:
        build(pins(*lines), tmp_path / "environments" / "first", uv=uv)
    assert "reach a package index" in str(caught.value.hint)
    assert 'environment = "present"' in str(caught.value.hint)


def test_a_lock_that_headrace_can_t_run_beside_is_told_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(
        EnvironmentFailed, match=r"the lock has `msgspec` 0\.1\.0, and `headrace` needs `msgspec>="
    ) as caught:
        build(pins("msgspec==0.1.0"), tmp_path / "environments" / "first", uv=None)
    assert "lock again" in str(caught.value.hint)


def test_a_folder_that_can_t_hold_it_is_told(tmp_path: Path, bundle: Path) -> None:
    (bundle / "requirements.txt").write_text(f"{only(tmp_path)}{wheel(tmp_path, 'lone', '1.5')}")
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(EnvironmentFailed, match="no environment can be written to") as caught:
        environment_python(bundle, None, "auto", tmp_path / "cache")
    assert "HEADRACE_CACHE" in str(caught.value.hint)


# -- choosing ----------------------------------------------------------------------------------------------------


def test_the_present_environment_serves_where_it_has_what_is_locked(bundle: Path, cache: Path) -> None:
    here = run(Path(sys.executable), "import msgspec; print(msgspec.__version__)")
    (bundle / "requirements.txt").write_text(f"msgspec=={here}\nheadrace==99 ; python_version > '3'\n")
    for policy in ("auto", "auto", "present"):
        assert environment_python(bundle, None, policy, cache) is None  # type: ignore[arg-type]
    assert built(cache) == []


def test_what_is_left_of_a_half_removed_distribution_hides_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "-alf_removed-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert present()["msgspec"] == msgspec.__version__


def test_what_is_not_there_is_built_once_and_found_again(tmp_path: Path, bundle: Path, cache: Path) -> None:
    told: list[str] = []
    (bundle / "requirements.txt").write_text(f"{only(tmp_path)}{wheel(tmp_path, 'lone', '1.5')}")
    first = environment_python(bundle, None, "auto", cache, tell=told.append)
    assert first is not None
    assert told == ["building the project's environment from `requirements.txt` (1 packages)"]
    assert environment_python(bundle, None, "auto", cache, tell=told.append) == first
    assert environment_python(bundle, None, "lock", cache, tell=told.append) == first
    assert len(told) == 1
    (bundle / "requirements.txt").write_text(f"{only(tmp_path)}{wheel(tmp_path, 'lone', '1.6')}")
    second = environment_python(bundle, None, "auto", cache, tell=told.append)
    assert second is not None
    assert [run(python, "import lone; print(lone.VERSION)") for python in (first, second)] == ["1.5", "1.6"]


def test_an_environment_that_was_removed_is_built_anew(tmp_path: Path, bundle: Path, cache: Path) -> None:
    (bundle / "requirements-old.txt").write_text(f"{only(tmp_path)}{wheel(tmp_path, 'lone', '1.5')}")
    first = environment_python(bundle, "old", "auto", cache)
    assert first is not None
    first.unlink()
    for path in built(cache):
        path.rename(path.with_name(".gone"))
    assert environment_python(bundle, "old", "auto", cache) == first
    assert first.exists()


def test_requirements_that_pin_nothing_leave_the_present_environment_unless_a_lock_is_wanted(
    bundle: Path, cache: Path
) -> None:
    (bundle / "requirements.txt").write_text("lone\n")
    assert environment_python(bundle, None, "auto", cache) is None
    with pytest.raises(EnvironmentFailed, match=r"`requirements.txt:1` pins no version: `lone`") as caught:
        environment_python(bundle, None, "lock", cache)
    assert "uv pip compile" in str(caught.value.hint)


def test_a_pool_that_builds_nothing_has_a_group_only_where_it_is_installed(bundle: Path, cache: Path) -> None:
    (bundle / "requirements-old.txt").write_text("lone==1.5\nmsgspec==0.1.0\n")
    with pytest.raises(EnvironmentFailed, match=r"`old` needs `lone 1.5`, `msgspec 0.1.0`, which is not") as caught:
        environment_python(bundle, "old", "present", cache)
    assert 'environment = "auto"' in str(caught.value.hint)


def test_a_project_without_a_lock_has_no_group_and_nothing_to_build_from(bundle: Path, cache: Path) -> None:
    assert environment_python(bundle, None, "auto", cache) is None
    with pytest.raises(EnvironmentFailed, match="the project has no lock to build"):
        environment_python(bundle, None, "lock", cache)
    with pytest.raises(EnvironmentFailed, match="no lock, and so no environment `old`") as caught:
        environment_python(bundle, "old", "auto", cache)
    assert "`requirements-old.txt`" in str(caught.value.hint)
    assert not cache.exists()


@pytest.mark.slow
def test_a_project_locked_by_uv_is_built_from_an_index(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = find_uv()
    if uv is None:
        pytest.skip("install `uv`, which makes the lock of this test")
    for name in ("UV_NATIVE_TLS", "UV_SYSTEM_CERTS"):  # the machine's own certificates, by uv's older and newer name
        monkeypatch.setenv(name, "true")
    (bundle / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["six==1.16.0"]\n'
        '[dependency-groups]\nold = ["iniconfig==2.0.0"]\n[tool.uv]\npackage = false\n'
    )
    subprocess.run([uv, "lock", "--quiet"], cwd=bundle, check=True)
    plain, old = (environment_python(bundle, group, "lock", cache) for group in (None, "old"))
    assert plain is not None
    assert old is not None
    names = "import importlib.util as u; print(*[n for n in ('six', 'iniconfig') if u.find_spec(n)])"
    assert run(plain, names) == "six"
    assert run(old, names) == "six iniconfig"
