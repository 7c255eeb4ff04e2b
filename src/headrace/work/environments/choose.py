"""Chooses the interpreter that a stage runs on. This is the present interpreter if it has all packages of the lock,
else the interpreter of an environment that is built from the lock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from blake3 import blake3
from packaging.specifiers import SpecifierSet

from headrace.errors import EnvironmentFailed, listed
from headrace.work.environments.build import build, find_uv, is_whole, python_of
from headrace.work.environments.cache import Memo, Policy, environments_folder
from headrace.work.environments.headrace_code import NAME
from headrace.work.environments.headrace_install import needed, present, python_tag
from headrace.work.environments.lock import LOCKS, Read, find_lock, lock_digest, lock_texts, own_locks
from headrace.work.environments.pins import Pin, Pins, read_pins

_encode = msgspec.msgpack.Encoder().encode
_SHOWN = 3


def environment_python(
    bundle: Path, group: str | None, policy: Policy, cache: Path, *, tell: Callable[[str], None] = lambda _: None
) -> Path | None:
    """Return the interpreter of an environment, or None if the present interpreter can be used.

    `group` is a group of the lock; None means the project's own environment. `bundle` is the folder of the unpacked
    bundle. Environments are built in `cache`, once for all processes of this machine. `tell` is called before a build
    begins, since it may take minutes.

    Raises:
        EnvironmentFailed: there is no such group, or the environment can't be built here.
    """
    read = _reader(bundle)
    file = find_lock(read, group)
    if file is None:
        if policy == "lock" or group is not None:
            raise _no_lock(group)
        return None
    texts = lock_texts(read, file)
    memo = Memo(cache, lock_digest(texts), group, policy)
    known = memo.get()
    if known is not None:
        return known.python
    python = None
    if group is not None or policy != "present":
        python = _choose(read_pins(texts, file, group), group, policy, cache, tell)
    memo.put(python)
    return python


def _choose(pins: Pins, group: str | None, policy: Policy, cache: Path, tell: Callable[[str], None]) -> Path | None:
    if pins.loose is not None:
        if group is None and policy == "auto":
            return None
        raise EnvironmentFailed(
            f"no environment can be built from `{pins.file}`: {pins.loose}",
            hint="lock it (`uv lock`, `uv pip compile --generate-hashes`), or use the packages installed there:"
            ' `environment = "present"`',
        )
    lacking = _lacking(pins)
    if policy != "lock" and not lacking:
        return None
    if policy == "present":
        missing = listed((f"{pin.name} {pin.version or ''}".strip() for pin in lacking), _SHOWN)
        raise EnvironmentFailed(
            f"environment `{group}` needs {missing}, which is not installed there, and its pool builds no environments",
            hint='install it on the pool\'s machines, or set `environment = "auto"` for the pool',
        )
    place = environments_folder(cache) / _digest(pins)
    if not is_whole(place):
        called = f"environment `{group}`" if group else "the project's environment"
        tell(f"building {called} from `{pins.file}` ({len(pins.pins)} packages)")
        build(pins, place, uv=find_uv())
    return python_of(place)


def _lacking(pins: Pins) -> list[Pin]:
    """Return the pins whose packages are missing in the present environment, or installed in another version."""
    here = present()
    return [pin for pin in pins.pins if pin.name != NAME and not _fits(pin, here.get(pin.name))]


def _fits(pin: Pin, version: str | None) -> bool:
    if version is None or pin.version is None:
        return version is not None
    return SpecifierSet(f"=={pin.version}").contains(version, prereleases=True)


def _digest(pins: Pins) -> str:
    """Return the name of an environment. It is a digest of all that the environment contains: the lock's pins, the
    other distributions that Headrace needs, and the interpreter."""
    ours = needed({pin.name: pin.version for pin in pins.pins})
    contents = [
        python_tag(),
        *pins.options,
        *[pin.line for pin in pins.pins],
        *[f"{name} {ours[name].version}" for name in sorted(ours)],
    ]
    return blake3(_encode(contents)).hexdigest()[:32]


def _reader(bundle: Path) -> Read:
    def read(name: str) -> bytes | None:
        try:
            return (bundle / name).read_bytes()
        except OSError:
            return None

    return read


def _no_lock(group: str | None) -> EnvironmentFailed:
    if group is None:
        return EnvironmentFailed(
            "the project has no lock to build an environment from",
            hint=f"write one beside `headrace.toml`: {', '.join(f'`{name}`' for name in LOCKS[:4])}",
        )
    names = " or ".join(f"`{name}`" for name in own_locks(group))
    return EnvironmentFailed(
        f"the project has no lock, and so no environment `{group}`",
        hint=f"add `{group}` as a group or extra and lock the project (`uv lock`), or write {names}",
    )
