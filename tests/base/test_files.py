"""Folders that are written whole or not at all, and what a killed process leaves of them."""

import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from pdanet_tf.files import read_json, whole_folder

WRITER = """
import sys
from pathlib import Path
from pdanet_tf.files import whole_folder
with whole_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@contextmanager
def writer(path):
    """A process that is writing a folder; it is killed at the end."""
    command = [sys.executable, "-c", WRITER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            assert process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL


def write(path):
    with whole_folder(path) as folder:
        (folder / "file").write_text("whole")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_a_killed_process_leaves_nothing_for_long(tmp_path):
    path = tmp_path / "served" / "1"
    with writer(path):
        write(tmp_path / "served" / "2")
        write(path)  # another process is writing it, too
        (other,) = (name for name in names(path.parent) if name not in "12")
        assert names(path.parent / other / "1") == ["half"]
    assert names(path.parent) == [other, "1", "2"]
    path.rename(path.parent / "former")
    write(path)
    assert names(path.parent) == ["1", "2", "former"]
    assert (path / "file").read_text() == "whole"


def test_a_folder_of_which_nothing_is_known_stays(tmp_path):
    unknown = tmp_path / ".1.abcdefgh.tmp"
    (unknown / "1").mkdir(parents=True)
    foreign = tmp_path / ".1.ijklmnop.tmp"
    foreign.mkdir()
    (foreign / ".lock").write_text("another machine")
    write(tmp_path / "1")
    assert names(tmp_path) == [unknown.name, foreign.name, "1"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "1") as folder:
        (folder / "missing" / "file").touch()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "expected a JSON object, found an array"),
        (b"null", "expected a JSON object, found null"),
        (b"2.5", "expected a JSON object, found a number"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "more than one value for 'c'"),
    ],
)
def test_json_that_is_refused(content, message, tmp_path):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_json(tmp_path / "file.json")
    assert str(tmp_path / "file.json") in str(caught.value)


def test_json_of_windows_editors(tmp_path):
    (tmp_path / "file.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "file.json") == {"a": 1}
