"""The stage that makes a model answer requests; and `batch`, which asks a model about all rows of a table.

    deploy.endpoint(model, "delays", when=report.passed)
    deploy.endpoint(model, "delays", canary=0.1, when=report.passed)

`endpoint` registers the model as a version and changes the route of the endpoint, in the transaction that records the
task's success. `headrace endpoints` lists where requests go, and `headrace promote`, `route`, `rollback` and `retire`
change it by hand.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.define.attempt import attempt
from headrace.define.log import log
from headrace.define.ports import present
from headrace.define.stage import ready
from headrace.errors import FEW, UsageError, listed
from headrace.models.answering import Answering, lacking
from headrace.models.fitting import check_about
from headrace.models.model import Model, model_of
from headrace.models.own_code import Predict, Prepare
from headrace.models.parity import TOLERANCE, check_parity
from headrace.models.signature import signature_for
from headrace.spec.artifact import Ref
from headrace.spec.bundle import OwnFunctions, own_code_ref
from headrace.spec.endpoint import CANARY, MAIN, SHADOW, UNSERVABLE_HINT, check_key_and_time, sole, takes, unservable
from headrace.spec.intent import Deploy, Register
from headrace.spec.report import Report
from headrace.spec.signature import Column, Signature, signature_in
from headrace.stages._batch.batch import batch as batch
from headrace.stages.registry import Entry, check_model, encoded, registration


def _check(given: Mapping[str, Any]) -> None:
    check_model(given)
    if isinstance(name := given.get("name"), str):
        sole(name, 1)  # it refuses names that can't be in a URL
    canary = given.get("canary")
    if canary is not None and (isinstance(canary, bool) or not isinstance(canary, int | float) or not 0 <= canary <= 1):
        raise UsageError(f"`canary` is {canary!r}, and a share is from 0 to 1", hint="0.1 is a tenth of the requests")
    check_key_and_time(given.get("key"), given.get("time"))
    tolerance = given.get("tolerance", TOLERANCE)
    if not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise UsageError(
            f"`tolerance` is {tolerance!r:.80}",
            hint="give a number from 0 up to 1: 1e-5 allows a difference of 1 in 100,000",
        )
    if canary is not None and given.get("shadow") is True:
        raise UsageError(
            "`canary` and `shadow` exclude each other",
            hint="a canary answers a share of the requests, a shadow gets a copy of all and answers none",
        )
    _check_own_code(given)


def _check_own_code(options: Mapping[str, Any]) -> None:
    """Check the functions `prepare` and `predict`, and the options that go with them: `given`, `preparation` and
    `signature`. Options that aren't known yet aren't checked."""
    prepare, predict, given = (options.get(name) for name in ("prepare", "predict", "given"))
    for name, function in (("prepare", prepare), ("predict", predict)):
        if function is not None and (not inspect.isfunction(function) or "." in function.__qualname__):
            raise UsageError(
                f"`{name}` is {function!r:.80}, not a plain function of a module",
                hint="define it at the top level of a module of the project, with `def`",
            )
    if given and prepare is None:
        raise UsageError(
            "`given` has values for the function `prepare`, but `prepare` isn't given",
            hint="give `prepare=`, a function that takes the rows and these values",
        )
    if (first := prepare or predict) is None:
        return
    if options.get("preparation") is not None:
        raise UsageError(
            "a version that has `prepare` or `predict` can't have `preparation` too",
            hint="let `prepare` apply it: `given={'cleaned': cleaned.preparation}`, and `cleaned.apply(rows).table`",
        )
    if "signature" in options and options["signature"] is None:
        raise UsageError(
            f"`{first.__name__}` needs `signature`, which says what columns the rows of clients have",
            hint="give a table with the columns that clients send: `signature=raw`",
        )
    if prepare is not None and "given" in options:
        _check_call(prepare, "the rows and `given`", None, **(given or {}))
    if predict is not None:
        _check_call(predict, "the model and a table", None, None)


def _check_call(function: Callable[..., Any], what: str, *arguments: Any, **given: Any) -> None:
    try:
        inspect.signature(function).bind(*arguments, **given)
    except TypeError as error:
        raise UsageError(
            f"`{function.__name__}` can't be called with {what}: {error}",
            hint="`prepare` is called as `prepare(rows, **given)`, and `predict` as `predict(model, rows)`",
        ) from error


def _check_sample(asked: Register, own: tuple[Any, Any, Any], rows: Signature | None, sample: Any, most: float) -> None:
    """Check that the model gives the same answers for the sample in each way of asking (see `check_parity`). Numbers
    may differ by `most`. `own` has `prepare`, `predict` and `given`. `rows` is the signature of the rows that clients
    send."""
    model: Any = attempt().load(asked.out)
    (prepare, predict, given), signature = own, signature_in(asked.out.signature)
    if rows is not None and (prepare is not None or predict is not None):
        made = None if prepare is None else Prepare(prepare, given or {}, rows)
        asker: Model = model_of(model) if predict is None else Predict(model, predict)
        columns, answering = rows.takes, Answering(asker, None, rows if made is None else signature, made)
    elif asked.preparation is None:
        columns, answering = takes(asked.out, None), Answering(model_of(model), None, signature)
    else:
        preparation: Any = attempt().load(asked.preparation)
        columns = tuple(Column(name=name, type=kind) for name, kind in preparation.columns.items())
        answering = Answering(model_of(model), preparation, signature)
    log("rows compared", check_parity(answering, sample, columns, most))


@ready(
    "deploy.endpoint",
    version=1,
    kind="deploy",
    name="deploy_endpoint",
    cache=False,
    portable=True,
    unread=("model", "preparation"),
    check=_check,
)
def endpoint(
    model: Any,
    name: str,
    *,
    canary: float | None = None,
    shadow: bool = False,
    key: str | None = None,
    time: str | None = None,
    report: Any = None,
    note: str = "",
    preparation: Any = None,
    signature: pa.Table | None = None,
    prepare: Callable[..., pa.Table] | None = None,
    given: dict[str, Any] | None = None,
    predict: Callable[..., pa.Table] | None = None,
    sample: pa.Table | None = None,
    tolerance: float = TOLERANCE,
) -> Entry:
    """Register a model as the next version under a name, and let the endpoint of this name answer with it. A model that
    is already registered under this name keeps its version.

    The version becomes the endpoint's variant `production`, and gets all requests that no other variant gets. If
    `canary` is given (a share from 0 to 1), the version becomes the variant `canary` instead, and gets this share of
    the requests. If `shadow` is True, the version gets a copy of each request, and its answers are kept but not
    returned. An endpoint that doesn't exist yet sends all requests to the version. Outside of a run, nothing is
    deployed.

    `key` and `time` name two columns of the rows that clients send. The column `key` says whom an answer is about, such
    as `"customer"`, and the column `time` says when, such as `"day"`. If these are given, each row must have the
    columns, even if the model doesn't take them. Columns that the model doesn't take are logged, but not passed to it.
    If `key` and `time` aren't given, the endpoint keeps the `key` and `time` that it has.

    `prepare` is a function of the project that converts the rows that clients send to the rows that the model takes. It
    is called with a table, and with the values in `given` as keyword arguments. It returns a table with one row for
    each row that it gets. `predict` is a function of the project that asks the model. It is called with the model and a
    table. It returns a table with the answer for each row in the column `predicted`; the names of further columns begin
    with `predicted_`. If `prepare` or `predict` is given, `signature` must be a table with the columns that clients
    send. Both functions are part of the version: the same model with another function is another version.

    `sample` are rows as clients will send them, such as rows of the test set before `prepare.clean`. The model is asked
    about up to 100 of these rows in three ways: all rows together, each row alone, and each row alone as JSON. If the
    answers for a row differ, the stage fails, and nothing is deployed. Two numbers may differ by `tolerance` times the
    larger one, or by `tolerance` if both are smaller than 1. If the sample has columns named like the model's answers,
    such as `predicted`, the answers must equal the values in these columns. If no sample is given, nothing is compared.

    `model`, `report`, `note` and `preparation` mean the same as for `registry.model`. So does `signature` if neither
    `prepare` nor `predict` is given.

    Raises:
        UsageError: the name is invalid; `canary` isn't a share, or is given with `shadow`; `prepare` or `predict` isn't
            a function of a module, or doesn't take the arguments above; a value in `given` can't be saved in a safe
            form; the model can't answer requests; its report has not passed; the model takes the column `key` or
            `time`, but in a type that can't say whom or when; or `registry.model` would refuse the model or its
            preparation.
        DataError: the model's answers for the sample differ.
    """
    _check({"name": name, "canary": canary, "shadow": shadow, "key": key, "time": time, "tolerance": tolerance})
    _check_own_code({"prepare": prepare, "given": given, "predict": predict, "signature": signature})
    reports = [each for each in (report, *(report if isinstance(report, tuple) else ())) if isinstance(each, Report)]
    if not shadow and (failed := [each.title for each in reports if each.passed is False]):
        raise UsageError(
            f"the model's report has not passed, so it isn't deployed: {failed[0]}",
            hint="deploy it only if it has passed: `when=report.passed`; or as a shadow, which answers nobody",
        )
    del model, preparation
    rows = None if signature is None else signature_for(signature)
    has_code = prepare is not None or predict is not None
    asked = registration("model", name, (), note, None if has_code else rows)
    if asked is not None:
        if has_code and rows is not None:
            asked = replace(asked, preparation=_own_code(prepare, predict, given or {}, encoded(rows)))
        if (why := unservable(asked.out, asked.preparation)) is not None:
            raise UsageError(f"the model can't answer requests: {why}", hint=UNSERVABLE_HINT)
        loaded = None if has_code or asked.preparation is None else attempt().load(asked.preparation)
        if gone := lacking(loaded, asked.out.signature):
            raise UsageError(
                f"the preparation doesn't give {listed(gone, FEW)}, which the model takes",
                hint="give the preparation that made the rows that the model was trained on",
            )
        check_about(takes(asked.out, asked.preparation), key, time)
        if sample is not None:
            _check_sample(asked, (prepare, predict, given), rows, sample, tolerance)
        variant = SHADOW if shadow else MAIN if canary is None else CANARY
        share = None if canary is None else float(canary)
        attempt().intend(asked)
        attempt().intend(Deploy(name, asked.identity, variant, share, key, time))
    return Entry(kind="model", name=name, digest=None if asked is None else asked.out.digest)


def _own_code(prepare: Any, predict: Any, given: dict[str, Any], signature: bytes) -> Ref:
    """Return the artifact of a version's own code: its functions, and the values in `given`, which `prepare` gets."""
    bundle = present.bundle
    assert bundle is not None, "a run has a bundle"
    values = attempt().artifact(given)
    if (part := Codecs().unsafe(values)) is not None:
        raise UsageError(
            f"`given` has a `{part.type.partition('@')[0]}`, which is saved in a form that runs code when it is read",
            hint="give tables, arrays, numbers, texts, files, or models in safe forms",
        )
    functions = OwnFunctions(
        prepare=None if prepare is None else f"{prepare.__module__}:{prepare.__name__}",
        predict=None if predict is None else f"{predict.__module__}:{predict.__name__}",
        signature=signature.decode(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        roots=bundle.roots,
        lock=bundle.lock,
        platform=bundle.platform,
    )
    codes = [ref.identity for name in ("prepare", "predict") if (ref := attempt().ref(name)) is not None]
    return own_code_ref(functions, bundle, values, codes)
