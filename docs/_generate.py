"""Writes the pages that follow from the code: `cli.md` from the commands, `configuration.md` from the settings.

    python docs/_generate.py

After a change of a command, an option or a setting; `tests/test_docs.py` fails until it was run.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from headrace.cli.catalogue import COMMANDS, command, group
from headrace.project.settings import SECTIONS, Setting, settings

FOLDER = Path(__file__).parent

CLI = """\
# The command line

<!-- Written by docs/_generate.py: change the commands instead. -->

Data goes to stdout, messages go to stderr, so that `headrace runs | head` and `RUN=$(headrace run flights --detach)` do
what they look like. With `--json`, stdout holds one JSON object; an error is
`{"error": ..., "message": ..., "hint": ...}`. `NO_COLOR` and `FORCE_COLOR` are heeded. RUN is a run's id, the beginning
of one, or `latest`.

| exit code | meaning |
|---|---|
| 0 | it succeeded |
| 1 | a task failed, or the run took longer than its `--timeout` |
| 2 | wrong usage or configuration |
| 3 | it was cancelled, by ^C too |
| 4 | it was refused: no pool holds a task, `--timeout` was over before a task began, or a report says no |
| 5 | a server lost on the way, damage to its state, or a fault of ours: its traceback is in `.headrace/faults/` |

The tab key knows commands, options, pipelines, runs and tasks: `eval "$(headrace --completion bash)"` (or `zsh`, or
`fish`) in the shell's start-up file.
"""

CONFIGURATION = """\
# Settings

<!-- Written by docs/_generate.py: change headrace/project/settings.py instead. -->

A project is a folder with a `headrace.toml`, which may be empty. Commands look for it in the current folder and above.

```toml
[project]
pipelines = ["pipelines.py"]

[pool.local]
cpu = 2
memory_gib = 4
```

`--config FILE` lays another file over it, and a variable of the environment overrides one value:
`HEADRACE__RUN__TIMEOUT=6h`, `HEADRACE__POOL__LOCAL__CPU=2`. Without any pool there is one, `local`: this machine. The
state of a project lives in `.headrace/` in its folder; `HEADRACE_HOME` moves it.

Without a `headrace.toml`, there or above, `headrace run path/to/file.py:name` runs a pipeline of a single file, whose
folder then is the project: its state lies beside it. Commands that name no file, such as `headrace runs`, look for a
`headrace.toml` first, and then for such state, in the current folder and above: call them in the file's folder.

A run keeps the project's source files, its **bundle**, so that each worker has the code as it was. Those are the files
below the project's folder that end like code, settings or parts of pages (`.py`, `.sql`, `.toml`, `.json`, `.md`,
`.html` and their like), up to 1 MiB each and 64 MiB together, and the environment's lock. What is hidden, environments,
and what a `.gitignore` there or below leaves out, or a `.headraceignore` of the same form, is not in it: list there
what is generated, such as pages that you write into the folder. A `.gitignore` above the project's folder is not read.
"""


def cli_page() -> str:
    """Return the page on the command line."""
    parts = [CLI, "\n## headrace\n\n", *_options(group), "\n"]
    for name in COMMANDS:
        parts += _command(command(name), name)
    return "".join(parts).rstrip() + "\n"


def _command(found: click.Command, name: str, level: str = "##") -> Iterator[str]:
    context = click.Context(found, info_name=f"headrace {name}")
    usage = " ".join([context.command_path, *found.collect_usage_pieces(context)])
    yield f"{level} headrace {name}\n\n```\n{usage}\n```\n\n{inspect.cleandoc(found.help or '')}\n\n"
    yield from _options(found)
    yield "\n"
    for each in found.commands.values() if isinstance(found, click.Group) else ():
        yield from _command(each, f"{name} {each.name}", f"{level}#")


def _options(found: click.Command) -> Iterator[str]:
    rows = [
        (" ".join(filter(None, [", ".join([*each.opts, *each.secondary_opts]), _metavar(each)])), each.help or "")
        for each in found.params
        if isinstance(each, click.Option)
    ]
    if rows:
        yield "| option | |\n|---|---|\n"
        yield from (f"| `{names}` | {text} |\n" for names, text in rows)


def _metavar(option: click.Option) -> str:
    if option.is_flag or option.is_eager:
        return "\\|".join(option.type.choices) if isinstance(option.type, click.Choice) else ""
    return option.metavar or option.type.name.upper().partition(" ")[0]


def configuration_page() -> str:
    """Return the page on the settings."""
    parts = [CONFIGURATION]
    every = list(settings())
    for section, of in SECTIONS.items():
        parts.append(f"\n## [{section}]\n\n{of.__doc__}\n\n| key | type | default | |\n|---|---|---|---|\n")
        parts += [_setting(each) for each in every if each.section == section]
    return "".join(parts)


def _setting(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else ""
    return f"| `{setting.key}` | {setting.type} | {default} | {setting.doc} |\n"


PAGES = {"cli.md": cli_page, "configuration.md": configuration_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
