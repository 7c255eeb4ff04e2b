"""Settings read from files and the environment into a `Config`. For each value, the place where it was set is
remembered.

The sources are layers, and a later one overrides an earlier one: `headrace.toml`, then the file of `--config`, then
environment variables `HEADRACE__SECTION__KEY`.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from headrace.errors import ConfigError, meant
from headrace.project.setting_table import hint, is_free, section_class, words
from headrace.project.settings import SECTIONS, Config, keys
from headrace.spec.redaction import masked

PREFIX = "HEADRACE__"
MOST_BYTES = 1 << 20
"""The most bytes that a settings file may have, since it is read into memory."""
TABLES = tuple(dict.fromkeys(name.partition(".")[0] for name in SECTIONS))
"""The first word of each table name that settings may have: `pool` for `[pool.NAME]`."""
NAMED = frozenset(name.partition(".")[0] for name in SECTIONS if name.endswith(".NAME"))
"""The words of `TABLES` that are followed by a name of the user's choice: `[pool.NAME]`."""
EITHER = ("run", "pool"), ("run", "pools")
"""Two settings that exclude each other. The one of a later layer replaces the other of earlier layers."""
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_AT_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)$")
_AT_PATH = re.compile(r" - at `\$(.*?)`$")
_LACKING = re.compile(r"missing required field `(\w+)`")

Keys = tuple[str, ...]


class Layers:
    """The settings gathered from several sources, with the place where each was set."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._origins: dict[Keys, str] = {}

    def add_file(self, file: Path) -> None:
        """Add the settings of a TOML file. They override earlier ones.

        Raises:
            ConfigError: the file can't be read, isn't TOML, or has an unknown section or key.
        """
        text = _read(file)
        lines = _Lines(text)
        table = _parse(text, file)
        known = set(self._values.get("pool", {}))
        for path, value in _leaves(table):
            origin = f"{file.name}:{lines.of(path if path[0] in TABLES else path[:1])}"
            _check_known(path, value, origin)
            self._put(path, value, origin)
        self._replace_other(path for path, _ in _leaves(table))
        if known:  # runs use the first pool, so new pools of this later file are put first
            pools = self._values["pool"]
            fresh = {name: pool for name, pool in pools.items() if name in table.get("pool", {}) and name not in known}
            self._values["pool"] = fresh | pools

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """Add the settings of the variables `HEADRACE__SECTION__KEY`. They override earlier ones.

        Raises:
            ConfigError: a variable names an unknown section or key.
        """
        given = {variable: self._path(variable) for variable in sorted(environment) if variable.startswith(PREFIX)}
        for variable, path in given.items():
            _check_known(path, None, variable)
            self._put(path, _read_value(path, environment[variable]), variable)
        self._replace_other(given.values())

    def config(self) -> Config:
        """Return all settings as a `Config`, with checked types.

        Raises:
            ConfigError: a value has the wrong type or isn't allowed.
        """
        try:
            return msgspec.convert(self._values, Config)
        except msgspec.ValidationError as error:
            raise self._wrong_value(str(error)) from None

    def origin(self, *path: str) -> str | None:
        """Return where a setting was set (`headrace.toml:3`, or the variable's name), or None if it wasn't set."""
        return self._origins.get(path)

    def nearest_origin(self, *path: str, above: bool = True) -> str | None:
        """Return the place where a setting or a part of it was set, or None.

        If neither was set and `above` is true, return the place where the nearest table around the setting was set.
        """
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

    def _replace_other(self, given: Iterable[Keys]) -> None:
        """If a layer's settings `given` have one of the two settings in `EITHER`, remove the other one, which an
        earlier layer may have set."""
        fresh = set(given).intersection(EITHER)
        for path in EITHER:
            if fresh and path not in fresh and path in self._origins:
                del self._origins[path], self._values[path[0]][path[1]]

    def _path(self, variable: str) -> Keys:
        """Return the path of the setting that a variable overrides.

        A name that is already set, such as a pool's, is found without regard to case, and `_` in the variable also
        matches `-`.
        """
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
        match = _AT_PATH.search(text)
        path = tuple(re.findall(r"[^.\[\]]+", match.group(1))) if match else ()
        path = self._named_path(path) if path[0] in NAMED or path == ("place",) else path[:2]
        origin = self.nearest_origin(*path)
        if (lacking := _LACKING.search(text)) is not None:
            key = lacking.group(1)
            return ConfigError(
                f"{origin or 'the settings'}: `{'.'.join(path)}` has no `{key}`",
                hint=f"set `{key}`, a {_type_words((*path, key))}",
            )
        value = _at(self._values, path)
        shown = f" is {masked(repr(value))}" if value is not None and not isinstance(value, dict) else ""
        name = ".".join(path)
        wanted = _type_words(path) + _form(path)
        return ConfigError(f"{origin or 'the settings'}: `{name}`{shown}", hint=f"give a {wanted}")

    def _named_path(self, path: Keys) -> Keys:
        """Return a wrong setting's path, completed by the name of the pool, region or link that the setting is in.

        `path` is taken from msgspec's error message, which has `[...]` in place of the name. To find the name, each
        pool (or region, or link) is converted alone; the first one that fails is the wrong one.
        """
        for name, table in self._values.get(path[0], {}).items():
            try:
                msgspec.convert({path[0]: {name: table}}, Config)
            except msgspec.ValidationError:
                return (path[0], name, *path[1:2])
        return path


class _Lines:
    """The line numbers of the keys in a TOML text, for messages. They are approximate: the TOML parser gives none."""

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
    """Return the text of a settings file.

    Raises:
        ConfigError: the file can't be read, isn't UTF-8, is too large, or is a device or pipe.
    """
    try:
        about = file.stat()
        if stat.S_ISREG(about.st_mode) and about.st_size <= MOST_BYTES:
            return file.read_text(encoding="utf-8-sig")  # some editors begin a UTF-8 file with a byte order mark
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
    """Yield the path and value of every setting in a table. An empty table is yielded as a value too."""
    for key, value in table.items():
        path = (*head, key)
        if isinstance(value, dict) and (len(path) < _length(path) or _is_table(path)):
            yield from _leaves(value, path) if value else [(path, _EMPTY)]
        else:
            yield path, value


def _check_known(path: Keys, value: Any, origin: str) -> None:
    """Raise an error if a section or key is unknown. The hint has the most similar known name.

    Raises:
        ConfigError: the path is unknown, or a value is in the place of a section.
    """
    if path[0] not in TABLES:
        raise _unknown("section" if isinstance(value, dict) or len(path) > 1 else "key", path[0], TABLES, origin)
    needs = _length(path)
    if len(path) < needs:
        if value is _EMPTY:
            return
        form = f"[{path[0]}.NAME]" if path[0] in NAMED else f"[{path[0]}]"
        raise ConfigError(
            f"{origin}: `{'.'.join(path)}` must be a section, but has a value",
            hint=f"begin the section by `{form}`, and write its settings below that line",
        )
    section = section_class(path[0])
    assert section is not None
    is_key = is_free(section) or path[needs - 1] in keys(section)
    if not is_key or len(path) > needs + _is_table(path[:needs]):
        raise _unknown("key", ".".join(path[needs - 1 :]), keys(section), origin)


def _unknown(what: str, name: str, known: Iterable[str], origin: str) -> ConfigError:
    known = list(known)
    homes = [section for section, fields in SECTIONS.items() if name in keys(fields)]
    otherwise = f"write it under `[{homes[0]}]`" if homes else f"known here: {', '.join(f'`{each}`' for each in known)}"
    return ConfigError(f"{origin}: unknown {what} `{name}`", hint=meant(name, known, otherwise))


def _type_words(path: Keys) -> str:
    section = section_class(path[0])
    if section is None or len(path) < _length(path):
        return "section with its keys"
    return words(hint(section, path[_length(path) - 1]))


def _form(path: Keys) -> str:
    """If a setting is a list, return an example of a list for an error message. Otherwise return an empty text."""
    return ', such as `["one", "other"]`' if _type_words(path).startswith("list of strings") else ""


def _read_value(path: Keys, text: str) -> Any:
    """Return a variable's text as a value: parsed as TOML if the result fits the setting's type, else unchanged."""
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
    """Return the number of words in a setting's path: 3 for `[pool.NAME]` and the like, else 2.

    If a setting is itself a table, its entries have longer paths.
    """
    return 3 if path[0] in NAMED else 2


def _is_table(path: Keys) -> bool:
    """Return whether the setting with this path is a table."""
    section = section_class(path[0])
    if section is None or len(path) != _length(path) or path[-1] not in keys(section):
        return False
    kind = hint(section, path[-1])
    return get_origin(get_args(kind)[0] if get_origin(kind) is Annotated else kind) is dict


def _split(name: str) -> Keys:
    return tuple(part.strip().strip("\"'") for part in name.split("."))


def _at(table: Any, path: Keys) -> Any:
    for name in path:
        if not isinstance(table, dict) or name not in table:
            return None if isinstance(table, dict) else table
        table = table[name]
    return table
