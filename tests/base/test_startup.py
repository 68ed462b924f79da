"""The start of a process: the allocator, TensorFlow's log, and the processor's features."""

import ctypes
import os
import signal
import subprocess
import sys

import pytest

from pdanet_tf.base.processor import describe_processor, processor_flags, slow_precision
from pdanet_tf.base.startup import import_keras_quietly, keep_freed_memory

GLIBC = hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
# Stands for Keras and TensorFlow: their log, another's words, and what the process says itself.
FAKE_KERAS = """
import contextlib, os, sys
with contextlib.suppress(OSError):  # it is closed
    os.write(2, b'''WARNING: All log messages before absl::InitializeLog() is called are written
I0000 00:00:1795654270.185994   20512 port.cc:153] oneDNN custom operations are on.
2026-01-02 03:04:05.678901: I tensorflow/core/platform/cpu_feature_guard.cc:210] This binary is
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with
E0000 00:00:1795654278.589043   20512 cuda_platform.cc:52] failed call to cuInit: INTERNAL
Skipping registering GPU devices...
the disk is on fire
''')
print("a warning of Python's", file=sys.stderr)
if os.environ.get("BROKEN"):
    raise ImportError("no keras")
class backend:
    backend = staticmethod(lambda: "jax")
"""
OTHERS = "the disk is on fire\na warning of Python's\n"


def run(script, **variables):
    unset = ("TF_CPP_MIN_LOG_LEVEL", "LD_PRELOAD", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, **variables},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def fake_keras(tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text(FAKE_KERAS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.getcwd()}")


# pdanet_tf itself waits for Keras to be imported, which the fake is not for.
QUIETLY = (
    "import pdanet_tf.base.startup as s, wrapt, sys; sys.meta_path = [f for f in sys.meta_path if "
)
QUIETLY += "'wrapt' not in type(f).__module__]; s.import_keras_quietly(); "


def test_the_log_is_dropped_and_all_else_is_not(fake_keras):
    done = run(QUIETLY + "print('mine', file=sys.stderr)")
    assert (done.returncode, done.stderr) == (0, OTHERS + "mine\n")


def test_the_log_is_shown_to_who_asks_for_it(fake_keras):
    assert "cuInit" in run(QUIETLY, TF_CPP_MIN_LOG_LEVEL="0").stderr


def test_a_failed_import_shows_everything(fake_keras):
    done = run(QUIETLY, BROKEN="1")
    assert done.returncode == 1
    assert "cuInit" in done.stderr
    assert "ImportError: no keras" in done.stderr


def test_a_closed_or_replaced_standard_error_is_no_obstacle(fake_keras):
    check = "import os; os.close(2); sys.stderr = None; "
    script = QUIETLY.replace("s.import", check + "s.import") + "print('done')"
    assert run(script).stdout.endswith("done\n")


def test_nothing_is_done_once_tensorflow_is_there(monkeypatch):
    assert "tensorflow" in sys.modules
    monkeypatch.setattr("pdanet_tf.base.startup._without_log_lines", None)  # would raise
    import_keras_quietly()


@pytest.mark.skipif(not GLIBC, reason="glibc alone has these settings")
def test_freed_memory_stays_with_the_process():
    """Page faults of large arrays that come and go, after TensorFlow's own setting."""
    script = """
import ctypes, resource, sys
import numpy as np
from pdanet_tf.base.startup import keep_freed_memory
ctypes.CDLL(None).mallopt(-1, 128 * 1024)
kept = keep_freed_memory() if sys.argv[1:] else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.empty(40_000_000, "uint8").fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""
    before = run(script).stdout.split()
    after = run(script.replace("sys.argv[1:]", "True")).stdout.split()
    assert (before[0], after[0]) == ("None", "True")
    assert int(after[1]) < int(before[1]) / 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_ARENA_MAX", "2"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2"),
        ("LD_PRELOAD", "/usr/lib/libtcmalloc_minimal.so.4"),
        ("LD_PRELOAD", "/usr/lib/libjemalloc.so.2"),
    ],
)
def test_settings_of_the_user_stay(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(ctypes, "CDLL", None)  # would raise
    assert keep_freed_memory() is False


def test_other_systems_have_no_such_settings(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert keep_freed_memory() is False


AVX2 = frozenset({"sse", "avx", "avx2", "fma"})
AVX512 = AVX2 | {"avx512f", "avx512_bf16"}


def test_a_precision_that_the_processor_lacks_is_reported():
    text = slow_precision("mixed_bfloat16", training=True, flags=AVX2)
    assert text.startswith("mixed_bfloat16: training was eleven times slower than in float32")
    assert "AVX2, without bfloat16 and float16" in text
    assert "inference" in slow_precision("bfloat16", flags=AVX2)
    assert slow_precision("mixed_bfloat16", training=True, flags=AVX512) is None
    assert slow_precision("mixed_float16", flags=AVX512) is not None
    assert slow_precision("mixed_bfloat16", flags=frozenset()) is None  # not known
    assert slow_precision("float32", flags=AVX2) is None
    assert slow_precision(None, flags=AVX2) is None


def test_flags_are_read_as_linux_writes_them(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512f amx_bf16\n\nprocessor\t: 1\n")
    assert processor_flags(file) == {"fpu", "avx2", "avx512f", "amx_bf16"}
    file.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert slow_precision("bfloat16", flags=processor_flags(file)) is None
    assert "NEON" in describe_processor(processor_flags(file))
    assert processor_flags(tmp_path / "missing") == frozenset()


def test_commands_say_nothing_that_they_were_not_asked_for(tmp_path, make_folder):
    """Commands in a process of their own leave standard error empty, although TensorFlow logs."""
    script = """
import sys
from pdanet_tf.cli import main
root, model = sys.argv[1:]
from pdanet_tf.base.startup import import_keras_quietly
import_keras_quietly()
import pdanet_tf
pdanet_tf.build_model("fcn_resnet18", 3).save(model)
data = ["--dataset", "folder", "--data-dir", root, "--num-classes", "3"]
assert main(["evaluate", "--model", model, *data]) == 0
image = f"{root}/images/train/scene_0.jpg"
assert main(["predict", image, "--model", model, "--output", f"{root}/out"]) == 0
"""
    arguments = f"import sys; sys.argv[1:] = {[str(make_folder()), str(tmp_path / 'm.keras')]!r}\n"
    done = run(arguments + script)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mean IoU" in done.stdout


_TERMINATED = """
import os, signal, sys
from pdanet_tf.cli import main

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "keras":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder())
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("command", "status"), [("train", 75), ("evaluate", -signal.SIGTERM)])
def test_sigterm_while_training_starts_asks_for_a_restart(command, status, tmp_path):
    """Schedulers start the command again; other commands end as every process does."""
    options = {"train": ["--output-dir", str(tmp_path / "run")], "evaluate": ["--model", "x.keras"]}
    script = [sys.executable, "-c", _TERMINATED, command, *options[command]]
    assert subprocess.run(script, capture_output=True).returncode == status
    assert not (tmp_path / "run").exists()
