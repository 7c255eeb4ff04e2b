"""The command line as a whole: find the command, run it, and turn every error into text and an exit code."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

import click

from headrace.cli import complete
from headrace.cli.catalogue import COMMANDS, COMPLETE, group
from headrace.cli.terminal import error_output, terminal
from headrace.errors import HeadraceError, UsageError, listed
from headrace.operate.progress.wait_notice import looking_out

_WORDS = {"a valid integer range": "a whole number", "a valid integer": "a whole number", "a valid float": "a number"}
"""Some of click's words for types, each with the words that our messages use instead."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    terminal.prepare()
    if os.environ.get(COMPLETE):
        return _complete(arguments)
    as_json = "--json" in arguments
    try:
        _check_encoding(arguments)
        with group.make_context("headrace", list(arguments)) as context, _looking_out(arguments):
            return int(group.invoke(context) or 0)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        terminal.tell(error.format_message())
        return 2
    except click.ClickException as error:
        return _wrong_usage(error, arguments, as_json=as_json)
    except HeadraceError as error:
        return error_output.show(error, as_json=as_json)
    except BrokenPipeError as error:
        if terminal.is_read():
            return error_output.show_internal(error, as_json=as_json)
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # the user's path or name is too long: Headrace's own are short
            what = f"`{error.filename}` is too long for the name of a file"
            return error_output.show_words("UsageError", what, "give a shorter one", 2, as_json=as_json)
        if not isinstance(error, terminal.Unwritten) and terminal.takes_more():
            return error_output.show_internal(error, as_json=as_json)
        raise
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - the last place where faults become text; a panic in a Rust
        # library is no `Exception`
        return error_output.show_internal(error, as_json=as_json)


def _looking_out(arguments: Sequence[str]) -> AbstractContextManager[None]:
    """Return a context that prints what the command is waiting for if a wait takes long.

    For `run` and `resume` the context does nothing: these commands report their waits themselves.
    """
    return nullcontext() if arguments[:1] in (["run"], ["resume"]) else looking_out(terminal.tell)


def _complete(arguments: Sequence[str]) -> int:
    """Print the completions that the shell asks for. If an error occurs, print nothing: a message would appear in the
    user's prompt."""
    with suppress(Exception):
        group.main(list(arguments), prog_name="headrace", complete_var=COMPLETE)
    return 0


def _check_encoding(arguments: Sequence[str]) -> None:
    for each in arguments:
        try:
            each.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{each!r} isn't text in UTF-8", hint="give names and parameters in UTF-8") from None


def _wrong_usage(error: click.ClickException, arguments: Sequence[str], *, as_json: bool) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    message = error.format_message()
    path = context.command_path if context else " ".join(["headrace", *(set(arguments[:1]) & COMMANDS.keys())])
    hint = f"`{path} --help` lists what there is"
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    if isinstance(error, click.MissingParameter) and context and error.param and error.param.name == "task":
        tasks = [found.value for found in complete.tasks(context, error.param, "")]
        hint = f"the run's tasks are {listed(tasks)}" if tasks else hint
    if isinstance(error, click.NoSuchOption):
        message = f"there is no option `{error.option_name}`"
        if error.possibilities:
            hint = f"did you mean `{error.possibilities[0]}`? {hint}"
    return error_output.show_words("UsageError", message[0].lower() + message[1:].rstrip("."), hint, 2, as_json=as_json)
