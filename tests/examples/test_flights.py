"""The flights example, on its real data: times, what features may know, the model, its scores and its report."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
import pytest
from blake3 import blake3

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
sys.path.insert(0, str(EXAMPLE))  # as a project's own folder is on the path when its pipelines run

from delays import cleaning, client, features, learning, sources  # noqa: E402 - see above
from headrace.backends.processes.namespace import works  # noqa: E402
from headrace.models.fitting import table_of  # noqa: E402
from headrace.models.own_code import Prepare  # noqa: E402
from headrace.models.signature import signature_for  # noqa: E402
from headrace.stages import evaluate, ingest, prepare  # noqa: E402
from headrace.stages.train import Boosted  # noqa: E402
from tests.cli.test_serve import serving  # noqa: E402
from tests.projects import Project  # noqa: E402

MONTHS = [1, 2, 3]
OUTCOMES = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


class World:
    """The raw tables, some months of them, and what is made of them."""

    def __init__(self, flights: pa.Table, weather: pa.Table, planes: pa.Table, airports: pa.Table) -> None:
        self.raw, self.raw_weather, self.planes, self.airports = flights, weather, planes, airports
        self.flights = cleaning.clean_flights(flights, airports)
        self.weather = cleaning.clean_weather(weather)
        self.features = features.build_features(self.flights, self.weather, planes, airports)

    def altered(self, flights: pd.DataFrame, weather: pd.DataFrame) -> "World":
        return World(
            pa.Table.from_pandas(flights, self.raw.schema, preserve_index=False),
            pa.Table.from_pandas(weather, self.raw_weather.schema, preserve_index=False),
            self.planes,
            self.airports,
        )


@pytest.fixture(scope="module")
def world() -> World:
    edition = sources.release()
    flights, weather, planes, airports = (
        sources.read(name, edition) for name in ("flights", "weather", "planes", "airports")
    )
    wanted = pa.array(MONTHS)
    flights = flights.filter(pc.is_in(flights["month"], wanted))
    weather = weather.filter(pc.is_in(weather["month"], wanted))
    return World(flights, weather, planes, airports)


@pytest.fixture(scope="module")
def whole_year() -> pa.Table:
    """Clean flights of all months."""
    edition = sources.release()
    return cleaning.clean_flights(sources.read("flights", edition), sources.read("airports", edition))


def keyed(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index(["scheduled_dep", "carrier", "flight", "origin"])


def raw_with_times(world: World) -> pd.DataFrame:
    """The raw flights, each with its `scheduled_dep`, `scheduled_arr` and `landed` in UTC."""
    raw = world.raw.to_pandas()
    raw["scheduled_dep"] = pd.to_datetime(raw["time_hour"], utc=True) + pd.to_timedelta(raw["minute"], unit="min")
    clean = keyed(world.flights.to_pandas())[["scheduled_arr", "landed"]]
    return raw.join(clean, on=["scheduled_dep", "carrier", "flight", "origin"])


def some_flights(world: World, count: int) -> pd.DataFrame:
    """Flights of the last month, of evenings too, when much is late and in the air."""
    table = world.features.to_pandas()
    late_in_day = table[(table["month"] == MONTHS[-1]) & (table["minute_of_day"] > 15 * 60)]
    return late_in_day.sample(count, random_state=7)


def features_of(world: World, flight: pd.Series) -> pd.Series:
    row = keyed(world.features.to_pandas()).loc[
        [(flight["scheduled_dep"], flight["carrier"], flight["flight"], flight["origin"])]
    ]
    assert len(row) == 1
    return row.iloc[0][[name for name in features.FEATURES if name not in ("carrier", "origin")]]


# --- times


def test_the_clock_at_the_destination_shows_the_recorded_arrival(world: World) -> None:
    """The landing time comes from the schedule, zones and the delay; the recorded clock time is another column."""
    raw = raw_with_times(world).dropna(subset=["landed"])
    zones = world.airports.to_pandas().set_index("faa")["tzone"].to_dict()
    wrong = 0
    for zone, rows in raw.groupby(raw["dest"].map(zones).fillna(cleaning.ATLANTIC_ZONE)):
        local = rows["landed"].dt.tz_convert(zone)
        wrong += (local.dt.hour * 100 + local.dt.minute != rows["arr_time"] % 2400).sum()
    assert wrong == 1  # of 77,911: it landed in the night when clocks went forward, at 02:03, which there wasn't


def test_no_flight_lands_before_it_could(world: World) -> None:
    raw = raw_with_times(world).dropna(subset=["landed"])
    flown = raw["scheduled_dep"] + pd.to_timedelta(raw["dep_delay"] + raw["air_time"], unit="min")
    assert (raw["landed"] > flown).all()


def test_flights_end_in_one_of_three_ways_and_only_landed_ones_have_a_label(whole_year: pa.Table) -> None:
    table = whole_year.to_pandas()
    assert table["status"].value_counts().to_dict() == {"landed": 327_346, "cancelled": 8_255, "diverted": 1_175}
    landed = table["status"] == "landed"
    assert table["late"].notna().equals(landed)
    assert table["landed"].notna().equals(landed)
    assert (table["late"][landed] == (table["arr_delay"][landed] >= 15)).all()


def test_an_airport_without_a_time_zone_is_refused(world: World) -> None:
    strange = world.raw.slice(0, 1).set_column(world.raw.schema.get_field_index("dest"), "dest", pa.array(["XXX"]))
    with pytest.raises(ValueError, match="XXX"):
        cleaning.clean_flights(strange, world.airports)


def test_another_version_of_the_data_than_the_installed_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.0\.0 was asked for"):
        sources.read("planes", "0.0.0")


# --- what features may know


@pytest.mark.parametrize("count", [3, pytest.param(6, marks=pytest.mark.heavy)])
def test_features_stay_when_all_that_lies_after_the_prediction_is_erased(world: World, count: int) -> None:
    """Later flights are not there, flights that have not landed have no outcome, later weather is not there."""
    raw, weather = raw_with_times(world), world.raw_weather.to_pandas()
    observed = pd.to_datetime(weather["time_hour"], utc=True)
    for _, flight in some_flights(world, count).iterrows():
        moment = flight["predicted_at"]
        past = raw[raw["scheduled_dep"] <= flight["scheduled_dep"]].copy()
        past.loc[~(past["landed"] < moment), OUTCOMES] = np.nan
        # An hour's observation is made in its course: the last one that may count is that of the hour before.
        then = world.altered(past, weather[observed + pd.Timedelta(hours=1) <= moment])
        pd.testing.assert_series_equal(features_of(then, flight), features_of(world, flight), check_exact=True)


@pytest.mark.parametrize("count", [3, pytest.param(6, marks=pytest.mark.heavy)])
def test_features_stay_when_all_that_lies_after_the_prediction_is_scrambled(world: World, count: int) -> None:
    """Departures, times in the air and arrivals are anything, as long as what had landed by then has its delay."""
    random = np.random.default_rng(11)
    raw, weather = raw_with_times(world), world.raw_weather.to_pandas()
    observed = pd.to_datetime(weather["time_hour"], utc=True)
    for _, flight in some_flights(world, count).iterrows():
        moment = flight["predicted_at"]
        other = raw.copy()
        for column in OUTCOMES:
            if column != "arr_delay":
                other[column] = random.integers(1, 2000, len(other))
        unknown = ~(other["landed"] < moment)
        until_then = ((moment - other["scheduled_arr"]).dt.total_seconds() / 60).clip(lower=0)
        still_up = until_then + random.integers(0, 900, len(other))
        other.loc[unknown, "arr_delay"] = still_up[unknown].where(random.random(unknown.sum()) > 0.2)
        later = other["scheduled_dep"] > flight["scheduled_dep"]
        for column in ("carrier", "dest", "tailnum", "origin", "distance"):
            other.loc[later, column] = random.permutation(other.loc[later, column].to_numpy())
        other = other.drop_duplicates(["scheduled_dep", "carrier", "flight", "origin"])
        sky = weather.copy()
        unseen = observed + pd.Timedelta(hours=1) > moment
        sky.loc[unseen, WEATHER] = random.integers(0, 99, (unseen.sum(), len(WEATHER)))
        then = world.altered(other, sky)
        pd.testing.assert_series_equal(features_of(then, flight), features_of(world, flight), check_exact=True)


def test_history_is_what_a_plain_filter_finds(world: World) -> None:
    flights = world.flights.to_pandas()
    flights["hour"] = flights["minute_of_day"] // 60
    for _, flight in some_flights(world, 25).iterrows():
        flight["hour"] = flight["minute_of_day"] // 60
        landed = flights[flights["landed"] < flight["predicted_at"]]
        for name, (keys, value, hours) in features.HISTORY.items():
            recent = landed[landed["landed"] >= flight["predicted_at"] - pd.Timedelta(hours=hours)]
            for key in keys:
                recent = recent[recent[key] == flight[key]]
            expected = recent[value].astype(float).mean()
            assert flight[name] == pytest.approx(expected, rel=1e-6, nan_ok=True), name


def test_overdue_flights_are_those_that_should_have_landed_and_have_not(world: World) -> None:
    flights = world.flights.to_pandas()
    for _, flight in some_flights(world, 25).iterrows():
        moment = flight["predicted_at"]
        due = flights["scheduled_arr"] + pd.Timedelta(minutes=features.OVERDUE_AFTER_MINUTES)
        forgotten = due + pd.Timedelta(minutes=features.FORGOTTEN_AFTER_MINUTES)
        overdue = flights[(due < moment) & ~(flights["landed"] < moment) & (forgotten >= moment)]
        for name, (key,) in features.OVERDUE.items():
            assert flight[name] == (overdue[key] == flight[key]).sum(), name


def test_a_landing_counts_from_the_minute_after_it(world: World) -> None:
    """Without this the tests above would pass for features that know nothing at all."""
    flights = world.flights.to_pandas()
    flight = some_flights(world, 1).iloc[0]

    def delay_if_plane_landed(at: pd.Timestamp) -> float:
        table = flights[flights["tailnum"] != flight["tailnum"]]
        own = flights[(flights["tailnum"] == flight["tailnum"]) & (flights["scheduled_dep"] == flight["scheduled_dep"])]
        one = own.assign(
            flight=9999,
            scheduled_dep=flight["scheduled_dep"] - pd.Timedelta(hours=9),
            landed=at,
            arr_delay=77,
            late=True,
        )
        table = pa.Table.from_pandas(pd.concat([table, own, one]), world.flights.schema, preserve_index=False)
        made = features.build_features(table, world.weather, world.planes, world.airports).to_pandas()
        return float(
            keyed(made).loc[tuple(flight[["scheduled_dep", "carrier", "flight", "origin"]]), "plane_last_delay"]
        )

    assert np.isnan(delay_if_plane_landed(flight["predicted_at"]))
    assert delay_if_plane_landed(flight["predicted_at"] - pd.Timedelta(minutes=1)) == 77


def test_the_endpoint_makes_of_what_clients_say_what_the_model_learned_from(world: World) -> None:
    """All together, each flight alone, and each as JSON brings it: to the last digit."""
    described = features.describe(world.flights, world.weather)
    places = np.random.default_rng(5).choice(described.num_rows, 40, replace=False)
    learned = world.features.select(features.FEATURES).take(places)
    raw = described.select(features.RAW.names).take(places)
    takes = signature_for(features.RAW)
    endpoint = Prepare(features.to_features, {"planes": world.planes, "airports": world.airports}, takes)
    assert endpoint(raw).equals(learned)
    for place, record in enumerate(json.loads(client.request(raw))["records"]):
        sent = table_of({name: [value] for name, value in record.items()}, takes.takes)
        assert endpoint(sent).equals(learned.slice(place, 1))
        assert endpoint(raw.slice(place, 1)).equals(learned.slice(place, 1))


def test_a_client_says_nothing_that_was_known_later() -> None:
    assert not {"late", "status", "arr_delay", "landed"} & set(features.RAW.names)
    assert not {"plane_age", "plane_seats", "dest_lat", "weekday"} & set(features.RAW.names), "the endpoint knows these"


# --- the model


@pytest.fixture(scope="module")
def cut(world: World) -> prepare.Split:
    """January to learn from, February to stop by, March to judge by."""
    return prepare.split(
        prepare.transform(world.features, sql=learning.LANDED),
        by="time",
        time="scheduled_dep",
        until=("2013-02-01T05:00:00Z", "2013-03-01T05:00:00Z"),
        leak="warn",
    )


@pytest.fixture(scope="module")
def judged(cut: prepare.Split) -> pa.Table:
    return prepare.transform(sql=learning.BASELINE, known=cut.train, test=cut.test)


@pytest.fixture(scope="module")
def candidates(cut: prepare.Split) -> list[Boosted]:
    return [learning.fit_booster(cut.train, cut.valid, num_leaves=leaves) for leaves in (7, 15)]


def test_what_is_learned_is_older_than_what_it_is_judged_on(cut: prepare.Split) -> None:
    assert [set(part["month"].to_pylist()) for part in (cut.train, cut.valid, cut.test)] == [{1}, {2}, {3}]
    assert cut.leaks.num_rows == 0


def test_the_best_has_the_lowest_loss_and_of_equals_is_the_first(candidates: list[Boosted]) -> None:
    low, high = sorted(candidates, key=lambda each: min(each.history[learning.LOSS].to_pylist()))
    assert learning.best_of([high, low]) is low
    assert learning.best_of([low, low._replace()]) is low


def test_a_destination_never_seen_gets_a_probability(cut: prepare.Split, candidates: list[Boosted]) -> None:
    strange = cut.test.slice(0, 3)
    place = strange.schema.get_field_index("dest")
    strange = strange.set_column(place, "dest", pa.array(["XXX", "YYY", "ZZZ"]))
    probability = learning.predict(candidates[0].model, strange)
    assert ((probability > 0) & (probability < 1)).all()


def test_a_scored_month_holds_every_scheduled_flight_and_nothing_of_its_outcome(
    world: World, candidates: list[Boosted]
) -> None:
    scored = learning.score_month(candidates[0].model, world.features, 3)
    assert scored.num_rows == 28_834  # 861 of them were cancelled
    assert not set(scored.column_names) & {"late", "status", "arr_delay", "landed"}
    assert scored["seen"].unique().to_pylist() == [True]
    assert pc.min_max(scored["late_probability"]).as_py()["max"] < 1


# --- what it is judged by


def test_the_baseline_is_learned_from_the_months_before(cut: prepare.Split, judged: pa.Table) -> None:
    known = cut.train.to_pandas().assign(hour=lambda each: each["minute_of_day"] // 60)
    flight = judged.slice(1000, 1).to_pandas().iloc[0]
    alike = known[(known["carrier"] == flight["carrier"]) & (known["hour"] == flight["minute_of_day"] // 60)]["late"]
    overall = known["late"].astype(float).mean()
    expected = (alike.sum() + 50 * overall) / (len(alike) + 50)
    assert flight["carrier_hour"] == pytest.approx(expected)


def test_an_evening_flight_counts_to_its_day_in_new_york(judged: pa.Table) -> None:
    assert pc.unique(pc.month(judged["day"])).to_pylist() == [3]
    assert pc.max(pc.month(judged["scheduled_dep"])).as_py() == 4


def test_the_model_beats_the_baseline_even_on_one_month_of_training(
    judged: pa.Table, candidates: list[Boosted]
) -> None:
    found = evaluate.classification(
        learning.best_of(candidates).model,
        judged,
        target="late",
        baseline="carrier_hour",
        groups="day",
        gates="log loss < baseline with 95% confidence",
        resamples=200,
        robust=False,
    )
    assert found.passed
    assert found.metrics["AUC"] > 0.65


def test_the_contract_sets_the_one_strange_flight_aside(whole_year: pa.Table) -> None:
    checked = ingest.check(whole_year, ingest.Contract.read(EXAMPLE / "contract.toml"))
    assert checked.quarantine.num_rows == 1
    assert checked.quarantine["distance"].to_pylist() == [17]


# --- the pipeline, as a user runs it


def headrace(project: Path, *arguments: str) -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name("headrace")), *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return cast(dict[str, Any], json.loads(done.stdout)) if "--json" in arguments else {}


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def states(run: dict[str, Any]) -> dict[str, str]:
    return {task["name"]: task["state"] for task in run["tasks"]}


def digest_of_predict(project: Path, folder: Path) -> str:
    """Score December by `headrace predict`, arrange the answers as the task `score` does, and return the digest of the
    file that the task would have made of them."""
    headrace(project, "register", "latest", "choose", "--model", "delays")
    headrace(project, "get", "latest", "features", "--to", str(folder / "features.arrow"))
    with pa.memory_map(str(folder / "features.arrow")) as file:
        december = learning.of_months(pa.ipc.open_file(file).read_all(), range(12, 13))
    with pa.ipc.new_file(folder / "rows.arrow", december.schema) as writer:
        writer.write_table(december)
    done = headrace(
        project, "predict", "delays", "--rows", str(folder / "rows.arrow"), "--to", str(folder / "out.arrow"), "--json"
    )
    assert (done["rows"], done["signature"]) == (28_135, True)
    with pa.memory_map(str(folder / "out.arrow")) as file:
        answers = pa.ipc.open_file(file).read_all()
    columns = ["carrier", "flight", "tailnum", "origin", "dest", "scheduled_dep", "predicted_at"]
    scored = answers.select(columns).append_column("late_probability", answers["predicted_1"])
    whole = scored.append_column("seen", [pa.repeat(False, len(scored))])
    parquet.write_table(whole.replace_schema_metadata(december.schema.metadata), folder / "again.parquet")
    return blake3((folder / "again.parquet").read_bytes()).hexdigest()


def answers_as_it_scores(project: Path, december: pa.Table) -> None:
    """Ask the endpoint about flights of December: it gives each the probability that the scored month has."""
    if not works(private=True):
        return  # bubblewrap can't make a namespace here
    headrace(project, "get", "latest", "raw", "--to", str(project / "raw.arrow"))
    with pa.memory_map(str(project / "raw.arrow")) as file:
        flights = client.asked(pa.ipc.open_file(file).read_all(), 12)
    with serving(Project(project), "delays") as served:
        status, answer = served.post(client.request(flights).encode(), "delays")
    assert status == 200, answer
    scored = keyed(december.to_pandas())["late_probability"]
    expected = scored.loc[keyed(flights.to_pandas()).index].to_list()
    assert [each["predicted_1"] for each in answer["predictions"]] == pytest.approx(expected, rel=1e-9)


@pytest.mark.heavy  # `make demo` runs the pipeline, changes it and shows what is reused
def test_the_pipeline_runs_and_after_that_only_what_an_edit_reaches(tmp_path: Path) -> None:
    project = tmp_path / "flights"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns(".headrace", "out", "__pycache__"))
    # All flights of the year, but fewer rounds and resamples: `make examples` has all of these.
    edit(project / "delays" / "learning.py", "MOST_ROUNDS, PATIENCE = 600, 40", "MOST_ROUNDS, PATIENCE = 30, 5")
    edit(project / "pipelines.py", 'groups="day",', 'groups="day",\n        resamples=200,\n        robust=False,')
    first = states(headrace(project, "run", "flights", "--month", "12", "--json"))
    assert set(first.values()) == {"succeeded"}
    assert {"fit[num_leaves=15]", "choose", "classification", "score"} <= first.keys()
    headrace(project, "get", "latest", "score", "--to", str(tmp_path / "december.parquet"))
    assert parquet.read_table(tmp_path / "december.parquet").num_rows == 28_135
    assert digest_of_predict(project, tmp_path) == blake3((tmp_path / "december.parquet").read_bytes()).hexdigest()

    answers_as_it_scores(project, parquet.read_table(tmp_path / "december.parquet"))

    again = states(headrace(project, "run", "flights", "--month", "12", "--json"))
    assert [name for name, state in again.items() if state != "reused"] == ["deploy_endpoint"]  # it never is

    another_month = states(headrace(project, "run", "flights", "--month", "11", "--json"))
    assert [name for name, state in another_month.items() if state == "succeeded"] == ["score", "deploy_endpoint"]

    edit(project / "pipelines.py", "AUC >= 0.7 with", "AUC >= 0.6 with")
    edited = states(headrace(project, "run", "flights", "--month", "12", "--json"))
    assert [name for name, state in edited.items() if state == "succeeded"] == ["classification", "deploy_endpoint"]
    assert len(headrace(project, "models", "delays", "--json")["models"]) == 2, "one deployed, and one registered above"
