"""Raw tables to clean ones: every time in UTC, what became of each flight, what is impossible taken out.

In these data a flight ends in one of three ways. It *landed* (a delay is recorded), it was *cancelled* (it never
departed) or *diverted* (it departed and no delay at its destination is recorded). Only landed flights have a label.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

LATE_MINUTES = 15

# In the flights, but not in the table of airports: San Juan, Aguadilla, Ponce, St. Thomas. All keep Atlantic time.
ATLANTIC = {"SJU", "BQN", "PSE", "STT"}
ATLANTIC_ZONE = "America/Puerto_Rico"

# An observation labelled hour h is the routine report of h:51 (the warmest label of a day is 14, not 15), so it
# counts as known from h + 1 on, never from h.
OBSERVED_AFTER = pd.Timedelta(hours=1)
STRONGEST_WIND_MPH = 150


def clean_flights(flights: pa.Table, airports: pa.Table) -> pa.Table:
    """One row for each scheduled flight, by scheduled departure.

    What was known long before: `month`, `weekday`, `minute_of_day` (local), `carrier`, `flight`, `tailnum`, `origin`,
    `dest`, `distance`, `scheduled_dep`, `scheduled_arr` (UTC). What became of it: `status`, `arr_delay` in minutes,
    `landed` (UTC), `late`; the last three are null unless it landed.
    """
    raw = flights.to_pandas()
    departure = _utc(raw["time_hour"]) + _span(raw["minute"])
    arrival = _scheduled_arrival(departure, raw, airports)
    delay = raw["arr_delay"]
    table = pd.DataFrame(
        {
            "month": raw["month"].astype("int8"),
            "weekday": pd.to_datetime(raw[["year", "month", "day"]]).dt.day_of_week.astype("int8"),
            "minute_of_day": (raw["hour"] * 60 + raw["minute"]).astype("int16"),
            "carrier": raw["carrier"],
            "flight": raw["flight"].astype("int32"),
            "tailnum": raw["tailnum"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "distance": raw["distance"].astype("int32"),
            "scheduled_dep": departure,
            "scheduled_arr": arrival,
            "status": np.where(delay.notna(), "landed", np.where(raw["dep_time"].isna(), "cancelled", "diverted")),
            "arr_delay": delay.astype("Int32"),
            "landed": arrival + _span(delay),
            "late": (delay >= LATE_MINUTES).astype("boolean").mask(delay.isna()),
        }
    )
    table = table.sort_values(["scheduled_dep", "carrier", "flight", "origin"], kind="stable")
    return pa.Table.from_pandas(table, preserve_index=False)


def clean_weather(weather: pa.Table) -> pa.Table:
    """Hourly observations of the three airports with `known_at` (UTC), and what the last hours brought.

    `rain_6h` and `pressure_change_3h` look back only.
    """
    raw = weather.to_pandas()
    raw["wind_speed"] = raw["wind_speed"].mask(raw["wind_speed"] > STRONGEST_WIND_MPH)
    raw["known_at"] = (_utc(raw["time_hour"]) + OBSERVED_AFTER).astype("datetime64[s, UTC]")
    raw = raw.sort_values(["origin", "known_at"], kind="stable")
    measured = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    table = raw[["origin", "known_at", *measured]].reset_index(drop=True)
    table[measured] = table[measured].astype("float64")
    rolling = table.set_index("known_at").groupby("origin", sort=True)
    table["rain_6h"] = rolling["precip"].rolling("6h", min_periods=1).sum().round(4).to_numpy()
    earlier = table[["origin", "known_at", "pressure"]].assign(known_at=table["known_at"] + pd.Timedelta(hours=3))
    before = table[["origin", "known_at"]].merge(earlier, how="left", on=["origin", "known_at"])["pressure"]
    table["pressure_change_3h"] = (table["pressure"] - before).round(1)
    return pa.Table.from_pandas(table, preserve_index=False)


def _utc(times: pd.Series) -> pd.Series:
    return pd.to_datetime(times, utc=True).astype("datetime64[s, UTC]")


def _span(minutes: pd.Series) -> pd.Series:
    return pd.to_timedelta(minutes, unit="min").astype("timedelta64[s]")


def _scheduled_arrival(departure: pd.Series, raw: pd.DataFrame, airports: pa.Table) -> pd.Series:
    """The first moment after departure when the clock at the destination shows the scheduled arrival."""
    zones = airports.select(["faa", "tzone"]).to_pandas().set_index("faa")["tzone"].to_dict()
    zones |= dict.fromkeys(ATLANTIC, ATLANTIC_ZONE)
    zone_of = raw["dest"].map(zones)
    if zone_of.isna().any():
        raise ValueError(f"no time zone for {sorted(raw['dest'][zone_of.isna()].unique())}")
    clock = raw["sched_arr_time"] // 100 * 60 + raw["sched_arr_time"] % 100
    arrival = pd.Series(pd.NaT, index=raw.index, dtype="datetime64[s, UTC]")
    for zone, rows in raw.groupby(zone_of).groups.items():
        local = departure[rows].dt.tz_convert(zone).dt.tz_localize(None)
        minutes = (clock[rows] - local.dt.hour * 60 - local.dt.minute) % (24 * 60)
        there = local + _span(minutes)
        there = there.dt.tz_localize(zone, ambiguous=np.ones(len(rows), bool), nonexistent="shift_forward")
        arrival[rows] = there.dt.tz_convert("UTC").astype("datetime64[s, UTC]")
    return arrival
