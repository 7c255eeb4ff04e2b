"""Sources that are broken, by the real command: each fault is told in one message with a hint, and the rest goes on."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from tests.projects import Project, finish, lent
from tests.servers.missing import Missing
from tests.servers.web import Asked, Reply, certificate, serving, told

WEB = """\
import os
import headrace as hr
from headrace.stages import ingest

WEB, TLS = os.environ["WEB"], os.environ["TLS"]
HOW = dict(allow_private=True, retries=1, limit_mib=1)

@hr.pipeline
def all() -> None:
    for path in %r:
        paged = {"moving": ("page", "id"), "circle": ("next", ()), "types": ("page", ())}.get(path)
        more = dict(paginate=paged[0], key=paged[1], rows="data") if paged else {}
        ingest.http(f"{WEB}/{path}", **more, **HOW)
    ingest.http(TLS, **HOW)
    ingest.http(f"{WEB}/good")
"""

FAULTS = {
    "good": "",
    "busy": "answered 429 Too Many Requests, asked 2 times",
    "later": "says to come back in 86,400 s",
    "broken": "answered 500 Internal Server Error, asked 2 times",
    "half": "can't be reached, or broke off",
    "html": "answered with a page of HTML (`Welcome`), not with `json`",
    "around": "an endless redirect: from",
    "big": "over the limit of 1 MiB",
    "bomb": "over the limit of 1 MiB",
    "moving": "was read 3 times over, and each time",
    "circle": "leads back to page",
    "types": "column `x` changed from number to string",
    "none": "answered 404 Not Found",
    "empty": "sent an empty answer",
}


def answers(asked: Asked) -> Reply:
    page = int(asked.params.get("page", "1"))
    match asked.path.strip("/"):
        case "good":
            return told([{"id": 1}])
        case "busy":
            return Reply(b"", 429, {"Retry-After": "0"})
        case "later":
            return Reply(b"", 503, {"Retry-After": "86400"})
        case "broken":
            return Reply(b"", 500, {"Retry-After": "0"})
        case "half":
            return Reply(b"[{", 200, length=100)
        case "html":
            return Reply(b"<html><title>Welcome</title></html>", 200, {"Content-Type": "text/html"})
        case "around":
            return Reply(b"", 302, {"Location": "/around"})
        case "big":
            return Reply(b" " * 2_000_000)
        case "bomb":
            return Reply(gzip.compress(b" " * 50_000_000), 200, {"Content-Encoding": "gzip"})
        case "moving":
            return told({"data": [{"id": 7}] if page < 3 else []})
        case "circle":
            return told({"data": [{"id": page}], "next": f"?page={page % 2 + 1}"})
        case "types":
            return told({"data": [{"id": page, "x": page if page < 3 else "three"}] if page < 4 else []})
        case "empty":
            return Reply(b"")
        case _:
            return told({}, 404)


def failures(project: Project) -> list[str]:
    """Run all, and return what is said of each task of a source that failed, in the order of the tasks."""
    done = project.headrace("run", "all", "--json")
    assert done.code == 1, done.err
    assert "Traceback" not in done.err + project.headrace("logs", "latest").out
    # a map tells what its first failed element told
    sources = [
        each
        for each in done.json["tasks"]
        if each["stage"] in ("http", "http_version", "files", "files_version", "file")
    ]
    return [each["reason"] for each in sources if each["state"] == "failed"]


def test_what_a_web_service_can_do_to_us(tmp_path: Path) -> None:
    try:
        context, _ = certificate(tmp_path)
    except Missing as missing:
        pytest.skip(str(missing))
    with lent(tmp_path / "project") as project, serving(answers) as web, serving(answers, context) as tls:
        project.environment |= {"WEB": web.url, "TLS": tls.url}
        project.write("pipelines.py", WEB % (list(FAULTS),))
        found = failures(project)
        wanted = [each for each in FAULTS.values() if each]
        wanted += ["isn't valid: self-signed certificate", "a request to a private address was refused"]
        for each in wanted:
            assert any(each in reason for reason in found), f"`{each}` is not in {found}"
        assert len(found) == len(wanted)


FILES = """\
import headrace as hr
import pyarrow as pa
from headrace.stages import ingest

@hr.pipeline
def all() -> None:
    for name in %r:
        ingest.files(f"{name}/*")
"""

FILE_FAULTS = {
    "good": "",
    "blank": "",
    "types": "column `v` is `int64` in `types/1.csv`, and `string` in `types/3.csv`",
    "mixed": "byte 12 (0xeb) is not valid UTF-8",
    "line": "has a line of more than 16 MiB",
    "object": "has a line of more than 16 MiB",
    "nothing": "no file fits `nothing/*`",
    "link": "is a link that leads out of `link`",
    "parquet": "can't be read as `parquet`",
    "unknown": "doesn't show its format",
}


def test_what_files_can_do_to_us(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", FILES % (list(FILE_FAULTS),))
        put(project, "good/1.csv", "v\n1\n")
        for number, value in enumerate(("1", "2", "three"), start=1):
            put(project, f"types/{number}.csv", f"v\n{value}\n")
        put(project, "mixed/1.csv", "name\nZoë\nZo".encode() + "ë\n".encode("latin-1"))
        for name, first in (("line/1.csv", "v\n"), ("object/1.jsonl", '{"v": 1}\n')):
            os.truncate(put(project, name, first), 10 << 30)  # it takes no room
        put(project, "blank/1.csv", "")
        put(project, "blank/2.csv", "v\n1\n")
        put(project, "link/1.csv", "v\n1\n")
        os.symlink("/etc/passwd", project.root / "link" / "2.csv")
        put(project, "parquet/1.parquet", "PAR1 or not")
        put(project, "unknown/1.what", "?")
        found = failures(project)
        wanted = [each for each in FILE_FAULTS.values() if each]
        for each in wanted:
            assert any(each in reason for reason in found), f"`{each}` is not in {found}"
        assert len(found) == len(wanted) + 5


LOGS = """\
import headrace as hr
import pyarrow as pa
from headrace.stages import ingest

@hr.stage
def told(found: object) -> list[str]:
    bad = [f"line {each['line']}: {each['why']}" for each in found.quarantine.to_pylist()]
    return [*map(str, found.rows["line"].to_pylist()), *bad]

@hr.pipeline
def all() -> None:
    for name in ("long", "mixed", "tried", "nothing", "none"):
        told(ingest.logs(f"{name}/*.log", encoding=("utf-8", "latin-1") if name == "tried" else "utf-8"))
"""

SAID = [
    ["first", "last", "line 2: it is {bytes:,} bytes long, over the limit of 1 MiB"],
    ["Zoë", "line 2: byte 2 of it (0xeb) is no UTF-8"],
    ["Zoë", "Zoë"],
    [],
]


def test_what_logs_can_do_to_us(tmp_path: Path) -> None:
    look_at_logs(tmp_path, 64 << 20)


@pytest.mark.heavy
def test_a_line_of_ten_gigabytes_in_a_log_is_passed_over(tmp_path: Path) -> None:
    look_at_logs(tmp_path, 10 << 30)


def look_at_logs(tmp_path: Path, long: int) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", LOGS)
        with put(project, "long/1.log", "first\nx").open("r+b") as file:
            file.seek(6 + long)
            file.write(b"\nlast\n")
        for name in ("mixed", "tried"):
            put(project, f"{name}/1.log", "Zoë\nZo".encode() + "ë\n".encode("latin-1"))
        put(project, "nothing/1.log", "")
        done = finish(project.start("run", "all", "--json"), within_s=500)
        assert done.code == 1
        (failed,) = [each["reason"] for each in done.json["tasks"] if each["state"] == "failed"]
        assert "no log fits `none/*.log`" in failed
        for number, lines in enumerate(SAID):
            project.headrace("get", "latest", f"told[{number}]" if number else "told", "--to", "told.json")
            found = json.loads((project.root / "told.json").read_text())
            assert found == [each.format(bytes=long) for each in lines]


def put(project: Project, name: str, data: str | bytes) -> Path:
    path = project.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path
