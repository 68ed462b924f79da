"""An exported model under load. `python -m benchmarks.serving` sends more."""

import re

import pytest

from benchmarks.serving import fuzz, send_sizes


@pytest.mark.slow
def test_damaged_images_change_no_other_answer(capsys):
    fuzz(280)
    printed = capsys.readouterr().out
    assert "280 mutated images" in printed
    assert re.search("[0-9]+ a damaged PNG file", printed)


@pytest.mark.slow
def test_images_of_random_sizes_do_not_fill_the_memory(capsys):
    send_sizes(100)
    used = re.findall(r"requests: ([0-9]+) MiB", capsys.readouterr().out)
    assert len(used) == 2
    # Interpolation by matrix products took 47 MiB for 50 requests.
    assert int(used[1]) - int(used[0]) < 30
