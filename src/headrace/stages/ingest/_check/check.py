"""`ingest.check`: the stage that checks a table against its contract."""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.codec.values import File
from headrace.define.cursor import Cursor
from headrace.define.log import log, warn
from headrace.define.stage import ready
from headrace.errors import DataError, UsageError
from headrace.report.as_text import text
from headrace.spec.duration import seconds
from headrace.spec.report import Report
from headrace.stages.ingest._check.columns import check_column
from headrace.stages.ingest._check.contract import Action, Contract, Fresh, Rows
from headrace.stages.ingest._check.finding import EXAMPLES, Finding, of_rows, share, shown, value_of
from headrace.stages.ingest._check.history import add, earlier
from headrace.stages.ingest._check.keys import repeated_rows, strange_rows
from headrace.stages.ingest._check.relations import check_conditions, check_relations
from headrace.stages.ingest._check.report import report_of
from headrace.stages.tables import engine
from headrace.stages.tables.columns import columns, described, distinct, free_name, rows_at, rows_where

REASONS = "broken_rules"
PLACE = "row"
MOST = "most_quarantined"
_PASSED = "rows that a cursor has passed are read again after `headrace rewind`"


class Checked(NamedTuple):
    """The result of checking a table against a contract.

    `table` holds the rows that aren't quarantined. `quarantine` holds the quarantined rows, with two more columns:
    `row`, the row's place in the input table, and `broken_rules`, the list of rules that the row breaks. `report` has a
    verdict for each rule, with examples of the rows that break the rule. `passed` is True if every rule holds, apart
    from the rules that only warn.
    """

    table: pa.Table
    quarantine: pa.Table
    report: Report
    passed: bool


def _check(given: Mapping[str, Any]) -> None:
    """Refuse a contract with a condition that DuckDB can't parse. `given` are the arguments of a call of `check`.

    If the contract isn't known yet while the pipeline is traced, nothing is checked.
    """
    contract = given.get("contract")
    if isinstance(contract, File) and contract.path.is_file():
        contract = Contract.read(contract.path, called=contract.name)
    if isinstance(contract, Contract):
        check_conditions(contract.relations)


@ready("ingest.check", version=4, on=("duckdb", "numpy", "pyarrow"), kind="ingest", check=_check)
def check(
    table: pa.Table,
    contract: Contract | File,
    *,
    now: float | None = None,
    history: Cursor | Sequence[int] = (),
    fail: bool = True,
    **tables: pa.Table,
) -> Checked:
    """Check a table against its contract: a `Contract`, or a TOML file that holds one (`hr.File("contract.toml")`).

    Args:
        table: the table to check.
        contract: the contract.
        now: the current time in Unix seconds, such as `hr.now()`; needed for rules on freshness.
        history: the numbers of rows of earlier versions, or a cursor (`hr.cursor("flights/rows")`) that keeps these
            numbers. The number of rows of `table` is added to the cursor, unless the check stops.
        fail: False to succeed even if a rule that says `stop` is broken. The broken rule is reported, and the rows that
            break it are quarantined. Use False in a pipeline that reads `checked.passed`.
        tables: the tables that the contract's references name.

    Raises:
        DataError: a rule that says `stop` is broken. The report is then stored with the run, as a text with the name
            `contract`.
        UsageError: the contract can't be checked against this table: DuckDB can't parse a condition, or `now` is
            missing.
    """
    contract = Contract.read(contract.path, called=contract.name) if isinstance(contract, File) else contract
    counts = earlier(history) if isinstance(history, Cursor) else history
    findings = findings_of(table, contract, now=now, history=counts, tables=tables)
    good, bad = _parted(table, findings)
    if len(bad) > contract.most_quarantined * len(table):
        findings.append(_too_many(len(bad), len(table), contract, findings))
    passed = not any(finding.breaks for finding in findings if finding.action != "warn")
    stopping = [finding for finding in findings if finding.breaks and _stops(finding)]
    is_over = bool(stopping) and fail
    aside = 0 if is_over else len(bad)
    report = report_of(contract.name, table, findings, aside, passed)
    _tell(contract, table, findings, aside)
    if is_over:
        log("contract", text(report))
        _stop(contract, stopping, sum(finding.breaks for finding in findings))
    if not stopping and isinstance(history, Cursor):
        add(history, len(table))
    return Checked(good, bad, report, passed)


def _tell(contract: Contract, table: pa.Table, findings: Sequence[Finding], quarantined: int) -> None:
    """Log the numbers of rows, quarantined rows and broken rules. Warn of broken rules whose action is `warn`, and of
    quarantined rows."""
    log("contract/rows", len(table))
    log("contract/quarantined", quarantined)
    log("contract/broken_rules", sum(finding.breaks for finding in findings))
    name = shown(contract.name)
    broken = [finding for finding in findings if finding.action == "warn" and finding.breaks]
    if broken:
        named = "; ".join(f"`{finding.rule}`: {finding.why}" for finding in broken[:EXAMPLES])
        count = f"{len(broken)} rule{'s' * (len(broken) > 1)} broken (warn)"
        warn(f"contract `{name}`: {count}: {named}{_beyond(broken)}")
    if quarantined:
        part = f"{quarantined:,} of {len(table):,} rows ({share(quarantined, len(table))})"
        warn(f"contract `{name}`: {part} are in quarantine, by {_sorters(findings)}")


def _sorters(findings: Sequence[Finding]) -> str:
    """Return in words which rules put the most rows into quarantine, each with its number of rows."""
    sorting = [finding for finding in findings if finding.action != "warn" and len(finding.rows)]
    sorting.sort(key=lambda finding: -len(finding.rows))
    return ", ".join(f"`{finding.rule}` ({len(finding.rows):,})" for finding in sorting[:EXAMPLES]) + _beyond(sorting)


def _beyond(found: Sequence[Finding]) -> str:
    return f" and {len(found) - EXAMPLES} more" if len(found) > EXAMPLES else ""


def findings_of(
    table: pa.Table,
    contract: Contract,
    *,
    now: float | None,
    history: Sequence[int],
    tables: dict[str, pa.Table],
) -> list[Finding]:
    """Return the finding of each rule of a contract, in the contract's order. Columns are checked in parallel."""
    found: list[Finding] = [*_presence(table, contract)]
    there = set(table.column_names)
    present = [name for name in contract.columns if name in there]
    work: list[Callable[[], list[Finding]]] = [
        lambda name=name: check_column(name, contract.columns[name], table.column(name), contract.otherwise)  # type: ignore[misc]
        for name in present
    ]
    with ThreadPoolExecutor(engine.cpus()) as threads:
        for findings in threads.map(lambda call: call(), work):
            found += findings
    found += _uniqueness(table, contract)
    found += check_relations(table, contract.relations, contract.otherwise) if contract.relations else []
    found += _references(table, contract, tables)
    found += [_freshness(table, fresh, contract, now) for fresh in contract.fresh]
    found += _volume(len(table), contract.rows, contract, history) if contract.rows is not None else []
    return found


def _presence(table: pa.Table, contract: Contract) -> Iterator[Finding]:
    distinct(table)
    names = set(table.column_names)
    for name, column in contract.columns.items():
        there = name in names
        if not there and not column.required:
            continue
        near = [] if there else difflib.get_close_matches(name, table.column_names, 1)
        lacking = f"there is no column `{name}`" + (f"; there is `{near[0]}`" if near else "")
        action = column.action("column", contract.otherwise)
        why = "it is there" if there else lacking
        yield Finding(rule=f"{name}: column", action=action, holds=there, why=why)
    extra = [name for name in table.column_names if name not in contract.columns]
    if contract.columns and contract.extra != "allow":
        told = f"the contract doesn't name {', '.join(f'`{name}`' for name in extra)}" if extra else "there are none"
        yield Finding(rule="extra columns", action=contract.extra, holds=not extra, why=told)


def _uniqueness(table: pa.Table, contract: Contract) -> Iterator[Finding]:
    for name, column in contract.columns.items():
        if column.unique and name in table.column_names:
            rows = repeated_rows([table.column(name)])
            action = column.action("unique", contract.otherwise)
            yield of_rows(f"{name}: unique", action, rows, len(table), (name,), "the first with their value")
    for key in contract.unique:
        rows = repeated_rows(columns(table, key.columns, "a unique key"))
        rule, action = f"unique: {', '.join(key.columns)}", key.otherwise or contract.otherwise
        yield of_rows(rule, action, rows, len(table), key.columns, "the first with their key")


def _references(table: pa.Table, contract: Contract, tables: dict[str, pa.Table]) -> Iterator[Finding]:
    for reference in contract.references:
        if reference.table not in tables:
            hint = f"give it: `ingest.check(table, contract, {reference.table}=...)`"
            raise UsageError(
                f"contract `{contract.name}` refers to a table `{reference.table}`, which wasn't given", hint=hint
            )
        keys = columns(tables[reference.table], reference.keys or reference.columns, f"table `{reference.table}`")
        rows = strange_rows(columns(table, reference.columns, "a reference"), keys)
        rule = f"reference: {', '.join(reference.columns)} in {reference.table}"
        action = reference.otherwise or contract.otherwise
        yield of_rows(rule, action, rows, len(table), reference.columns, f"to be found in `{reference.table}`")


def _freshness(table: pa.Table, fresh: Fresh, contract: Contract, now: float | None) -> Finding:
    if now is None:
        hint = "give it: `ingest.check(table, contract, now=hr.now())`"
        raise UsageError(f"contract `{contract.name}` has a rule on freshness, and no `now` was given", hint=hint)
    rule, action = f"fresh: {fresh.column} within {fresh.within}", _of_whole(fresh.otherwise, contract)
    column = columns(table, [fresh.column], "a rule on freshness")[0]
    if not pa.types.is_timestamp(column.type) and not pa.types.is_date(column.type):
        return Finding(rule=rule, action=action, holds=None, why=f"`{fresh.column}` is `{column.type}`, not a time")
    newest = value_of(pc.max(column))
    if newest is None:
        return Finding(rule=rule, action=action, holds=None, why="there is no time in it")
    if isinstance(newest, str):
        return Finding(rule=rule, action=action, holds=None, why=f"its newest time is no day of a calendar: {newest}")
    at = newest if isinstance(newest, datetime) else datetime(newest.year, newest.month, newest.day, tzinfo=UTC)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    age_s = now - at.timestamp()
    why = f"the newest is {at:%Y-%m-%d %H:%M:%S %Z}, {abs(age_s) / 3600:,.1f} h {'ago' if age_s >= 0 else 'ahead'}"
    return Finding(rule=rule, action=action, holds=age_s <= seconds(fresh.within, name="within"), why=why)


def _volume(count: int, rows: Rows, contract: Contract, history: Sequence[int]) -> list[Finding]:
    action = _of_whole(rows.otherwise, contract)
    found = []
    if rows.least is not None or rows.most is not None:
        low, high = rows.least or 0, rows.most
        holds = count >= low and (high is None or count <= high)
        wanted = f"at least {low:,}" + ("" if high is None else f" and at most {high:,}")
        why = f"there are {count:,} rows, and there must be {wanted}"
        found.append(Finding(rule="rows", action=action, holds=holds, why=why))
    if rows.shrink is None and rows.grow is None:
        return found
    rule = "rows beside earlier versions"
    if not history:
        why = "there are no earlier versions to compare with"
        return [*found, Finding(rule=rule, action="warn", holds=None, why=why)]
    usual = statistics.median(history)
    floor, ceiling = usual * (rows.shrink or 0.0), None if rows.grow is None else usual * rows.grow
    holds = count >= floor and (ceiling is None or count <= ceiling)
    wanted = f"at least {floor:,.0f}" + ("" if ceiling is None else f" and at most {ceiling:,.0f}")
    why = (
        f"there are {count:,} rows; {len(history)} earlier versions have {usual:,.0f} in the median, so there must be"
        f" {wanted}"
    )
    return [*found, Finding(rule=rule, action=action, holds=holds, why=why)]


def _of_whole(told: Action | None, contract: Contract) -> Action:
    """Return the action of a rule about the whole table: the rule's own action `told`, or the contract's `otherwise` if
    `told` is None. Such a rule has no rows to quarantine, so `stop` takes the place of `quarantine`."""
    action = told or contract.otherwise
    return "stop" if action == "quarantine" else action


def _stops(finding: Finding) -> bool:
    return finding.action == "stop" or (finding.action == "quarantine" and finding.holds is None)


def _parted(table: pa.Table, findings: Sequence[Finding]) -> tuple[pa.Table, pa.Table]:
    """Return two tables: the rows that stay, and the rows to quarantine. The second table also has each row's place in
    the input table, and the rules that the row breaks."""
    sorting = [finding for finding in findings if finding.action != "warn" and len(finding.rows)]
    names = pa.array([finding.rule for finding in sorting], pa.string())
    places = np.concatenate([finding.rows for finding in sorting]) if sorting else np.empty(0, np.int64)
    rules = np.repeat(np.arange(len(sorting)), [len(finding.rows) for finding in sorting])
    order = np.lexsort((rules, places))
    places, rules = places[order], rules[order]
    bad, starts = np.unique(places, return_index=True) if len(places) else (places, np.empty(0, np.int64))
    offsets = pa.array(np.append(starts, len(places)).astype(np.int32))
    reasons = pa.ListArray.from_arrays(offsets, names.take(pa.array(rules, pa.int64())))
    quarantine = rows_at(table, bad) if len(bad) else table.slice(0, 0)
    quarantine = quarantine.append_column(free_name(PLACE, table), pa.array(bad, pa.int64()))
    quarantine = described(quarantine.append_column(free_name(REASONS, table), reasons), table)
    if not len(bad):
        return table, quarantine
    keep = np.ones(len(table), dtype=bool)
    keep[bad] = False
    return rows_where(table, keep), quarantine


def _too_many(bad: int, total: int, contract: Contract, findings: Sequence[Finding]) -> Finding:
    part = f"{bad:,} of {total:,} rows ({share(bad, total)})"
    most = f"at most {100 * contract.most_quarantined:.3g}% of all may"
    why = f"{part} break a rule that quarantines rows, {_sorters(findings)}; {most}"
    return Finding(rule=MOST, action="stop", holds=False, why=why)


def _stop(contract: Contract, stopping: Sequence[Finding], broken: int) -> None:
    told = "; ".join(f"`{finding.rule}`: {finding.why}" for finding in stopping[:EXAMPLES]) + _beyond(stopping)
    count = f"{broken} rules are broken" if broken > 1 else "1 rule is broken"
    if broken > len(stopping):
        count += f", of which {len(stopping)} {'stops' if len(stopping) == 1 else 'stop'} the check"
    raise DataError(f"contract `{shown(contract.name)}`: {count}: {told}", hint=_help(stopping))


def _help(stopping: Sequence[Finding]) -> str:
    """Return the hint of the error that stops the check; `stopping` are the findings that stop it. The hint proposes
    `quarantine` only if one of these findings is about single rows."""
    if all(finding.rule == MOST for finding in stopping):
        most = "a higher `most_quarantined` quarantines more rows and continues"
        return f"correct the source or these rules; {most}; {_PASSED}"
    ways = []
    if any(finding.rule.endswith(": type") for finding in stopping):
        ways.append("`schema=` sets the types that `ingest.files` reads")
    if any(len(finding.rows) for finding in stopping):
        ways.append('`otherwise = "quarantine"` moves the rows to the quarantine')
    ways.append('`otherwise = "warn"` only warns')
    return f"correct the source or the contract; {', '.join(ways)}; {_PASSED}"
