"""From files and environment to a `Config`: layers of tables, each value with where it was said.

`headrace.toml` is the lowest layer, `--config FILE` lies over it, `HEADRACE__SECTION__KEY` over both.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from headrace.errors import ConfigError
from headrace.project.settings import SECTIONS, Config, hint, keys, section_class, words
from headrace.spec.redaction import masked

PREFIX = "HEADRACE__"
MOST_BYTES = 1 << 20
"""What a file of settings may have: read whole, it is in memory."""
TABLES = tuple(dict.fromkeys(name.partition(".")[0] for name in SECTIONS))
"""The names that may stand at the head of a table."""
NAMED = frozenset(name.partition(".")[0] for name in SECTIONS if name.endswith(".NAME"))
"""Those of them that go on with a name of the user's choice."""
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_AT_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)$")
_AT_PATH = re.compile(r" - at `\$(.*?)`$")
_LACKING = re.compile(r"missing required field `(\w+)`")

Keys = tuple[str, ...]


class Layers:
    """The settings so far, and for each of them who said it."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._origins: dict[Keys, str] = {}

    def add_file(self, file: Path) -> None:
        """Lay a TOML file over what there is.

        Raises:
            ConfigError: it can't be read, isn't TOML, or has a section or key that we don't know.
        """
        text = _read(file)
        lines = _Lines(text)
        table = _parse(text, file)
        known = set(self._values.get("pool", {}))
        for path, value in _leaves(table):
            origin = f"{file.name}:{lines.of(path if path[0] in TABLES else path[:1])}"
            _check_known(path, value, origin)
            self._put(path, value, origin)
        if known:  # runs use the first pool, and a file that is laid over the other says where they go
            pools = self._values["pool"]
            fresh = {name: pool for name, pool in pools.items() if name in table.get("pool", {}) and name not in known}
            self._values["pool"] = fresh | pools

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """Lay `HEADRACE__SECTION__KEY` variables over what there is.

        Raises:
            ConfigError: a variable names a section or key that we don't know.
        """
        for variable in sorted(environment):
            if variable.startswith(PREFIX):
                path = self._path(variable)
                _check_known(path, None, variable)
                self._put(path, _read_value(path, environment[variable]), variable)

    def config(self) -> Config:
        """Return all of it, checked.

        Raises:
            ConfigError: a value has the wrong type or isn't allowed.
        """
        try:
            return msgspec.convert(self._values, Config)
        except msgspec.ValidationError as error:
            raise self._wrong_value(str(error)) from None

    def origin(self, *path: str) -> str | None:
        """Return where a setting was made (`headrace.toml:3`, or the variable), or None where it wasn't."""
        return self._origins.get(path)

    def nearest_origin(self, *path: str, above: bool = True) -> str | None:
        """Return where a setting, or a part of it, or else what it is a part of (unless not `above`), was made."""
        below = (origin for known, origin in self._origins.items() if known[: len(path)] == path)
        lengths = range(len(path), 0, -1) if above else ()
        return next(below, None) or next((self._origins[path[:n]] for n in lengths if path[:n] in self._origins), None)

    def _put(self, path: Keys, value: Any, origin: str) -> None:
        table = self._values
        for name in path[:-1]:
            table = table.setdefault(name, {})
        if value is _EMPTY:
            table.setdefault(path[-1], {})
        else:
            table[path[-1]] = value
        self._origins[path] = origin

    def _path(self, variable: str) -> Keys:
        """Find what a variable overrides; what a file names is meant whatever the case of its name."""
        path = [part.lower() for part in variable.removeprefix(PREFIX).split("__")]
        free = [1] if path[0] in NAMED else []
        if _is_table(tuple(path[: _length(path)])):
            free.append(_length(path))
        for place in free:
            there = _at(self._values, tuple(path[:place]))
            if isinstance(there, dict) and place < len(path):
                known = {name.lower().replace("-", "_"): name for name in there}
                path[place] = known.get(path[place], path[place])
        return tuple(path)

    def _wrong_value(self, text: str) -> ConfigError:
        found = _AT_PATH.search(text)
        path = tuple(re.findall(r"[^.\[\]]+", found.group(1))) if found else ()
        path = self._named_path(path) if path[0] in NAMED else path[:2]
        origin = self.nearest_origin(*path)
        if (lacking := _LACKING.search(text)) is not None:
            key = lacking.group(1)
            return ConfigError(
                f"{origin or 'the settings'}: `{'.'.join(path)}` has no `{key}`",
                hint=f"give it one, a {_type_words((*path, key))}",
            )
        value = _at(self._values, path)
        shown = f" is {masked(repr(value))}" if value is not None and not isinstance(value, dict) else ""
        name = ".".join(path)
        return ConfigError(f"{origin or 'the settings'}: `{name}`{shown}", hint=f"give a {_type_words(path)}")

    def _named_path(self, path: Keys) -> Keys:
        """Name the pool or the like that msgspec's message leaves out (it writes `[...]`): the first to fail alone."""
        for name, table in self._values.get(path[0], {}).items():
            try:
                msgspec.convert({path[0]: {name: table}}, Config)
            except msgspec.ValidationError:
                return (path[0], name, *path[1:2])
        return path


class _Lines:
    """Finds the line of a key in TOML text: good enough for a message, where the parser tells none."""

    def __init__(self, text: str) -> None:
        self._numbers: dict[Keys, int] = {}
        head: Keys = ()
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                head = _split(header.group(1))
                self._numbers.setdefault(head, number)
            elif "=" in line:
                self._numbers.setdefault((*head, *_split(line.partition("=")[0])), number)

    def of(self, path: Keys) -> int:
        return next((self._numbers[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self._numbers), 1)


_EMPTY: dict[str, Any] = {}


def _read(file: Path) -> str:
    """Read a file; what has no end, or never begins (a device, a pipe), isn't read."""
    try:
        about = file.stat()
        if stat.S_ISREG(about.st_mode) and about.st_size <= MOST_BYTES:
            return file.read_text(encoding="utf-8-sig")  # some editors mark UTF-8 by a first sign of its own
        what = f"has {about.st_size:,} bytes" if stat.S_ISREG(about.st_mode) else f"is {_kind(about.st_mode)}"
    except FileNotFoundError:
        raise ConfigError(f"there is no file `{file}`", hint="give the path of a TOML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{file}` isn't UTF-8 text ({error.reason})", hint="TOML is always UTF-8") from None
    except OSError as error:
        raise ConfigError(
            f"`{file}` can't be read: {error.strerror}", hint="check that it is a file, and that you may read it"
        ) from None
    raise ConfigError(f"`{file}` {what}", hint=f"settings are a file of TOML, of at most {MOST_BYTES >> 20} MiB")


def _kind(mode: int) -> str:
    kinds = {stat.S_ISDIR: "a directory", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((words for is_one, words in kinds.items() if is_one(mode)), "a device")


def _parse(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"`{file}` has lists or tables nested too deep", hint="no setting needs that") from None
    except tomllib.TOMLDecodeError as error:
        words = str(error)
        at = _AT_LINE.search(words)
        where = f"{file.name}:{at.group(1)}" if at else file.name
        what = _AT_LINE.sub("", words)
        raise ConfigError(
            f"{where}: not valid TOML: {what[0].lower() + what[1:]}",
            hint='a setting is `key = value` under its `[section]`; text is in "quotes"',
        ) from None


def _leaves(table: Mapping[str, Any], head: Keys = ()) -> Iterable[tuple[Keys, Any]]:
    """Yield every value with its path; a table that has no values counts as one."""
    for key, value in table.items():
        path = (*head, key)
        if isinstance(value, dict) and (len(path) < _length(path) or _is_table(path)):
            yield from _leaves(value, path) if value else [(path, _EMPTY)]
        else:
            yield path, value


def _check_known(path: Keys, value: Any, origin: str) -> None:
    """Refuse a section or a key that we don't know, with the nearest that we do."""
    if path[0] not in TABLES:
        raise _unknown("section" if isinstance(value, dict) or len(path) > 1 else "key", path[0], TABLES, origin)
    needs = _length(path)
    if len(path) < needs:
        if value is _EMPTY:
            return
        form = f"[{path[0]}.NAME]" if path[0] in NAMED else f"[{path[0]}]"
        raise ConfigError(f"{origin}: `{'.'.join(path)}` is in the place of a section", hint=f"write `{form}` above it")
    section = section_class(path[0])
    assert section is not None
    if path[needs - 1] not in keys(section) or len(path) > needs + _is_table(path[:needs]):
        raise _unknown("key", ".".join(path[needs - 1 :]), keys(section), origin)


def _unknown(what: str, name: str, known: Iterable[str], origin: str) -> ConfigError:
    known = list(known)
    import difflib  # noqa: PLC0415  needed for an error only, on the way of every command

    near = difflib.get_close_matches(name, known, 1)
    homes = [section for section, fields in SECTIONS.items() if name in keys(fields)]
    if near:
        hint = f"did you mean `{near[0]}`?"
    elif homes:
        hint = f"write it under `[{homes[0]}]`"
    else:
        hint = f"known here: {', '.join(f'`{each}`' for each in known)}"
    return ConfigError(f"{origin}: unknown {what} `{name}`", hint=hint)


def _type_words(path: Keys) -> str:
    section = section_class(path[0])
    if section is None or len(path) < _length(path):
        return "section with its keys"
    return words(hint(section, path[_length(path) - 1]))


def _read_value(path: Keys, text: str) -> Any:
    """Read a variable's text as the setting's type wants it: as TOML where that fits, else as it stands."""
    section = section_class(path[0])
    assert section is not None
    wanted = hint(section, path[_length(path) - 1])
    try:
        value = tomllib.loads(f"value = {text}")["value"]
        msgspec.convert({path[-1]: value} if len(path) > _length(path) else value, wanted)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError):
        return text
    return value


def _length(path: Sequence[str]) -> int:
    """How many words a setting's path has, unless the setting is a table with words of its own."""
    return 3 if path[0] in NAMED else 2


def _is_table(path: Keys) -> bool:
    """Whether a path is that of a setting which is a table."""
    section = section_class(path[0])
    if section is None or len(path) != _length(path) or path[-1] not in keys(section):
        return False
    found = hint(section, path[-1])
    return get_origin(get_args(found)[0] if get_origin(found) is Annotated else found) is dict


def _split(name: str) -> Keys:
    return tuple(part.strip().strip("\"'") for part in name.split("."))


def _at(table: Any, path: Keys) -> Any:
    for name in path:
        if not isinstance(table, dict) or name not in table:
            return None if isinstance(table, dict) else table
        table = table[name]
    return table
