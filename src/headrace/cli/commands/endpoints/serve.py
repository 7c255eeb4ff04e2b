"""`headrace serve`."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.terminal import tell
from headrace.errors import UsageError
from headrace.project import project


@click.command()
@click.argument("endpoints", metavar="[ENDPOINT...]", nargs=-1, shell_complete=complete.endpoints)
@click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="PORT", default=8000, show_default=True,
    help="The port to listen on; 0 means any free port.",
)  # fmt: skip
@click.option(
    "--host", metavar="HOST",
    help="The address to listen on, such as `0.0.0.0`; by default the loopback addresses. If other hosts can reach the "
    "address, `--tokens` and TLS are needed.",
)  # fmt: skip
@click.option(
    "--tls-cert", type=click.Path(path_type=Path), metavar="FILE",
    help="A file in PEM with the certificate, followed by its intermediate certificates. The server then uses TLS.",
)  # fmt: skip
@click.option(
    "--tls-key", type=click.Path(path_type=Path), metavar="FILE",
    help="A file in PEM with the certificate's key. Other users must not be able to read it.",
)  # fmt: skip
@click.option("--tokens", is_flag=True, help="Answer only clients with a token. Proxies may then forward requests.")
@click.option(
    "--workers", type=click.IntRange(1, 64), metavar="N", default=1, show_default=True,
    help="How many processes answer requests. Each has its own model processes, and needs the memory for all models.",
)  # fmt: skip
@options.config
def command(
    endpoints: tuple[str, ...],
    port: int,
    host: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tokens: bool,
    workers: int,
    config: Path | None,
) -> int:
    """Serves the endpoints that are named. If none is named, it serves all endpoints, including those that are made
    later. Each version of a model answers in its own process, which can't read the project's folder and has no network.
    `headrace promote`, `route`, `rollback` and `retire` take effect within a second or, if a version must be loaded
    first, when it is loaded. No request fails because of these commands, as long as the old and the new version take
    the same columns. By default, each answer is in the prediction log (`headrace predictions`) before it is sent;
    settings of an endpoint can change this.

    `POST /v1/endpoints/ENDPOINT/predict` takes `{"records": [{...}]}`, with a field for each column that the model
    takes, and answers `{"predictions": [...], "ids": [...], "variant": ..., "version": ...}`.
    `POST /v1/endpoints/ENDPOINT/feedback` takes `{"labels": [{"id": ..., "label": ...}], "source": ...}`: labels, which
    say what really came of predictions. `GET /health` answers as long as the server lives, and `GET /ready` once the
    models are loaded.

    Without `--host`, only programs on this host can connect. Without `--tokens`, each of these programs may send
    requests, but requests that come from a proxy or from web pages of other sites are refused. With `--tokens`, a
    client needs a token (`headrace tokens make`), and a proxy on this host may forward requests. After ^C or SIGTERM,
    the server answers the requests that it has, and ends.
    """
    found = project.load(overlay=config)
    try:
        serving = importlib.import_module("headrace.operate.endpoints.serving")
    except ModuleNotFoundError as error:
        if error.name not in ("httptools", "uvicorn", "uvloop"):
            raise
        raise UsageError(
            f"`headrace serve` needs the library `{error.name}`", hint="pip install 'headrace[serve]'"
        ) from error
    listening = serving.Listening(port, host, tls_cert, tls_key)
    serving.serve(found, endpoints, listening, _say, with_tokens=tokens, workers=workers)
    return 0


def _say(text: str) -> None:
    tell(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")
