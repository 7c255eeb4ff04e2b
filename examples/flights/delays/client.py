"""A client of the endpoint: what it asks about flights of a month, what it says once they have landed, and how good the
answers were.

    python -m delays.client request raw.arrow 12 > request.json
    python -m delays.client labels raw.arrow 12 answer.json > labels.json
    python -m delays.client losses answers.arrow
"""

import json
import sys
from collections import defaultdict
from datetime import datetime
from math import log
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delays.features import RAW
from delays.learning import of_months

MOST = 200  # how many flights are asked about


def asked(described: pa.Table, month: int) -> pa.Table:
    """Some of the flights that landed, evenly over a month."""
    flights = of_months(described, range(month, month + 1))
    flights = flights.filter(pc.equal(flights["status"], "landed"))
    return flights.take(np.linspace(0, flights.num_rows - 1, MOST).astype(int))


def request(flights: pa.Table) -> str:
    """What the client sends: `RAW`, and nothing that was known later."""
    return json.dumps({"records": flights.select(RAW.names).to_pylist()}, default=datetime.isoformat)


def labels(flights: pa.Table, answer: str) -> str:
    """What became of the flights of an answer, each by the id of its prediction."""
    pairs = zip(json.loads(answer)["ids"], flights["late"].to_pylist(), strict=True)
    return json.dumps({"labels": [{"id": each, "label": int(late)} for each, late in pairs], "source": "landings"})


def losses(answers: pa.Table) -> str:
    """The log loss of each version's answers to flights whose label is known, beside that of their share."""
    found = defaultdict(list)
    for row in answers.to_pylist():
        if row["label"] is not None:
            found[row["version"]].append((row["output"]["predicted_1"], int(row["label"])))
    lines = [f"{'version':12} {'answers':>8} {'late':>8} {'predicted':>10} {'log loss':>9}"]
    for version, pairs in sorted(found.items()):
        late, predicted = (np.mean(each) for each in ([label for _, label in pairs], [one for one, _ in pairs]))
        loss = -np.mean([log(one if label else 1 - one) for one, label in pairs])
        lines.append(f"{version:12} {len(pairs):8,} {late:8.1%} {predicted:10.1%} {loss:9.3f}")
    return "\n".join(lines)


def _table(path: str) -> pa.Table:
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).read_all()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["request", described, month]:
            print(request(asked(_table(described), int(month))))
        case ["labels", described, month, answer]:
            print(labels(asked(_table(described), int(month)), Path(answer).read_text()))
        case ["losses", answers]:
            print(losses(_table(answers)))
        case _:
            sys.exit(__doc__)
