"""What an attempt is said to have taken."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, subprocess, sys
from headrace.work.limits.meter import Meter

if os.fork():  # as workers are: a process that another has executed is given the peak of that one by the kernel
    os.wait()
    sys.exit()
meter = Meter()
meter.begin()
held = bytearray(300 << 20)
print(meter.read().peak_gib)
del held
meter.begin()
subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
print(meter.read().peak_gib, meter.read().cpu_s)
"""


def test_an_attempt_s_peak_is_its_own_and_what_it_has_begun_counts() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    first, second, cpu_s = map(float, done.stdout.split())
    assert first > 0.3
    assert second < 0.2
    assert cpu_s > 0.05
