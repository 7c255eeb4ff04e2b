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
from headrace.project.setting_table import Setting, settings
from headrace.project.settings import SECTIONS

FOLDER = Path(__file__).parent

CLI = """\
# The command line

<!-- Written by docs/_generate.py: change the commands instead. -->

Data goes to stdout, and messages go to stderr. So `headrace runs | head` and `RUN=$(headrace run flights --detach)`
work. With `--json`, stdout has one JSON object. An error is `{"error": ..., "message": ..., "hint": ...}`. The
environment variables `NO_COLOR` and `FORCE_COLOR` switch colours off and on. RUN is a run's id, the beginning of the
id, the last part of the id (`3f2a`), or `latest`, the newest run.

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | a task failed, or the run took longer than its `--timeout` |
| 2 | wrong usage or configuration |
| 3 | cancelled, for example by ^C |
| 4 | refused: no pool can hold a task, `--timeout` ended during the trace, or a report or a person said no |
| 5 | a server was lost during the run, the state is damaged, or Headrace has a bug (traceback: `.headrace/faults/`) |
| 6 | a run waits for an [approval](approval.md), and nothing is lost; or an [erasure](erasure.md) isn't complete |

The tab key completes commands, options, pipelines, runs and tasks, if your shell's start-up file has the line
`eval "$(headrace --completion bash)"` (or `zsh`, or `fish`).
"""

CONFIGURATION = """\
# Settings

<!-- Written by docs/_generate.py: change headrace/project/settings.py instead. -->

A project is a folder with a `headrace.toml`, which may be empty. Commands look for it in the current folder and in
the folders above.

```toml
[project]
pipelines = ["pipelines.py"]

[pool.local]
cpu = 2
memory_gib = 4
```

`--config FILE` reads a second file, whose values replace those of `headrace.toml`. An environment variable replaces a
single value: `HEADRACE__RUN__TIMEOUT=6h`, `HEADRACE__POOL__LOCAL__CPU=2`, `HEADRACE__RUN__POOLS='["laptop", "gpu"]'`.

If no pool is defined, there is one pool, `local`: this machine. The state of a project is in the folder `.headrace/`
of the project's folder. `HEADRACE_HOME` sets another folder for the state.

`headrace run path/to/file.py:name` also works without a `headrace.toml`. In this case, the folder of this file is the
project's folder, and `.headrace/` is in it. For a notebook without a `headrace.toml`, the project's folder is the
kernel's current folder. Commands that name no file, such as `headrace runs`, look in the current folder and the folders
above it: first for a `headrace.toml`, then for a `.headrace/`. So call them in the folder of the file or notebook.

A run stores the project's source files, its **bundle**, so that each worker has the code as it was at the start. The
bundle has the files in the project's folder with a suffix of code, settings or parts of pages (`.py`, `.sql`, `.toml`,
`.json`, `.md`, `.html` and similar ones), and the environment's lock. Files of more than 1 MiB are left out; a bundle
of more than 64 MiB is an error. The bundle also leaves out hidden files, environments, and files that a `.gitignore` or
`.headraceignore` excludes. Both have the same format, and may be in the project's folder or below it. A `.gitignore`
above the project's folder isn't read. Exclude generated files, such as pages that you write into the folder.
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
        (
            " ".join(filter(None, [", ".join([*each.opts, *each.secondary_opts]), _metavar(each)])),
            f"{'Required. ' * each.required}{each.help or ''}",
        )
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
        purpose = inspect.cleandoc(of.__doc__ or "")  # Python 3.13 does this by itself
        parts.append(f"\n## [{section}]\n\n{purpose}\n\n| key | type | default | |\n|---|---|---|---|\n")
        parts += [_setting(each) for each in every if each.section == section]
    return "".join(parts)


def _setting(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else ""
    return f"| `{setting.key}` | {setting.type} | {default} | {setting.doc} |\n"


PAGES = {"cli.md": cli_page, "configuration.md": configuration_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
