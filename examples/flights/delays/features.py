"""What can be known of a flight some hours before it should leave.

Each flight is predicted at a moment of its own, `predicted_at`. The schedule counts as known. The weather counts once
it was observed and reported. Of another flight only one thing counts: its delay once it has *landed*, strictly before
that moment, or that it is due and has not landed by then. What is late at the gate, in the air, or cancelled later
is as unknown to the features as it was to the people waiting.

Features are made in two steps. `describe` makes rows as a client of the model has them: the flight by its schedule, and
what a feature table knows of the weather and of other flights (`RAW`). `to_features` makes the model's features of such
rows, one by one. It goes with the model: the endpoint calls it for each request.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

PREDICTED_BEFORE_H = 2
WEATHER_TOLERANCE = pd.Timedelta(hours=6)

RECENT_HOURS = 3
DAY = 24

# Means over flights that landed in the hours before the prediction: of which flights, of what, over how many hours.
HISTORY = {
    "origin_recent_late": (["origin"], "late", RECENT_HOURS),
    "origin_recent_delay": (["origin"], "arr_delay", RECENT_HOURS),
    "dest_recent_delay": (["dest"], "arr_delay", RECENT_HOURS),
    "carrier_recent_delay": (["carrier"], "arr_delay", RECENT_HOURS),
    "carrier_origin_recent_delay": (["carrier", "origin"], "arr_delay", RECENT_HOURS),
    "dest_1d_late": (["dest"], "late", DAY),
    "flight_7d_delay": (["carrier", "flight", "origin"], "arr_delay", 7 * DAY),
    "carrier_14d_late": (["carrier"], "late", 14 * DAY),
    "flight_30d_late": (["carrier", "flight", "origin"], "late", 30 * DAY),
    "route_30d_late": (["origin", "dest"], "late", 30 * DAY),
    "carrier_hour_30d_late": (["carrier", "origin", "hour"], "late", 30 * DAY),
}
# Flights that are due and have not landed: those of the same airport, carrier and plane. Forgotten after some hours.
OVERDUE = {"origin_overdue": ["origin"], "carrier_overdue": ["carrier"], "plane_overdue": ["tailnum"]}
OVERDUE_AFTER_MINUTES, FORGOTTEN_AFTER_MINUTES = 15, 240

HOME_ZONE = "America/New_York"

KEYS = ["month", "carrier", "flight", "tailnum", "origin", "dest", "scheduled_dep", "predicted_at", "status", "late"]
CATEGORIES = ["carrier", "origin", "dest"]
SCHEDULE = ["weekday", "minute_of_day", "distance", "scheduled_minutes", "departures_last_hour"]
PLACE = ["dest_lat", "dest_lon"]
PLANE = ["plane_age", "plane_seats", "plane_last_delay", "plane_last_age_h"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
WEATHER_TREND = ["rain_6h", "pressure_change_3h"]
NUMBERS = [*SCHEDULE, *PLACE, *PLANE, *WEATHER, *WEATHER_TREND, *HISTORY, *OVERDUE]
FEATURES = [*CATEGORIES, *NUMBERS]

# What a client says of the flight itself, and what it has from a feature table.
TIMES, TEXTS = ["scheduled_dep", "scheduled_arr"], ["carrier", "tailnum", "origin", "dest"]
LOOKED_UP = ["departures_last_hour", *PLANE[2:], *WEATHER, *WEATHER_TREND, *HISTORY, *OVERDUE]
RAW = pa.schema(
    {
        **dict.fromkeys(TEXTS, pa.string()),
        **dict.fromkeys(TIMES, pa.timestamp("s", "UTC")),
        "distance": pa.int32(),
        **dict.fromkeys(LOOKED_UP, pa.float32()),
    }
)


def build_features(flights: pa.Table, weather: pa.Table, planes: pa.Table, airports: pa.Table) -> pa.Table:
    """One row for each scheduled flight, cancelled ones too: `KEYS`, then `FEATURES`, null where nothing is known."""
    return with_features(describe(flights, weather), planes, airports)


def describe(flights: pa.Table, weather: pa.Table) -> pa.Table:
    """One row for each scheduled flight, cancelled ones too: `KEYS`, then `RAW`, null where nothing is known."""
    table = flights.to_pandas()
    table["hour"] = table["minute_of_day"] // 60
    table["predicted_at"] = table["scheduled_dep"] - pd.Timedelta(hours=PREDICTED_BEFORE_H).as_unit("s")
    parts = [_departures(table), _last_flight(table), _weather(table, weather), _history(table), _overdue(table)]
    table = pd.concat([table, *parts], axis="columns")
    table[LOOKED_UP] = table[LOOKED_UP].astype("float32")
    return pa.Table.from_pandas(table[list(dict.fromkeys([*KEYS, *RAW.names]))], preserve_index=False)


def to_features(rows: pa.Table, planes: pa.Table, airports: pa.Table) -> pa.Table:
    """The `FEATURES` of rows that have the columns of `RAW`: each row by itself, whatever the others are."""
    table = rows.select(RAW.names).to_pandas()
    table = pd.concat([table, _schedule(table), _destination(table, airports), _plane(table, planes)], axis="columns")
    table[NUMBERS] = table[NUMBERS].astype("float32")
    return pa.Table.from_pandas(table[FEATURES], preserve_index=False)


def with_features(described: pa.Table, planes: pa.Table, airports: pa.Table) -> pa.Table:
    """The `KEYS` of described flights, and their `FEATURES`."""
    table = to_features(described, planes, airports)
    for name in [name for name in KEYS if name not in FEATURES]:
        table = table.append_column(name, described[name])
    return table.select(list(dict.fromkeys([*KEYS, *FEATURES])))


def _departures(table: pd.DataFrame) -> pd.DataFrame:
    """How many flights should leave the same airport in the hour up to a flight."""
    departure, origin = _minutes(table["scheduled_dep"]), _codes(table, ["origin"])
    count, _ = _Timeline(origin, departure).window(origin, departure + 1, 60)
    return pd.DataFrame({"departures_last_hour": count}, index=table.index)


def _schedule(table: pd.DataFrame) -> pd.DataFrame:
    """When a flight should leave by the clocks of New York, and how long it should take."""
    departure = table["scheduled_dep"]
    local = departure.dt.tz_convert(HOME_ZONE)
    return pd.DataFrame(
        {
            "weekday": local.dt.day_of_week,
            "minute_of_day": local.dt.hour * 60 + local.dt.minute,
            "scheduled_minutes": _minutes(table["scheduled_arr"]) - _minutes(departure),
        },
        index=table.index,
    )


def _destination(table: pd.DataFrame, airports: pa.Table) -> pd.DataFrame:
    known = airports.select(["faa", "lat", "lon"]).to_pandas().set_index("faa")
    return pd.DataFrame({"dest_lat": table["dest"].map(known["lat"]), "dest_lon": table["dest"].map(known["lon"])})


def _plane(table: pd.DataFrame, planes: pa.Table) -> pd.DataFrame:
    """Age and size of the plane."""
    known = planes.select(["tailnum", "year", "seats"]).to_pandas().set_index("tailnum")
    return pd.DataFrame(
        {
            "plane_age": table["scheduled_dep"].dt.year - table["tailnum"].map(known["year"]),
            "plane_seats": table["tailnum"].map(known["seats"]),
        }
    )


def _last_flight(table: pd.DataFrame) -> pd.DataFrame:
    """How the plane's last flight from New York went, and how long ago."""
    plane, landed = _codes(table, ["tailnum"]), table["landed"].notna().to_numpy()
    delays = table["arr_delay"][landed].to_numpy(np.int64)
    timeline = _Timeline(plane[landed], _minutes(table["landed"][landed]), delays)
    delay, age = timeline.last(plane, _minutes(table["predicted_at"]))
    return pd.DataFrame({"plane_last_delay": delay, "plane_last_age_h": age / 60}, index=table.index)


def _weather(table: pd.DataFrame, weather: pa.Table) -> pd.DataFrame:
    """The last observation at the origin that was known when predicting, if it is not too old."""
    observed = weather.to_pandas().sort_values("known_at", kind="stable")
    asked = table[["origin", "predicted_at"]].reset_index().sort_values("predicted_at", kind="stable")
    joined = pd.merge_asof(
        asked, observed, left_on="predicted_at", right_on="known_at", by="origin", tolerance=WEATHER_TOLERANCE
    )
    return joined.set_index("index").sort_index()[[*WEATHER, *WEATHER_TREND]]


def _history(table: pd.DataFrame) -> pd.DataFrame:
    now, landed = _minutes(table["predicted_at"]), table["landed"].notna().to_numpy()
    at = _minutes(table["landed"][landed])
    columns = {}
    for name, (keys, value, hours) in HISTORY.items():
        codes = _codes(table, keys)
        timeline = _Timeline(codes[landed], at, table[value][landed].to_numpy(np.int64))
        columns[name] = timeline.mean(codes, now, hours * 60)
    return pd.DataFrame(columns, index=table.index)


def _overdue(table: pd.DataFrame) -> pd.DataFrame:
    """A flight is overdue from some minutes after its scheduled arrival until it lands or is forgotten.

    So at any moment the overdue ones are those that have become so, less those that have ceased to be.
    """
    now = _minutes(table["predicted_at"])
    begins = _minutes(table["scheduled_arr"]) + OVERDUE_AFTER_MINUTES
    forgotten = begins + FORGOTTEN_AFTER_MINUTES
    lands = np.where(table["landed"].notna(), _minutes(table["landed"].fillna(table["scheduled_arr"])), forgotten)
    ends = np.minimum(lands, forgotten)
    columns = {}
    for name, keys in OVERDUE.items():
        codes = _codes(table, keys)
        counted = (ends > begins) & (codes >= 0)
        begun = _Timeline(codes[counted], begins[counted]).before(codes, now)
        ended = _Timeline(codes[counted], ends[counted]).before(codes, now)
        columns[name] = begun - ended
    return pd.DataFrame(columns, index=table.index)


class _Timeline:
    """Events of many keys in the order of key and minute, to be asked what happened *before* a minute.

    Values are whole numbers: sums of them are exact, so that an event outside of a window can't change a digit of the
    answer. Questions and events share their key's code; a code below zero is no key and has no events.
    """

    SPAN = 1 << 32  # minutes; keeps one key's events apart from the next one's

    def __init__(self, codes: np.ndarray, at: np.ndarray, values: np.ndarray | None = None) -> None:
        place = codes * self.SPAN + at
        order = np.lexsort([place] if values is None else [values, place])
        self.place = place[order]
        self.values = np.ones(len(place), np.int64) if values is None else values[order]
        self.sums = np.concatenate([[0], np.cumsum(self.values)])

    def before(self, codes: np.ndarray, until: np.ndarray) -> np.ndarray:
        """How many events each key had before `until`."""
        start, end = codes * self.SPAN, codes * self.SPAN + until
        return np.where(codes < 0, 0, np.searchsorted(self.place, end) - np.searchsorted(self.place, start))

    def window(self, codes: np.ndarray, until: np.ndarray, minutes: int) -> tuple[np.ndarray, np.ndarray]:
        """Count and sum of each key's events from `minutes` before `until` on, up to `until` but without it."""
        end = codes * self.SPAN + until
        low, high = np.searchsorted(self.place, end - minutes), np.searchsorted(self.place, end)
        return np.where(codes < 0, 0, high - low), np.where(codes < 0, 0, self.sums[high] - self.sums[low])

    def mean(self, codes: np.ndarray, until: np.ndarray, minutes: int) -> np.ndarray:
        """The mean of such events, NaN where there are none."""
        count, total = self.window(codes, until, minutes)
        return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)

    def last(self, codes: np.ndarray, until: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and age in minutes of each key's last event before `until`, NaN where there is none."""
        end = codes * self.SPAN + until
        index = np.searchsorted(self.place, end) - 1
        known = (index >= 0) & (codes >= 0) & (self.place[index] // self.SPAN == codes)
        return np.where(known, self.values[index], np.nan), np.where(known, end - self.place[index], np.nan)


def _codes(table: pd.DataFrame, keys: list[str]) -> np.ndarray:
    """A whole number for each distinct key, -1 where a part of it is null."""
    return table.groupby(keys, sort=False, dropna=True).ngroup().fillna(-1).to_numpy(np.int64)


def _minutes(times: pd.Series) -> np.ndarray:
    return times.astype("datetime64[s, UTC]").astype("int64").to_numpy() // 60
