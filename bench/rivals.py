"""Servers and calls that ours is measured against, as programs of their own: FastAPI and LitServe, in an environment
apart, and the bare calls of the models.

All of them use the same rows and models, which are made by the lines of `ROWS`, in a file beside them.
"""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import sklearn

from bench.command import environment
from bench.peers import python_with

PATH = "/v1/endpoints/delays/predict"
ROWS = """\
import numpy as np
import pandas as pd

FIELDS = ("distance", "hour", "weekday", "month", "temperature", "wind", "visibility", "pressure")


def frame(count=20_000, seed=0):
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, len(FIELDS)))
    late = values @ np.linspace(-1, 1, len(FIELDS)) + np.sin(3 * values[:, 0]) + random.normal(size=count) > 0
    return pd.DataFrame(values, columns=list(FIELDS)).assign(late=late.astype("int64"))


def logistic(frame):
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression().fit(frame[list(FIELDS)], frame["late"])


def boosted(frame):
    import lightgbm
    data = lightgbm.Dataset(frame[list(FIELDS)], frame["late"])
    return lightgbm.train({"objective": "binary", "num_leaves": 31, "verbose": -1}, data, 100)
"""
FASTAPI = """
import sys
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, create_model
import rows

model = rows.logistic(rows.frame())
classes = model.classes_.tolist()
Record = create_model("Record", **{name: (float, ...) for name in rows.FIELDS})
app = FastAPI()

class Body(BaseModel):
    records: list[Record]

@app.post("PATH")
async def predict(body: Body):
    if IS_CONSTANT:
        answers = [{"predicted": 1, "predicted_0": 0.25, "predicted_1": 0.75}] * len(body.records)
    else:
        scores = model.predict_proba(pd.DataFrame([record.model_dump() for record in body.records]))
        best = scores.argmax(axis=1).tolist()
        answers = [
            {"predicted": classes[place], "predicted_0": low, "predicted_1": high}
            for place, (low, high) in zip(best, scores.tolist())
        ]
    ids = [f"id-{number}" for number in range(len(answers))]
    return {"predictions": answers, "ids": ids, "variant": "production", "version": "delays:1"}

uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="error")
"""
LITSERVE = """
import sys
import litserve
import pandas as pd
import rows

class Api(litserve.LitAPI):
    def setup(self, device):
        self.model = rows.logistic(rows.frame())
        self.classes = self.model.classes_.tolist()

    def decode_request(self, request):
        return pd.DataFrame(request["records"])

    def predict(self, frame):
        return self.model.predict_proba(frame)

    def encode_response(self, scores):
        best = scores.argmax(axis=1).tolist()
        return {"predictions": [
            {"predicted": self.classes[place], "predicted_0": low, "predicted_1": high}
            for place, (low, high) in zip(best, scores.tolist())
        ]}

if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="PATH"), accelerator="cpu", timeout=60)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="error")
"""
SERVERS = {
    "constant": FASTAPI.replace("IS_CONSTANT", "True"),
    "fastapi": FASTAPI.replace("IS_CONSTANT", "False"),
    "litserve": LITSERVE,
}
CALL = """
import sys
import time
import rows

frame = rows.frame(COUNT, seed=1)[list(rows.FIELDS)]
model = rows.MODEL(rows.frame())
given = GIVEN
for _ in range(50):
    model.CALL(given)
took = []
end = time.perf_counter() + float(sys.argv[1])
while (began := time.perf_counter()) < end:
    model.CALL(given)
    took.append(time.perf_counter() - began)
print(sorted(took)[len(took) // 2])
"""
CALLS = {
    "logistic": CALL.replace("COUNT", "1").replace("MODEL", "logistic").replace("CALL", "predict_proba"),
    "boosted": CALL.replace("COUNT", "1000").replace("MODEL", "boosted").replace("CALL", "predict"),
}
_LATEST_S = 120.0


class Process:
    """A server's process, with all that it has started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._known: dict[int, float] = {}

    @property
    def cpu_s(self) -> float:
        """The seconds of cpu that all of its processes have taken so far; those that have ended count as well."""
        for each in self.all():
            with_children = each.cpu_times()
            self._known[each.pid] = with_children.user + with_children.system
        return sum(self._known.values())

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def all(self) -> list[psutil.Process]:
        """Return its processes, none if it has ended."""
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def end(self) -> None:
        """End it, and all that it has started."""
        known = self.all()
        for each in known:
            each.resume()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        for each in known:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self._process.wait()


@contextmanager
def started(
    words: Sequence[str], port: int, path: str, body: bytes | None = None, *, core: int | None, folder: Path
) -> Iterator[Process]:
    """Run a server, on one core if it is given, and wait until it answers at a path: to a POST of `body`, if there is
    one.

    Raises:
        OSError: it doesn't start.
    """
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = Process(subprocess.Popen([*pinned, *words], cwd=folder, env=environment(), stdout=out, stderr=out))
    try:
        _await_answer(process, port, path, body)
        yield process
    finally:
        process.end()


def _await_answer(process: Process, port: int, path: str, body: bytes | None) -> None:
    """Ask again and again until a server doesn't fail. That it knows no such path is an answer."""
    end = time.monotonic() + _LATEST_S
    asked = urllib.request.Request(f"http://localhost:{port}{path}", body, {"content-type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(asked, timeout=_LATEST_S) as answer:
                answer.read()
            return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        if process.has_ended or time.monotonic() > end:
            raise OSError(f"no server answers on port {port}: see its `server.log`")
        time.sleep(0.002)


@contextmanager
def rival(name: str, port: int, folder: Path, *, core: int) -> Iterator[Process]:
    """Run one of `SERVERS` on a core. `folder` has the file of `ROWS`."""
    python = python_with("fastapi", "uvicorn[standard]", "pandas", f"scikit-learn=={sklearn.__version__}", "litserve")
    program = folder / f"rival_{name}.py"
    program.write_text(SERVERS[name].replace("PATH", PATH))
    with started([python, str(program), str(port)], port, "/health", core=core, folder=folder) as process:
        yield process


def bare(python: str, name: str, given: str, seconds: float, folder: Path, *, core: int) -> float:
    """Return the seconds that one of `CALLS` takes at the median. `given` is the expression of its argument."""
    words = ["taskset", "-c", str(core), python, "-c", CALLS[name].replace("GIVEN", given), str(seconds)]
    done = subprocess.run(words, cwd=folder, env=environment(), check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])
