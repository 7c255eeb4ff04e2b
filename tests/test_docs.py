"""Everything that a user can say has documentation, and the pages made from the code are as the code is."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import click
import griffe
import pytest

from headrace.cli.catalogue import COMMANDS, command, group, module
from headrace.project.setting_table import Setting, settings

DOCS = Path(__file__).parents[1] / "docs"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "_generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "configuration.md"])
def test_a_page_made_from_the_code_is_up_to_date(name: str) -> None:
    made = _generator().PAGES[name]()
    assert (DOCS / name).read_text(encoding="utf-8") == made, "run `python docs/_generate.py`"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_is_for(name: str) -> None:
    found = command(name)
    assert COMMANDS[name].endswith(".")
    assert len(COMMANDS[name]) <= 66  # one line of `headrace --help`
    assert importlib.import_module(module(name)).command.callback.__doc__
    assert found.name == name


@pytest.mark.parametrize("name", ["headrace", *COMMANDS])
def test_each_option_has_help(name: str) -> None:
    found = group if name == "headrace" else command(name)
    commands = found.commands.values() if isinstance(found, click.Group) and name != "headrace" else ()
    for each in (found, *commands):
        assert each.help
        for option in each.params:
            if isinstance(option, click.Option):
                assert option.help, f"`headrace {name} {option.opts[0]}` has no help"
                assert option.help.endswith(".")


def test_there_is_no_command_that_the_catalogue_lacks() -> None:
    folder = Path(importlib.import_module("headrace.cli.commands").__path__[0])
    assert {file.stem for file in folder.rglob("[a-z]*.py")} == set(COMMANDS)


@pytest.mark.parametrize("setting", list(settings()), ids=lambda setting: f"{setting.section}.{setting.key}")
def test_each_setting_has_a_description_and_a_type(setting: Setting) -> None:
    assert setting.doc.endswith(".")
    assert setting.type
    assert setting.variable.startswith("HEADRACE__")


@pytest.mark.parametrize("stage", ["prepare.split", "evaluate.classification"])
def test_a_stage_with_many_options_has_each_in_a_table_of_its_page(stage: str) -> None:
    family, _, name = stage.partition(".")
    made = getattr(importlib.import_module(f"headrace.stages.{family}"), name)
    page = (DOCS / "stages" / f"{name}.md").read_text(encoding="utf-8")
    told = {word for line in page.splitlines() if line.startswith("| `") for word in re.findall(r"`(\w+)`", line)}
    options = [each.name for each in inspect.signature(made).parameters.values() if each.kind is each.KEYWORD_ONLY]
    assert len(options) > 10
    assert [each for each in options if each not in told] == []


TAKING = [
    "train._torch.torch", "train._finetune.finetune", "train._finetune.predict",
    "evaluate._classification.classification", "evaluate._regression", "evaluate._generation", "evaluate._paired",
]  # fmt: skip
"""Modules with functions whose options are declared once."""


@pytest.fixture(scope="module")
def reference() -> griffe.Object:
    """All stages, as the reference shows them."""
    extensions = griffe.load_extensions(str(DOCS / "_options.py"))
    found = griffe.load("headrace.stages", extensions=extensions, docstring_parser="google")
    assert isinstance(found, griffe.Object)
    return found


@pytest.mark.parametrize("module", TAKING)
def test_the_reference_shows_options_that_are_declared_once_as_help_does(module: str, reference: griffe.Object) -> None:
    shown = reference[module]
    made = importlib.import_module(f"headrace.stages.{module}")
    taking = [each for each in shown.functions.values() if hasattr(getattr(made, each.name), "__signature__")]
    assert taking
    for each in taking:
        called = inspect.signature(getattr(made, each.name))
        assert [parameter.name for parameter in each.parameters] == list(called.parameters)
        assert [parameter.default for parameter in each.parameters] == [
            None if parameter.default is parameter.empty else repr(parameter.default)
            for parameter in called.parameters.values()
        ]
        assert each.docstring is not None
        told = [part for part in each.docstring.parsed if part.kind is griffe.DocstringSectionKind.parameters]
        assert [parameter.name for parameter in told[0].value] == list(called.parameters)
