"""What a stage can do as root in a namespace that is `on`: each way out that was played, in a real run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.backends.processes.namespace import works
from tests.projects import Project, lent

pytestmark = pytest.mark.skipif(not works(closed=True), reason="namespaces can't be had here: install bubblewrap")

TOML = """\
[pool.here]
cpu = 1
namespace = "on"
"""
ESCAPES = """\
import ctypes
import os
import stat
import subprocess
from pathlib import Path
import headrace as hr

LIBC = ctypes.CDLL(None, use_errno=True)

def tried(act) -> str:
    try:
        done = act()
    except OSError as error:
        return type(error).__name__
    return os.strerror(ctypes.get_errno()) if done == -1 else "done"

def opened(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY))  # no more than that: were it let, it would be this machine's

def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]

@hr.stage
def escapes(driver: int, secret_file: str) -> dict[str, object]:
    found = {}
    told = [Path(f"/proc/{pid}/environ") for pid in processes()]
    environments = [path.read_bytes() for path in told if os.access(path, os.R_OK)]
    found["environments"] = sum(b"hunter2" in each for each in environments)
    found["roots"] = [pid for pid in processes() if os.path.exists(f"/proc/{pid}/root{secret_file}")]
    found["ptrace"] = tried(lambda: LIBC.ptrace(16, driver, 0, 0))
    found["kill"] = tried(lambda: os.kill(driver, 0))
    Path("m").mkdir()
    found["mount"] = tried(lambda: LIBC.mount(b"none", b"m", b"tmpfs", 0, None))
    found["umount"] = tried(lambda: LIBC.umount2(os.path.dirname(secret_file).encode(), 2))
    found["remount"] = tried(lambda: LIBC.mount(None, b"/", None, 32, None))
    found["node"] = tried(lambda: os.mknod("node", stat.S_IFBLK | 0o600, os.makedev(8, 0)))
    found["chroot"] = tried(lambda: os.chroot("/"))
    found["name"] = tried(lambda: LIBC.sethostname(b"mine", 4))
    found["core_pattern"] = tried(lambda: opened("/proc/sys/kernel/core_pattern"))
    found["sys"] = tried(lambda: opened("/sys/kernel/mm/transparent_hugepage/enabled"))
    found["sysrq"] = tried(lambda: opened("/proc/sysrq-trigger"))
    found["disks"] = [name for name in os.listdir("/dev") if stat.S_ISBLK(os.lstat(f"/dev/{name}").st_mode)]
    found["memory"] = tried(lambda: open("/dev/mem", "rb").close())
    found["code"] = tried(lambda: os.chmod(__file__, 0o666))
    found["more code"] = tried(lambda: Path(__file__).with_name("more.py").write_text("mine"))
    found["notes"] = tried(lambda: os.unlink(next(Path(__file__).parents[2].glob("workers/*/*"))))
    status = Path("/proc/self/status").read_text()
    status += subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout  # another program
    rights = ("CapEff", "CapPrm", "CapInh", "CapAmb")
    found["rights"] = [line.split()[1] for line in status.splitlines() if line.startswith(rights)]
    found["nested"] = subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode
    return found

@hr.pipeline
def flow(driver: int, secret_file: str) -> None:
    escapes(driver, secret_file)
"""
SPOILS = """\
import os
from pathlib import Path
import headrace as hr

@hr.stage
def made() -> bytes:
    return b"true" * 10_000

@hr.stage
def reads(data: bytes) -> str:
    return data[:4].decode()

@hr.stage
def spoils(data: bytes, then: str) -> int:
    done = 0
    for blob in Path(__file__).parents[2].rglob("*"):
        if blob.is_file() and blob.stat().st_size == 40_000:
            blob.chmod(0o666)
            blob.write_bytes(b"fake" * 10_000)
            done += 1
    return done

@hr.stage
def reads_again(data: bytes, then: int) -> str:
    return data[:4].decode()

@hr.pipeline
def flow() -> None:
    data = made()
    reads_again(data, spoils(data, reads(data)))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path, TOML) as project:
        yield project


def read(project: Project, task: str) -> Any:
    done = project.headrace("get", "latest", task, "--to", f"{task}.json")
    assert done.code == 0, done
    return json.loads((project.root / f"{task}.json").read_text())


def test_a_stage_of_root_s_finds_no_way_out_of_a_namespace_that_is_on(project: Project) -> None:
    project.write("pipelines.py", ESCAPES)
    project.environment["WAREHOUSE_PASSWORD"] = "hunter2hunter2"
    hidden = project.write("notes.txt", "the project's own")
    done = project.headrace("run", "flow", "--driver", str(os.getpid()), "--secret-file", str(hidden), "--json")
    assert done.code == 0, done
    found = read(project, "escapes")
    assert found.pop("environments") == 0
    assert found.pop("roots") == []
    assert found.pop("disks") == []
    assert set(found.pop("rights")) == {"0" * 16}
    assert found.pop("nested") != 0
    ways_out = {way: end for way, end in found.items() if end == "done"}
    assert not ways_out
    assert hidden.read_text() == "the project's own"


def test_a_blob_that_a_stage_writes_over_is_not_what_the_next_attempt_reads(project: Project) -> None:
    project.write("pipelines.py", SPOILS)
    done = project.headrace("run", "flow", "--json")
    tasks = done.task
    assert read(project, "spoils") == 1
    assert tasks["reads"]["state"] == "succeeded"
    assert tasks["reads_again"]["state"] == "failed", done
    assert "damaged" in tasks["reads_again"]["reason"]
