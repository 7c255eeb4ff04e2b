"""What an attempt prints, and what of it nobody may see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
from headrace.work.capture import Capture

capture = Capture(Path(sys.argv[1]), "log")
for length in range(2, 10):
    capture.hide("hunter2345"[:length])
capture.begin()
print("hunter2345", "hunter2")
print(capture.mask("hunter234, and hunter"))
capture.end()
"""


def test_a_secret_that_another_begins_with_does_not_leave_the_rest_of_that_to_be_read(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True)
    assert (tmp_path / "log").read_text() == "*********5 *******\n********, and ********\n"
