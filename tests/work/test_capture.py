"""What an attempt prints, and what of it nobody may see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BEGIN = """
import os
import signal
import sys
from pathlib import Path
from headrace.work.output.capture import Capture

writers = []
capture = Capture(Path(sys.argv[1]), "log", writers.append)
capture.begin()
"""
ALIKE = """
capture.hide("hunter2345"[:length] for length in range(2, 10))
print("hunter2345", "hunter2")
print(capture.mask("hunter234, and hunter"))
capture.end()
"""
LATER = """
print("hunter2, before anybody knows")
capture.end()
assert not writers, "what has no secrets has its log without a detour"
for end in ("by itself", "killed", "killed again"):
    capture.begin()
    capture.hide([])
    capture.hide(["hunter2"] if end == "by itself" else [])
    print("hunter2,", end)
    capture.end()
    os.kill(writers[-1], signal.SIGKILL)
    os.waitpid(writers[-1], 0)
"""


def run(folder: Path, code: str) -> str:
    """Return what is in the log when the code has run."""
    subprocess.run([sys.executable, "-c", BEGIN + code, str(folder)], check=True)
    return (folder / "log").read_text()


def test_a_secret_that_another_begins_with_does_not_leave_the_rest_of_that_to_be_read(tmp_path: Path) -> None:
    assert run(tmp_path, ALIKE) == "********5 ********\n********, and ********\n"


def test_a_secret_is_masked_in_later_attempts_too_whatever_becomes_of_the_process_that_masks(tmp_path: Path) -> None:
    told = "hunter2, before anybody knows\n********, by itself\n********, killed\n********, killed again\n"
    assert run(tmp_path, LATER) == told
