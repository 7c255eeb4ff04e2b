"""At take-off: how many minutes late will it land? From a database, a web service, files and logs to two judged models.

python world.py headrace run arrivals
"""

import os

import optuna
import pyarrow as pa
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

import headrace as hr
from headrace.stages import evaluate, ingest, prepare, registry, train

SERVICE = os.environ.get("WEATHER", "http://127.0.0.1:8000")
TAKE_OFF = r"(?P<at>\S+) OFF (?P<flight_id>\d+) (?P<origin>[A-Z]{3})"
TOWER = pa.schema([("at", pa.timestamp("s", "UTC")), ("flight_id", pa.int64()), ("origin", pa.string())])
PLANES = [
    prepare.Trim(columns="*"),
    prepare.Map(
        columns="manufacturer",
        values={"AIRBUS INDUSTRIE": "AIRBUS", "MCDONNELL DOUGLAS AIRCRAFT CO": "MCDONNELL DOUGLAS"},
    ),
    prepare.Clip(columns="seats", min=1, max=500),
    prepare.Drop(where="year < 1970", quarantine=True),  # registered under the number of a plane long scrapped
    prepare.Deduplicate(columns=("tailnum",)),
]
JOINED = """
    with scheduled as (
        select
            *, cast(time_hour as timestamp) as planned_hour,
            planned_hour + to_minutes(cast(minute as int)) as planned
        from flights
        where arr_delay is not null
    )
    select
        scheduled.id, planned, cast(planned as date) as day, carrier, scheduled.origin,
        cast(distance as double) as distance,
        cast(date_diff('minute', planned, cast(tower.at as timestamp)) as double) as left_late,
        cast(date_part('hour', planned) as double) as hour,
        coalesce(temp, 50.0) as temp, coalesce(wind_speed, 10.0) as wind_speed,
        coalesce(precip, 0.0) as precip, coalesce(visib, 10.0) as visib,
        coalesce(cast(seats as double), 150.0) as seats,
        cast(arr_delay as double) as landed_late
    from scheduled
    join tower on tower.flight_id = scheduled.id
    left join weather
        on weather.origin = scheduled.origin and cast(weather.time_hour as timestamp) = scheduled.planned_hour
    left join planes on planes.tailnum = scheduled.tailnum
    order by planned, scheduled.id
"""
FEATURES = ["distance", "left_late", "hour", "temp", "wind_speed", "precip", "visib", "seats"]
TARGET = "landed_late"
USEFUL = "MAE < baseline with 95% confidence"
NO_WORSE = "MAE < baseline and MAE less previous <= 0.5 with 95% confidence"
"""Half a minute is what a newer model may be worse by, since days differ more than models do."""


class Net(torch.nn.Module):
    """Two layers over features of very different scales, which a batch norm evens out."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.BatchNorm1d(inputs), torch.nn.Linear(inputs, 32), torch.nn.ReLU(), torch.nn.Linear(32, outputs)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def trees(learning_rate: float, max_leaf_nodes: int) -> HistGradientBoostingRegressor:
    """Trees that care for the typical error, not for the few flights that lose half a day."""
    return HistGradientBoostingRegressor(
        loss="absolute_error", learning_rate=learning_rate, max_leaf_nodes=max_leaf_nodes, max_iter=60, random_state=0
    )


def error(trial: optuna.Trial, table: pa.Table, valid: pa.Table) -> float:
    """The mean error in minutes on the rows to choose by."""
    model = trees(trial.suggest_float("learning_rate", 0.03, 0.3, log=True), trial.suggest_int("max_leaf_nodes", 7, 63))
    model.fit(table.select(FEATURES).to_pandas(), table[TARGET].to_numpy())
    return float(abs(model.predict(valid.select(FEATURES).to_pandas()) - valid[TARGET].to_numpy()).mean())


@hr.stage(kind="train")
def fit(params: dict, table: pa.Table, valid: pa.Table) -> train.Fitted:
    """The trees, with the parameters that the search found."""
    scoring = ["neg_mean_absolute_error"]
    return train.sklearn(trees(**params), table, target=TARGET, features=FEATURES, valid=valid, scoring=scoring)


@hr.pipeline
def arrivals(trials: int = 4, epochs: int = 4) -> None:
    """Read four sources, learn two models, judge both beside the delay at take-off and the version before.

    The trees become the next version of `arrivals` if they are of use, and no worse than the last.
    """
    with hr.options(retries=2):
        flights = ingest.sql(
            "sqlite:///world/warehouse.db",
            "select * from flights",
            mode="increment",
            watermark="id",
            key="id",
            cursor="arrivals/flights",
        )
        weather = ingest.http(f"{SERVICE}/weather", paginate="next", rows="rows", allow_private=True)
        planes = prepare.clean(ingest.files("world/planes/*.csv"), PLANES)
        tower = ingest.logs("world/tower/*.log*", pattern=TAKE_OFF, schema=TOWER)
    table = prepare.transform(sql=JOINED, flights=flights.table, weather=weather, planes=planes.table, tower=tower.rows)
    # of fewer than ten days nothing is known of how far a day may be off, so there are more in the test than is usual
    parts = prepare.split(
        table, by="time", time="planned", key="id", target=TARGET, train=0.6, valid=0.1, test=0.3, leak="warn"
    )
    found = train.search(error, trials=trials, parallel=2, table=parts.train, valid=parts.valid)
    boosted = fit(found.params, parts.train, parts.valid)
    net = train.torch(
        Net, parts.train, target=TARGET, features=FEATURES, valid=parts.valid, loss="L1Loss", batch_size=256,
        epochs=epochs, procs=2,
    )  # fmt: skip
    before = registry.find("model", "arrivals")
    judged, _ = (
        evaluate.regression(
            model,
            parts.test,
            target=TARGET,
            features=FEATURES,
            train=parts.train,
            key="id",
            baseline="left_late",
            previous=before,
            slices=["origin", "carrier"],
            groups="day",
            gates=USEFUL,
        )
        for model in (boosted.model, net.model)
    )
    good = evaluate.gate(judged.report, NO_WORSE if before.version else USEFUL)
    registry.model("arrivals", boosted.model, report=judged.report, when=good)
