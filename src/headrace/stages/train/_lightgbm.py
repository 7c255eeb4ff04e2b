"""`train.lightgbm`: gradient-boosted trees by LightGBM, fitted to a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.define.log import warn
from headrace.define.stage import ready
from headrace.errors import DataError, UsageError, meant, sentence
from headrace.models.frames import lightgbm_name, with_missing_truths
from headrace.models.hints import are_numbers, to_applied, to_codes, to_numbers
from headrace.spec.report import Fact, Grid, Report
from headrace.stages.tables.columns import listed, rows_at
from headrace.stages.tables.sketch import Sketch, sketch
from headrace.stages.train.callbacks import lightgbm as log_evaluation
from headrace.stages.train.examples import Examples, check_classes, examples, in_valid, there
from headrace.stages.train.signed import sign

REPRODUCIBLE = {"seed": 0, "deterministic": True, "force_row_wise": True, "verbosity": -1}
"""Parameters that are set unless `params` sets them. With `deterministic` and `force_row_wise`, trees don't depend on
the number of threads (see `deterministic` in LightGBM's documentation)."""

OBJECTIVE = ("objective", "objective_type", "app", "application", "loss")
CLASSIFIES = ("binary", "multiclass", "softmax")
"""`OBJECTIVE` has all names of the parameter for the objective. The name of each objective that classifies begins with
one of the texts in `CLASSIFIES`."""
METRIC = ("metric", "metrics", "metric_types")
RANKS = ("lambdarank", "rank_xendcg", "xendcg", "xe_ndcg")
"""The name of each objective that ranks the rows of a group begins with one of these texts."""

MANY_LEVELS = 30
LEVELS_A_ROW = 0.5
"""A column of text probably doesn't hold categories if it has at least `MANY_LEVELS` different texts, and if these are
at least `LEVELS_A_ROW` times as many as the rows."""
MOST_NAMED = 5

_PLACE = re.compile(r" at \S+, line \d+ ?\.")
"""The part of LightGBM's error messages that names a place in LightGBM's source code. This part doesn't help the
user."""
_OTHERWISE = {
    "seed": ("random_seed", "random_state"),
    "verbosity": ("verbose",),
    "force_row_wise": ("force_col_wise",),
}
"""For parameters in `REPRODUCIBLE`: other names of the parameter, or a parameter that contradicts it. If `params` has
one of these, our own value isn't set, since it would silently override the user's."""


class Boosted(NamedTuple):
    """The output of `train.lightgbm`.

    `model` is the booster, cut to its best round. `rounds` is the number of that round, from 1. `history` has a row for
    each round that was tried: `round`, and a column for each metric of each table, such as `valid/binary_logloss`.
    `report` says what the model was fitted to, and how.
    """

    model: Any
    rounds: int
    history: pa.Table
    report: Report


def _check(given: Mapping[str, Any]) -> None:
    """Raise an error if options contradict each other, as far as their values are known.

    Raises:
        UsageError: `stopping_rounds` is given without `valid`, a number of rounds is below 1, or the objective ranks
            and there is no `group`.
    """
    if given.get("stopping_rounds") is not None and given.get("valid", True) is None:
        raise UsageError(
            "`stopping_rounds` is given, but no `valid`", hint="give `valid=`, the rows that tell when to stop"
        )
    for name in ("num_boost_round", "stopping_rounds"):
        if given.get(name) is not None and given[name] < 1:
            raise UsageError(f"`{name}` is {given[name]}", hint="give a whole number from 1")
    if _objective_is(given.get("params", {}), RANKS) and given.get("group", True) is None:
        raise UsageError(
            "the objective ranks rows within groups, but no `group` is given",
            hint='name the column that says which group a row is in, such as `group="query"`',
        )


@ready("train.lightgbm", version=5, on=("lightgbm",), kind="train", name="lightgbm", check=_check)
def lightgbm(
    params: Mapping[str, Any],
    table: pa.Table,
    *,
    target: str,
    features: str | Sequence[str] | None = None,
    categorical_feature: str | Sequence[str] | None = None,
    weight: str | None = None,
    group: str | None = None,
    valid: pa.Table | None = None,
    num_boost_round: int = 100,
    stopping_rounds: int | None = None,
) -> Boosted:
    """Fit boosted trees to a table. Return the booster, its metrics by round, and a report.

    Args:
        params: LightGBM's own parameters, such as `{"objective": "binary", "num_leaves": 31}`. By default the seed is
            0, and the trees don't depend on the number of threads.
        table: the rows to learn from. Columns of text or dictionaries are categories.
        target: the column to predict, in which no value may be missing.
        features: the columns to predict from; by default all other columns.
        categorical_feature: more columns that are categories, such as codes kept as numbers.
        weight: a column with the weight of each row (0 or more).
        group: for an objective that ranks, such as `lambdarank`: the column with the group of each row, such as its
            query. The rows of a group are ranked against each other, and needn't be next to each other.
        valid: rows on which the metrics are computed. In each round, the metrics are logged as `valid/METRIC`.
        num_boost_round: the largest number of rounds.
        stopping_rounds: stop when the first metric on `valid` has not improved for this many rounds.

    Raises:
        DataError: a column is missing; a table is empty; targets are missing, infinite, not numbers, or all of one
            class; or weights are missing, infinite, negative, or all 0.
        UsageError: LightGBM refuses `params`, the objective ranks and there is no `group`, `stopping_rounds` is given
            without `valid`, or a number of rounds is below 1.
    """
    import lightgbm as lgb  # noqa: PLC0415  1 s, which the tracer saves

    _check(
        {
            "params": params,
            "valid": valid,
            "group": group,
            "stopping_rounds": stopping_rounds,
            "num_boost_round": num_boost_round,
        }
    )
    _check_known(params)
    given = table
    table, sizes = _grouped(with_missing_truths(table), group)
    found = _categories(_examples(table, target, features, weight, group), listed(categorical_feature))
    if _objective_is(params, CLASSIFIES):
        check_classes(found, target)
    if _objective_is(params, ("binary",)):
        _check_two(found, target)
    _check_names(list(found.features))
    learned = _dataset(found, target, sizes)
    watched = [learned]
    if valid is not None:
        with in_valid(valid):
            valid, held_sizes = _grouped(with_missing_truths(valid), group)
            held = examples(valid, target, list(found.features), weight)
        held = _like(held, found)
        watched = [_dataset(held, target, held_sizes, learned)]
    curves: dict[str, dict[str, list[float]]] = {}
    live = log_evaluation()
    callbacks: list[Callable[..., Any]] = [lgb.record_evaluation(curves), live]
    if any(_asks(params.get(name)) for name in METRIC):
        callbacks.append(_check_measured)
    if stopping_rounds is not None:
        callbacks.append(lgb.early_stopping(stopping_rounds, first_metric_only=True, verbose=False))
    settings = _settings(params)
    try:
        booster = lgb.train(
            settings,
            learned,
            num_boost_round,
            valid_sets=watched,
            valid_names=["train" if valid is None else "valid"],
            callbacks=callbacks,
        )
    except (lgb.basic.LightGBMError, ValueError) as error:
        told = _PLACE.sub("", str(error)).strip()
        raise UsageError(f"LightGBM: {told}", hint="look at `params`, and at the target") from error
    rounds = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    # Converted to text and back, so that the model is the same as one that is read from the store.
    text = booster.model_to_string(num_iteration=rounds)
    if valid is not None and stopping_rounds is not None:
        text = _chosen_on(text, sketch(valid, list(found.features)))
    model = lgb.Booster(model_str=text)
    sign(model, given, list(found.features))
    history = _history(curves)
    return Boosted(model, rounds, history, _report(model, found, target, settings, rounds, history, live.cut))


def _chosen_on(text: str, rows: Sketch | None) -> str:
    """Return `text`, a LightGBM model as text, with a sketch of the rows that were used to choose the round.

    The sketch is written into the text as the name of the validation data. From the sketch, an evaluation sees whether
    it judges the model on the same rows.
    """
    return text if rows is None else text.replace("\n[valid: ]\n", f"\n[valid: {rows.text()}]\n", 1)


def _check_names(names: Sequence[str]) -> None:
    """Raise an error if two features have the same name in LightGBM."""
    seen: dict[str, str] = {}
    for name in names:
        kept = lightgbm_name(name)
        if kept in seen:
            told = f"LightGBM doesn't tell the features `{seen[kept]}` and `{name}` apart: both are `{kept}` to it"
            raise DataError(told, hint="rename one of them first")
        seen[kept] = name


def _dataset(found: Examples, target: str, sizes: Any, learned: Any = None) -> Any:
    """Return examples as a LightGBM dataset. If `learned` is given, use the bins of that dataset."""
    import lightgbm as lgb  # noqa: PLC0415  see above

    named = found.features.set_axis([lightgbm_name(each) for each in found.features], axis=1)
    labels = _labels(found, target)
    _check_held(labels, f"the target `{target}`")
    if found.weight is not None:
        _check_held(found.weight, "the column of weights")
    return lgb.Dataset(
        named,
        labels,
        weight=found.weight,
        group=sizes,
        reference=learned,
        free_raw_data=learned is not None,
    )


def _check_held(values: Any, what: str) -> None:
    """Raise an error if a number is too large for LightGBM, which stores numbers in 32 bits and would treat this one as
    infinite.

    Raises:
        DataError: a number is too large; the message names the largest.
    """
    largest = np.abs(values.astype(np.float64)).max()
    if largest > np.finfo(np.float32).max:
        raise DataError(
            f"{what} has values as large as {largest:.3g}, which LightGBM treats as infinite",
            hint="scale them to below 3e38",
        )


def _objective_is(params: Mapping[str, Any], kinds: tuple[str, ...]) -> bool:
    return any(str(params.get(name, "")).startswith(kinds) for name in OBJECTIVE)


def _examples(
    table: pa.Table, target: str, features: str | Sequence[str] | None, weight: str | None, group: str | None
) -> Examples:
    """Return features, target and weights of a table. The column `group` is a feature only if `features` names it."""
    if features is None and group is not None:
        features = [each for each in table.column_names if each not in (target, weight, group)]
    return examples(table, target, features, weight)


def _grouped(table: pa.Table, group: str | None) -> tuple[pa.Table, Any]:
    """Return the table and the sizes of its groups. The table is sorted so that the rows of each group are together, as
    LightGBM requires."""
    if group is None:
        return table, None
    there(table, group)
    column = table[group].combine_chunks()
    if column.null_count:
        raise DataError(
            f"{column.null_count:,} of {table.num_rows:,} rows have no group in `{group}`",
            hint="filter them out in an earlier stage: they have no group to be ranked in",
        )
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    codes = plain.dictionary_encode().indices.to_numpy()
    if (np.diff(codes) < 0).any():
        table = rows_at(table, np.argsort(codes, kind="stable"))
    return table, np.bincount(codes)


def _asks(metric: object) -> bool:
    return metric is not None and not (isinstance(metric, str) and metric.lower() in _NO_METRIC)


_NO_METRIC = ("", "none", "null", "na", "custom")


def _check_measured(env: Any) -> None:
    """Raise an error if LightGBM knows none of the metrics in `params`: it would train without measuring anything."""
    if not env.evaluation_result_list:
        asked = next(env.params[name] for name in METRIC if name in env.params)
        raise UsageError(f"LightGBM knows no metric `{asked}`", hint="its documentation lists them, such as `auc`")


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `params`, with our own defaults for parameters that it doesn't set."""
    silent = [name for name in REPRODUCIBLE if not any(each in params for each in _OTHERWISE.get(name, ()))]
    return {**{name: REPRODUCIBLE[name] for name in silent}, **params}


def _check_known(params: Mapping[str, Any]) -> None:
    """Raise an error if `params` has a name that LightGBM doesn't know. LightGBM itself would only warn, and ignore the
    parameter."""
    import lightgbm as lgb  # noqa: PLC0415  see above

    aliases = lgb.basic._ConfigAliases._get_all_param_aliases()  # the library's own list; it has no public name
    known = {*aliases, *(each for names in aliases.values() for each in names)}
    for name in params:
        if name not in known:
            hint = meant(name, aliases, "its documentation lists them")
            raise UsageError(f"LightGBM has no parameter `{name}`", hint=hint)


def _categories(found: Examples, names: Sequence[str]) -> Examples:
    """Return the examples with text columns and the named columns as pandas categories."""
    frame = found.features
    texts = [name for name in frame.columns if frame[name].dtype.kind == "O" or str(frame[name].dtype) in _TEXT]
    strange = [name for name in names if name not in frame.columns]
    if strange:
        raise UsageError(
            f"`categorical_feature` names `{strange[0]}`, which is not a feature", hint="name columns of `features`"
        )
    odd = [name for name in frame.columns if _is_odd(frame[name])]
    if odd:
        raise DataError(
            f"the feature `{odd[0]}` holds times, bytes or nested values, and LightGBM takes numbers and texts",
            hint="convert it to numbers in an earlier stage, or name other columns by `features=`",
        )
    taken = frame.astype(dict.fromkeys([*texts, *names], "category"))
    _warn_of_many_levels([taken[name] for name in taken.columns if name not in names])
    return found._replace(features=taken)


def _warn_of_many_levels(columns: Sequence[Any]) -> None:
    """Warn of columns of categories with many different texts for their number of rows, such as IDs or free texts."""
    many = []
    for column in columns:
        if str(column.dtype) == "category" and column.cat.categories.dtype.kind not in "iufb":
            levels, known = column.nunique(), int(column.notna().sum())
            if levels >= MANY_LEVELS and levels >= LEVELS_A_ROW * known:
                many.append(f"`{column.name}` ({levels:,} different texts in {known:,} rows)")
    if many:
        more = f" and {len(many) - MOST_NAMED:,} more" if len(many) > MOST_NAMED else ""
        kind, it = ("is taken as a category", "it") if len(many) == 1 else ("are taken as categories", "them")
        warn(
            f"{', '.join(many[:MOST_NAMED])}{more} {kind}, and other rows will hardly have these texts: leave {it} out"
            f" (`features=`), or make numbers of {it}"
        )


def _is_odd(column: Any) -> bool:
    """Return whether a column's values or categories are neither numbers nor text."""
    values = column.cat.categories if str(column.dtype) == "category" else column
    return values.dtype.kind in "mM" or (
        values.dtype.kind == "O" and not all(isinstance(each, str) for each in values.dropna())
    )


_TEXT = ("str", "string", "large_string")


def _like(held: Examples, learned: Examples) -> Examples:
    """Return the examples `held` with the column types of the examples `learned`, which the model has learned from.
    Categories that the model hasn't learned count as missing.

    Raises:
        DataError: a column has values that can't be converted.
    """
    frame = held.features
    wanted = {}
    for name, kind in learned.features.dtypes.items():
        lacks = kind.kind in "iub" and frame[name].isna().any()  # integers and booleans can't be missing
        wanted[name] = "float64" if lacks else kind
        try:
            frame[name].astype(wanted[name])
        except (TypeError, ValueError) as error:
            is_text = frame[name].dtype.kind == "O" or str(frame[name].dtype) in _TEXT
            raise DataError(
                f"the feature `{name}` is `{kind}` in the table, but not in `valid`: {sentence(error)}",
                hint=to_applied(name, frame[name]) if is_text else "give both the same types",
            ) from error
    return held._replace(features=frame.astype(wanted))


def _labels(found: Examples, target: str) -> Any:
    """Return the target as numbers. LightGBM requires classes as 0, 1, ..."""
    if found.target.dtype.kind == "b":
        return found.target.astype("int8")
    if found.target.dtype.kind not in "iuf":
        texts = sorted({each for each in found.target.tolist() if isinstance(each, str)})
        hint = to_codes(target, texts) if texts else "number the classes 0, 1, 2, ... in an earlier stage"
        raise DataError(
            f"the target `{target}` holds `{found.target[0]}`, and LightGBM takes numbers",
            hint=to_numbers([target]) if texts and are_numbers(texts) else hint,
        )
    return found.target


def _check_two(found: Examples, target: str) -> None:
    """Raise an error if the objective `binary` wouldn't separate the target's values. There must be two values, and
    exactly one of them must be above 0: LightGBM silently treats all values above 0 as one class, and all others as the
    other."""
    values = np.unique(_labels(found, target))
    if len(values) != 2 or values[0] > 0 or values[1] <= 0:
        shown = ", ".join(f"{each:g}" for each in values[:3]) + (", ..." if len(values) > 3 else "")
        raise DataError(
            f"`binary` takes the classes 0 and 1, and the target `{target}` holds {shown}",
            hint="number the classes 0 and 1 in an earlier stage, or use another objective: `multiclass`, `regression`",
        )


def _history(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> pa.Table:
    columns = {f"{part}/{metric}": list(values) for part, found in curves.items() for metric, values in found.items()}
    count = max((len(values) for values in columns.values()), default=0)
    return pa.table({"round": pa.array(range(1, count + 1), pa.int64()), **columns})


def _report(
    model: Any, found: Examples, target: str, settings: Mapping[str, Any], rounds: int, history: pa.Table, cut: str
) -> Report:
    gains = sorted(zip(found.features, model.feature_importance("gain"), strict=True), key=lambda each: -each[1])
    total = sum(gain for _, gain in gains) or 1.0
    best = [
        Fact(name=name, value=history[name][rounds - 1].as_py()) for name in history.column_names if name != "round"
    ]
    return Report(
        title="LightGBM",
        about=f"Fitted to {len(found.features):,} rows of {len(gains)} features, to predict `{target}`.",
        facts=(Fact(name="rows", value=len(found.features)), Fact(name="rounds", value=rounds), *best),
        grids=(
            Grid(
                title="Parameters", columns=("parameter", "value"), rows=tuple((k, str(v)) for k, v in settings.items())
            ),
            Grid(
                title="Features by gain",
                columns=("feature", "share of gain"),
                rows=tuple((name, round(float(gain) / total, 4)) for name, gain in gains[:20]),
                note="The first 20 at most. Gain says what the trees used, not what causes the target.",
            ),
        ),
        limits=(
            "The metrics are too good on rows that were used to decide when to stop: `evaluate` judges on others.",
            *([f"{cut}: this is not the whole training"] if cut else []),
        ),
    )
