"""An exported model under load. `python -m benchmarks.serving` sends more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving import fuzz

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_damaged_images_change_no_other_answer(capsys):
    fuzz(280)
    printed = capsys.readouterr().out
    assert "280 mutated images" in printed
    assert re.search("[0-9]+ a damaged PNG file", printed)


@pytest.mark.slow
def test_images_of_random_sizes_do_not_fill_the_memory():
    # A process of its own, in which no earlier test has used memory. With one arena, the number
    # of the processor's cores does not decide how much freed memory glibc keeps.
    command = [sys.executable, "-m", "benchmarks.serving", "sizes", "--requests", "150"]
    printed = subprocess.run(
        command,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    after_50, *_, after_150 = map(int, re.findall(r"requests: ([0-9]+) MiB", printed))
    # Measured: 13 to 45 MiB. Interpolation by matrix products took 47 MiB for 50 requests.
    assert after_150 - after_50 < 70
