"""Upkeep of a project with several regions, by the real command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_regions import PIPELINES, SETTINGS
from tests.projects import Project, lent


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project whose data was made in one region and used in another."""
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        project.write("headrace.toml", SETTINGS)
        assert project.headrace("run", "flow", "--only", "source").code == 0
        assert project.headrace("run", "flow", "--pool", "b").code == 0
        yield project


def largest(project: Project, store: str) -> Path:
    return max((project.root / store / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)


def test_a_run_with_transfers_follows_from_its_events(project: Project) -> None:
    shown = project.headrace("show", "latest", "--json").json
    assert "transfer" in {task["kind"] for task in shown["tasks"]}
    for run in project.headrace("runs", "--json").json["runs"]:
        done = project.headrace("replay", run["run"], "--json")
        assert done.json["differences"] == []
        assert done.code == 0
    assert project.headrace("fsck", "--deep", "--json").json["problems"] == []


def test_a_damaged_replica_is_brought_again_from_the_other_region(project: Project) -> None:
    here, far = largest(project, "home-store"), largest(project, "far-store")
    assert here.name == far.name
    here.chmod(0o644)
    here.write_bytes(bytes(here.stat().st_size))
    assert project.headrace("fsck").code == 0
    found = project.headrace("fsck", "--deep", "--json")
    assert found.code == 5
    assert [each["subject"] for each in found.json["problems"]] == [here.name]
    mended = project.headrace("fsck", "--deep", "--repair", "--json")
    assert mended.code == 0
    assert mended.json["problems"][0]["mended"] == "brought again from region `far`"
    assert here.read_bytes() == far.read_bytes()


def test_what_goes_goes_from_all_regions_and_a_backup_takes_from_any(project: Project) -> None:
    largest(project, "home-store").unlink()
    made = project.headrace("backup", "kept", "--json").json
    assert made["snapshot"]["lacking"] == []
    found = project.headrace("gc", "--keep-runs", "0", "--json").json
    assert {blob["region"] for blob in found["blobs"]} == {"local", "far"}
    assert list((project.root / "far-store" / "blobs").glob("*/*")) == []
    project.environment["HEADRACE_HOME"] = "restored"
    project.write("headrace.toml", "")
    assert project.headrace("restore", "kept").code == 0
    assert project.headrace("fsck", "--deep").code == 0
