"""`headrace gc`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.terminal import say, say_json, tell
from headrace.errors import HeadraceError
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.operate.upkeep.upkeep import Collected, collect, kept
from headrace.project import project
from headrace.report.measures import bytes_text, count_text, seconds_text
from headrace.spec.duration import seconds


@click.command()
@click.option(
    "--keep-runs", type=click.IntRange(0, options.MOST), metavar="N", help="Forget all ended runs except the newest N."
)
@click.option(
    "--keep-runs-per-pipeline",
    type=click.IntRange(0, options.MOST),
    metavar="N",
    help="Forget all ended runs except the newest N of each pipeline.",
)
@click.option("--keep", metavar="TIME", help="Forget runs that ended longer ago than this time, such as `30d`.")
@click.option("--keep-all", is_flag=True, help="Forget no run, even if `[gc]` in headrace.toml says so.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and why, and delete nothing.")
@options.as_json
@options.config
def command(
    keep_runs: int | None,
    keep_runs_per_pipeline: int | None,
    keep: str | None,
    keep_all: bool,
    dry_run: bool,
    as_json: bool,
    config: Path | None,
) -> int:
    """Deletes blobs that no run needs and that are more than an hour old. Runs are forgotten only if one of the
    `--keep` options, or `[gc]` in headrace.toml, says so. With several rules, a run is kept if any of them keeps it.
    Predictions are forgotten only if the setting `keep` of their endpoint says so. In this case, the predictions in
    this host's log are first moved into the store, except those in files that a server still writes. Last, the small
    tables of prediction logs are merged into larger ones.
    """
    loaded = project.load(overlay=config)
    rules = kept(
        loaded,
        runs=keep_runs,
        per_pipeline=keep_runs_per_pipeline,
        keep_s=None if keep is None else seconds(keep, name="--keep"),
        everything=keep_all,
    )
    unsealed = None if dry_run else _seal(loaded)
    collected = collect(loaded, rules, dry_run=dry_run, say=tell)
    if as_json:
        say_json(collected)
    else:
        _say(collected)
    if unsealed is not None:
        raise unsealed
    return 0


def _seal(loaded: project.Project) -> HeadraceError | None:
    """Seal the predictions of this host if some are kept only for a time, since gc sees only sealed ones. Return the
    error if that fails: then the caller collects first, which may help if the disk is full."""
    config = loaded.config
    if all(each.keep_s is None for each in (config.serve, *map(config.of_endpoint, config.endpoint))):
        return None
    try:
        seal_predictions(loaded)
    except HeadraceError as error:
        return error
    return None


def _say(collected: Collected) -> None:
    would = "would delete" if collected.dry_run else "deleted"
    drafts = f", {count_text(collected.drafts, 'unfinished file')}" if collected.drafts else ""
    say(f"{would} {count_text(collected.count, 'blob')}{drafts}: {bytes_text(collected.bytes)}")
    for reason in collected.reasons:
        say(f"    {count_text(reason.blobs, 'blob')}, {bytes_text(reason.bytes)}: {reason.reason}", "dim")
    if collected.runs:
        say(f"{'would forget' if collected.dry_run else 'forgot'} {count_text(len(collected.runs), 'run')}")
        for run, why in collected.why.items() if collected.dry_run else ():
            say(f"    {run}: {why}", "dim")
    for log in collected.logs:
        what = f"{count_text(log.predictions, 'prediction')} and {count_text(log.labels, 'label')}"
        say(f"{'would forget' if collected.dry_run else 'forgot'} {what} of endpoint `{log.endpoint}`")
    for merged in collected.merged:
        what = f"{count_text(merged.parts, 'part')} of the log of endpoint `{merged.endpoint}`"
        say(f"{'would merge' if collected.dry_run else 'merged'} {what} into {count_text(merged.tables, 'table')}")
    if collected.later_bytes:
        tell(f"the next `headrace gc` deletes {bytes_text(collected.later_bytes)} more: a run is active now")
    if collected.young_bytes:
        tell(
            f"{bytes_text(collected.young_bytes)} that no run needs are kept: they are less than an hour old, or"
            " newer than an attempt in progress"
        )
    for held in collected.held:
        if held.ahead_s:
            tell(
                f"by the store's clock, run {held.run} began {seconds_text(held.ahead_s)} in the future, so blobs that"
                " no run needs aren't deleted: set the clock of its driver's machine"
            )
        if not held.is_driven:
            tell(f"run {held.run} has not ended, so blobs that may belong to it are kept: resume or cancel it")
