"""Progress on standard error, where it is no terminal: a line, or nothing."""

import re

import pytest

from pdanet_tf.base.progress import track


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, r"Reading: 3 in 0\.\d s\n"), ({"leave": False}, ""), ({"show": False}, "")],
)
def test_a_log_gets_one_line_or_none(options, expected, capsys):
    assert list(track(iter("abc"), "Reading", 3, **options)) == ["a", "b", "c"]
    printed = capsys.readouterr()
    assert re.fullmatch(expected, printed.err)
    assert printed.out == ""


@pytest.mark.parametrize(("leave", "shown"), [(True, True), (False, False)])
def test_a_bar_stays_on_a_terminal_or_is_removed(leave, shown, capsys, monkeypatch):
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes standard error for a terminal
    monkeypatch.setenv("TERM", "xterm")
    assert list(track("abc", "Reading", 3, leave=leave)) == ["a", "b", "c"]
    printed = capsys.readouterr().err
    assert "Reading" in printed
    erased = printed.endswith("\x1b[2K")  # the last thing written erases the line
    assert erased != shown
