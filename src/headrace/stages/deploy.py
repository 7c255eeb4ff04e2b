"""The stage that makes a model answer requests.

    deploy.endpoint(model, "delays", when=report.passed)
    deploy.endpoint(model, "delays", canary=0.1, when=report.passed)

It registers the model as a version and changes the route of the endpoint, in the transaction that records the task's
success. `headrace endpoints` lists where requests go, and `headrace promote`, `route`, `rollback` and `retire` change
it by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from headrace.define.attempt import attempt
from headrace.define.stage import ready
from headrace.errors import UsageError
from headrace.models.fitting import check_about
from headrace.models.signature import signature_for
from headrace.spec.endpoint import CANARY, MAIN, SHADOW, UNSERVABLE_HINT, check_key_and_time, sole, takes, unservable
from headrace.spec.intent import Deploy
from headrace.spec.report import Report
from headrace.stages.registry import Entry, check_model, registration


def _check(given: Mapping[str, Any]) -> None:
    check_model(given)
    if isinstance(name := given.get("name"), str):
        sole(name, 1)  # it refuses names that can't be in a URL
    canary = given.get("canary")
    if canary is not None and (isinstance(canary, bool) or not isinstance(canary, int | float) or not 0 <= canary <= 1):
        raise UsageError(f"`canary` is {canary!r}, and a share is from 0 to 1", hint="0.1 is a tenth of the requests")
    check_key_and_time(given.get("key"), given.get("time"))
    if canary is not None and given.get("shadow") is True:
        raise UsageError(
            "`canary` and `shadow` exclude each other",
            hint="a canary answers a share of the requests, a shadow gets a copy of all and answers none",
        )


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
) -> Entry:
    """Register a model as the next version under a name, and let the endpoint of this name answer with it. A model that
    is already registered under this name keeps its version.

    The version becomes the endpoint's variant `production`, and gets all requests that no other variant gets. With
    `canary`, a share from 0 to 1, it becomes the variant `canary` and gets this share of the requests. With `shadow`,
    it gets a copy of each request, and its answers are kept but not returned. An endpoint that doesn't exist yet sends
    all requests to the version. Outside of a run, nothing is deployed.

    `key` and `time` name the columns of a record that tell whom and when its answer is about, such as `"customer"` and
    `"day"`. Each record must have them then, also if the model doesn't take them: they are logged, and not passed to
    the model. Without them, an endpoint keeps those that it has.

    `model`, `report`, `note`, `preparation` and `signature` mean the same as for `registry.model`.

    Raises:
        UsageError: the name is invalid, `canary` isn't a share or is given with `shadow`, the model can't answer
            requests, its report has not passed, it takes the column `time` as something else, or `registry.model` would
            refuse the model or its preparation.
    """
    _check({"name": name, "canary": canary, "shadow": shadow, "key": key, "time": time})
    reports = [each for each in (report, *(report if isinstance(report, tuple) else ())) if isinstance(each, Report)]
    if not shadow and (failed := [each.title for each in reports if each.passed is False]):
        raise UsageError(
            f"the model's report has not passed, so it isn't deployed: {failed[0]}",
            hint="deploy it only if it has passed: `when=report.passed`; or as a shadow, which answers nobody",
        )
    del model, preparation
    asked = registration("model", name, (), note, None if signature is None else signature_for(signature))
    if asked is not None:
        if (why := unservable(asked.out, asked.preparation)) is not None:
            raise UsageError(f"the model can't answer requests: {why}", hint=UNSERVABLE_HINT)
        check_about(takes(asked.out, asked.preparation), key, time)
        variant = SHADOW if shadow else MAIN if canary is None else CANARY
        share = None if canary is None else float(canary)
        attempt().intend(asked)
        attempt().intend(Deploy(name, asked.out.identity, variant, share, key, time))
    return Entry(kind="model", name=name, digest=None if asked is None else asked.out.digest)
