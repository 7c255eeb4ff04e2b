"""`[log]`: what happens to runs, a line each, for machines and for people."""

from __future__ import annotations

import json

from tests.cli.conftest import Shell

PIPELINE = """
    import headrace as hr

    @hr.stage(kind="prepare")
    def good() -> int:
        return 1

    @hr.stage(kind="train")
    def bad(x: int) -> int:
        raise ValueError("no good")

    @hr.pipeline
    def flow() -> None:
        bad(good())
    """


def test_each_thing_that_happens_to_a_run_is_a_json_object(project: Shell) -> None:
    project.write("pipelines.py", PIPELINE)
    project.write("headrace.toml", '[log]\nfile = "headrace.log"\n')
    run = project("run", "flow", "--json").json["run"]
    lines = [json.loads(line) for line in (project.folder / "headrace.log").read_text().splitlines()]
    assert [(line["level"], line["event"], line.get("task")) for line in lines] == [
        ("info", "run opened", None),
        ("info", "task succeeded", "good"),
        ("warning", "task failed", "bad"),
        ("warning", "run closed", None),
    ]
    assert all(line["run"] == run and line["time"].endswith("Z") for line in lines)
    assert "no good" in lines[2]["reason"]


def test_a_log_for_people_goes_to_stderr(project: Shell) -> None:
    project.write("pipelines.py", PIPELINE)
    project.write("headrace.toml", '[log]\nfile = "-"\nformat = "text"\nlevel = "debug"\n')
    told = project("run", "flow", "--json").err
    assert " DEBUG task running run=" in told
    assert " WARNING task failed run=" in told
    assert "\nTraceback" not in told


def test_what_stops_a_driver_is_logged(project: Shell) -> None:
    project.write("pipelines.py", "import nothing_like_it\n")
    project.write("headrace.toml", '[log]\nfile = "headrace.log"\n')
    project("run", "flow")
    (line,) = (project.folder / "headrace.log").read_text().splitlines()
    assert json.loads(line)["event"] == "driver stopped"
    assert "nothing_like_it" in json.loads(line)["message"]


def test_a_log_that_cannot_be_written_is_one_clear_error(project: Shell) -> None:
    project.write("pipelines.py", PIPELINE)
    project.write("headrace.toml", '[log]\nfile = "/proc/headrace/log"\n')
    done = project("run", "flow")
    assert done.code == 2
    assert "/proc/headrace/log" in done.err
    assert "hint: `[log] file`" in done.err


def test_a_log_that_takes_no_more_is_told_once_and_the_run_goes_on(project: Shell) -> None:
    project.write("pipelines.py", PIPELINE.replace('raise ValueError("no good")', "return x"))
    project.write("headrace.toml", '[log]\nfile = "/dev/full"\n')
    done = project("run", "flow")
    assert done.code == 0
    assert done.err.count("lines of the log are lost: [Errno 28] No space left on device") == 1
    assert "Logging error" not in done.err
