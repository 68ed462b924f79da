"""A run that was stopped within an epoch ends as one that was not, to the last bit."""

import csv
import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from pdanet_tf import train
from pdanet_tf.ops.replicas import assign_sum
from pdanet_tf.training import TrainConfig, resume
from pdanet_tf.training.callbacks import Validation
from pdanet_tf.training.checkpoint_files import check_checkpoint, newest_sound, write_checkpoint
from pdanet_tf.training.checkpoints import load_checkpoint
from pdanet_tf.training.intervals import Due, Interval, normalise
from pdanet_tf.training.layer_policies import POLICIES_ENTRY, dump_policies
from pdanet_tf.training.progress import Progress
from pdanet_tf.training.run_folder import RunFolder
from pdanet_tf.training.termination import EXIT_STATUS, Termination, TrainingTerminated
from tests.support.folders import write_folder
from tests.support.tiny_training import runs_build, tiny_config

EPOCHS, STEPS = 2, 5
make_config = functools.partial(
    tiny_config, epochs=EPOCHS, steps_per_epoch=STEPS, checkpoint_every=1
)


@pytest.fixture(scope="module", autouse=True)
def _tiny_models():
    with runs_build():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "dataset")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """An uninterrupted run. Tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(make_config(data, folder), verbose=0)
    return folder


class KilledError(BaseException):
    """Ends training without any cleaning up by the run, as a kill does."""


class KillAfter(keras.callbacks.Callback):
    """Raises after a step of an epoch, both counted from 0; the steps that it saw are `seen`."""

    def __init__(self, epoch, step, error=KilledError):
        super().__init__()
        self.at, self.error, self.seen = (epoch, step), error, []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((self.epoch, batch))
        if self.seen[-1] == self.at:
            raise self.error


def state(folder):
    """All numbers of the last state and of the best model, and the history."""
    model = keras.saving.load_model(folder / "last.keras")
    numbers = [v.numpy() for v in (*model.weights, *model.optimizer.variables)]
    assert len(numbers) > 9
    best = keras.saving.load_model(folder / "best.keras", compile=False).get_weights()
    return numbers, best, (folder / "history.csv").read_text()


def assert_same_run(ours, theirs):
    mine, others = state(ours), state(theirs)
    for one, other in zip((*mine[0], *mine[1]), (*others[0], *others[1]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert mine[2] == others[2]
    files = [sorted(path.name for path in folder.iterdir()) for folder in (ours, theirs)]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulation_steps": 3, "ema": 0.5, "optimizer": "adam", "aux_head": True},
        pytest.param({"precision": "mixed_bfloat16"}, marks=pytest.mark.slow),
        pytest.param({"precision": "mixed_float16", "learning_rate": 1e-3}, marks=pytest.mark.slow),
        pytest.param(
            {"recipe": "paper", "short_edges": (16, 24), "max_size": 32, "crop_size": None},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["plain", "accumulation", "bfloat16", "float16", "paper"],
)
def test_a_run_killed_within_epochs_ends_as_one_that_was_not(options, data, whole, tmp_path):
    if options:
        whole = tmp_path / "whole"
        train(make_config(data, whole, **options), verbose=0)
    config = make_config(data, tmp_path / "run", checkpoint_every=2, **options)
    # The states are those after 2, 4, 5 (the epoch), 6, 8 and 10 steps.
    for epoch, step, begins in ((0, 3, (0, 0)), (1, 1, (0, 4)), (1, 4, (1, 1))):
        kill = KillAfter(epoch, step)
        with pytest.raises(KilledError):
            train(config, 0, [kill])
        assert kill.seen[0] == begins
        assert kill.seen[-1] == (epoch, step)
    progress = Progress.read(tmp_path / "run" / "last.keras")
    assert (progress.epochs, progress.step) == (1, STEPS)  # only the validation is left
    train(config, verbose=0)
    assert_same_run(tmp_path / "run", whole)


def test_layers_in_a_loaded_checkpoint_compute_in_the_same_dtype(tmp_path):
    """Keras alone does not store the policy of the spatial dropout."""
    inputs = keras.Input((4, 4, 8))
    drop = keras.layers.SpatialDropout2D(0.5, seed=3, dtype="mixed_bfloat16", name="drop")
    plain = keras.layers.SpatialDropout2D(0.5, seed=3, dtype="float32", name="plain")
    inner = keras.Model(inputs, [drop(inputs), plain(inputs)], name="inner")
    model = keras.Model(inputs, inner(inputs))
    model.compile("sgd")
    file, images = tmp_path / "last.keras", np.ones((2, 4, 4, 8), "float32")
    write_checkpoint(file, 10, model.save, {POLICIES_ENTRY: dump_policies(model)})
    expected = model(images, training=True)
    loaded = load_checkpoint(file, Progress({}), STEPS, TrainConfig())
    for ours, theirs in zip(loaded(images, training=True), expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert [each.dtype for each in expected] == ["bfloat16", "float32"]
    model.save(file)  # a file of before has no policies
    assert load_checkpoint(file, Progress({}), STEPS, TrainConfig()).optimizer is not None


def test_a_checkpoint_has_the_numbers_of_steps_and_images(data, tmp_path):
    config = make_config(data, tmp_path / "run")
    with pytest.raises(KilledError):
        train(config, 0, [KillAfter(1, 2)])
    with zipfile.ZipFile(tmp_path / "run" / "last.keras") as archive:
        content = json.loads(archive.read("pdanet_tf_progress.json"))
    steps = STEPS + 3
    assert (content["total_steps"], content["total_images"]) == (steps, 2 * steps)
    assert (content["epochs"], content["step"]) == (1, 3)
    assert (
        Progress.read(tmp_path / "run" / "last.keras").describe(STEPS) == "step 3 of 5 of epoch 2"
    )


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(data, whole, tmp_path, capsys):
    config = make_config(data, tmp_path / "run", keep_checkpoints=4)
    with pytest.raises(KilledError):
        train(config, 0, [KillAfter(1, 2)])
    paths = [tmp_path / "run" / f"last{number}.keras" for number in ("", "-1", "-2", "-3")]
    assert [Progress.read(path).step for path in paths] == [3, 2, 1, 0]
    damage(paths[0])
    cut(paths[1])
    kill = KillAfter(1, 1)
    with pytest.raises(KilledError):
        train(config, 0, [kill])
    assert kill.seen == [(1, 1)]
    said = capsys.readouterr().err
    for path in paths[:2]:
        assert f"Warning: {path}: not a checkpoint of a run: " in said
    assert said.count("last-2.keras, a state before it, is used instead.") == 2
    assert [Progress.read(path).step for path in paths[:2]] == [2, 1]  # and no damaged one
    resume(tmp_path / "run", verbose=0, keep_checkpoints=2)
    assert_same_run(tmp_path / "run", whole)


def test_a_kill_between_two_renamings_leaves_states_in_order(whole, tmp_path):
    folder = RunFolder(shutil.copytree(whole, tmp_path / "run"))
    assert [path.name for path in folder.states()] == ["last.keras", "last-1.keras"]
    os.replace(folder.last, tmp_path / "run" / "last-10.keras")
    assert [path.name for path in folder.states()] == ["last-1.keras", "last-10.keras"]
    assert newest_sound(folder.states()).name == "last-1.keras"
    folder.remove_states_before(folder.former_states(1))
    assert [path.name for path in folder.states()] == ["last-1.keras"]
    cut(folder.states()[0])
    with pytest.raises(ValueError, match=r"last-1\.keras: not a checkpoint of a run: File is not"):
        newest_sound(folder.states())


def message_of(function):
    """Returns the message of a ValueError, or None if there was none."""
    try:
        function()
    except ValueError as error:
        return str(error)
    return None


def test_every_change_of_a_checkpoint_is_noticed(whole, tmp_path):
    file, rng = tmp_path / "last.keras", np.random.default_rng(3)
    content = (whole / "last.keras").read_bytes()
    file.write_bytes(content)
    check_checkpoint(file)
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    noticed = 0
    for position in rng.integers(len(content), size=60).tolist():
        changed = bytearray(content)
        changed[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        message = message_of(lambda: check_checkpoint(file))
        if message is None:  # a bit that no content depends on, such as one of a date
            with zipfile.ZipFile(file) as archive:
                assert {name: archive.read(name) for name in archive.namelist()} == entries
        else:
            assert message.startswith(f"{file}: not a checkpoint of a run: ")
            noticed += 1
    assert noticed > 40
    # An entry whose content was replaced by other whole content.
    with zipfile.ZipFile(file, "w") as archive:
        for name, entry in entries.items():
            archive.writestr(name, entry if name != "metadata.json" else "{}")
    with pytest.raises(ValueError, match=r"the checksum of metadata\.json in it is wrong"):
        check_checkpoint(file)


def terminate(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)


class TerminateAfter(KillAfter):
    """Sends SIGTERM to this process instead."""

    def __init__(self, epoch, step):
        super().__init__(epoch, step, None)

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            terminate()


def test_sigterm_saves_the_state_and_exits_with_75(data, whole, tmp_path, monkeypatch, capsys):
    config = make_config(data, tmp_path / "run", checkpoint_every=None)
    with pytest.raises(SystemExit) as raised:
        train(config, 2, [TerminateAfter(0, 2)])
    assert raised.value.code == EXIT_STATUS == 75
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    folder = tmp_path / "run"
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"SIGTERM ended training. {folder}/last.keras keeps the state after step 3 of 5 of epoch 1 "
        "of 2.",
        f"To continue: pdanet-tf train --resume --output-dir {folder} "
        f"(in Python: pdanet_tf.training.resume('{folder}', callbacks=...))",
    ]
    # In the validation, of which an image is done.
    seen = []
    former = Validation.on_epoch_end

    def validate(self, epoch, logs=None):
        check = self.before_image
        self.before_image = lambda: (seen.append(1), len(seen) == 2 and terminate(), check())
        former(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Validation, "on_epoch_end", validate)
        with pytest.raises(TrainingTerminated, match=r"after step 5 of 5 of epoch 1 of 2\."):
            train(config, 0)
    assert len(seen) == 2
    # Before the training begins.
    with monkeypatch.context() as patch:
        patch.setattr("pdanet_tf.training.session.check_batches", terminate)
        with pytest.raises(TrainingTerminated, match=r"after step 5 of 5 of epoch 1 of 2\."):
            train(config, 0)
        # A newer state is torn: the next call will continue from the one before it.
        os.replace(folder / "last.keras", folder / "last-1.keras")
        (folder / "last.keras").write_bytes(b"torn")
        with pytest.raises(TrainingTerminated, match=r"last-1\.keras keeps the state after step 5"):
            train(config, 0)
    (folder / "last.keras").unlink()
    os.replace(folder / "last-1.keras", folder / "last.keras")
    train(config, 2)
    assert "after step 5 of 5 of epoch 1 of 2." in capsys.readouterr().err
    assert_same_run(folder, whole)


def test_a_process_that_trains_with_others_stops_where_all_of_them_look():
    termination = Termination()
    with termination.watching():
        termination.defer_for_good()
        with termination.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(TrainingTerminated):
            termination.check()


def test_a_handler_of_the_program_stays():
    former = signal.signal(signal.SIGTERM, terminate)
    try:
        with Termination().watching():
            assert signal.getsignal(signal.SIGTERM) is terminate
    finally:
        signal.signal(signal.SIGTERM, former)


def test_the_same_call_continues_an_interrupted_run_and_says_what_changed(
    data, whole, tmp_path, capsys
):
    run = tmp_path / "run"
    with pytest.raises(KilledError):
        train(make_config(data, run), 0, [KillAfter(0, 1)])
    with pytest.raises(ValueError, match="started with") as raised:
        train(make_config(data, run, batch_size=3, ema=0.9, seed=4, learning_rate=0.5), 0)
    assert str(raised.value) == (
        f"The run in {run} was started with batch_size=2, not batch_size=3; learning_rate=0.01, "
        "not learning_rate=0.5; ema=None, not ema=0.9; seed=0, not seed=4. It was interrupted, and "
        "these options would make it another run. Choose another output_dir for that; resume=True "
        "continues it with the options that it has."
    )
    with pytest.raises(ValueError, match=r"epochs=2, not epochs=1 \(it can only be increased\)"):
        train(make_config(data, run, epochs=1), 0)
    more = make_config(data, run, epochs=3, checkpoint_every="2min")
    with pytest.raises(KilledError):
        train(more, 2, [KillAfter(1, 0)])
    said = " ".join(capsys.readouterr().err.split())
    assert "after step 2 of 5 of epoch 1 of 3. The number of epochs has changed." in said
    assert "Changed: epochs was 2, now it is 3; checkpoint_every was 1, now it is '2min'." in said
    train(more, 0)
    assert len((run / "history.csv").read_text().splitlines()) == 1 + 3


def test_a_run_that_has_ended_is_not_interrupted(data, whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    assert not RunFolder(run).is_interrupted
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(make_config(data, run), 0)
    # It was resumed for more epochs, and did not end.
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**content, "epochs": EPOCHS + 1}))
    assert RunFolder(run).is_interrupted
    (run / "summary.json").write_text("[]")
    assert not RunFolder(run).is_interrupted
    (run / "summary.json").unlink()
    assert RunFolder(run).is_interrupted


def test_a_stop_of_a_callback_counts_in_the_last_step_of_a_continued_epoch(data, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == STEPS - 1

    config = make_config(data, tmp_path / "run")
    with pytest.raises(KilledError):
        train(config, 0, [KillAfter(0, 1)])
    train(config, 0, [Stop()])
    assert Progress.read(tmp_path / "run" / "last.keras").epochs == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (500, 500),
        ("500", 500),
        ("10min", "10min"),
        ("0.50 min", "0.5min"),
        ("1000000min", "1000000min"),
        ("0.00001min", "0.00001min"),
        (None, None),
    ],
)
def test_the_spellings_of_intervals(value, expected):
    assert normalise(value) == expected
    assert TrainConfig(checkpoint_every=value).checkpoint_every == expected


@pytest.mark.parametrize("value", [0, -3, "0", "0min", "ten", "10", "10h", "-1min", "1e3", ""])
def test_other_intervals_are_refused(value):
    if value == "10":
        value = "10 steps"
    with pytest.raises(
        ValueError, match=r"such as 500, or minutes, such as '10min', above 0\. Rec"
    ):
        TrainConfig(checkpoint_every=value)


def test_when_a_checkpoint_is_due(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("pdanet_tf.training.intervals.time.monotonic", lambda: now[0])
    assert Interval.parse("0.5min") == Interval(None, 30.0)
    by_minutes, by_steps, never = (Due(Interval.parse(each)) for each in ("0.5min", 3, None))
    assert [by_steps.after(step) for step in range(1, 7)] == [False, False, True] * 2
    assert not by_minutes.after(1)
    now[0] += 30
    assert by_minutes.after(2)
    by_minutes.restart()
    assert not by_minutes.after(3)
    assert not never.after(3)


def test_a_limit_of_the_size_of_files_leaves_the_checkpoint(data, tmp_path):
    """A full disk, in a process of its own: the limit also holds for what it reads and writes."""
    script = (
        "import resource, sys; from pdanet_tf.training.checkpoint_files import *\n"
        "from pathlib import Path; path = Path(sys.argv[1])\n"
        "import zipfile\n"
        "def save(size):\n"
        "    def write(path):\n"
        "        with zipfile.ZipFile(path, 'w') as archive: archive.writestr('a', bytes(size))\n"
        "    return write\n"
        "former = [path.with_name('last-1.keras')]\n"
        "write_checkpoint(path, 10, save(1000), {'b': 'x'}, former)\n"
        "write_checkpoint(path, 10, save(2000), {'b': 'y'}, former)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "try: write_checkpoint(path, 5000, save(5000), {'b': 'z'}, former)\n"
        "except OSError as error: print(error)\n"
        "check_checkpoint(path); check_checkpoint(former[0])\n"
        "print(*[zipfile.ZipFile(each).read('b') for each in (path, *former)])\n"
        "print(*sorted(each.name for each in path.parent.iterdir()))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "last.keras")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert "last.keras could not be written. It needs about 5,000 bytes;" in found[0]
    assert found[0].endswith("The former file is unchanged.")
    assert found[1:] == ["b'y' b'x'", "last-1.keras last.keras"]


def test_a_run_on_a_full_disk_keeps_its_states(data, whole, tmp_path):
    config = make_config(data, tmp_path / "run")
    with pytest.raises(KilledError):
        train(config, 0, [KillAfter(0, 2)])
    former = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.keras")}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    class FillDisk(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limit[1]))

    try:
        with pytest.raises(OSError, match=r"last\.keras could not .* former file is unchanged\.$"):
            train(config, 0, [FillDisk()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert former == {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.keras")}
    train(config, 0)
    assert_same_run(tmp_path / "run", whole)


def test_a_metric_of_two_replicas_is_restored_as_a_sum():
    import tensorflow as tf

    devices = tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    with strategy.scope():
        metric = keras.metrics.Mean()
    assign_sum(metric.total, np.float32(3.3))
    assert keras.ops.convert_to_numpy(metric.total) == np.float32(3.3)
    assert [float(part) for part in metric.total.value.values][1:] == [0.0] * (len(devices) - 1)


def test_copies_of_a_run_are_runs(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "copy")
    resume(run, verbose=0)
    assert_same_run(run, whole)


@pytest.mark.slow
def test_two_replicas_continue_within_an_epoch(data, tmp_path, two_replicas):
    config = make_config(data, tmp_path / "run", batch_size=4)
    with two_replicas.scope():
        train(make_config(data, tmp_path / "whole", batch_size=4), 0)
        with pytest.raises(KilledError):
            train(config, 0, [KillAfter(1, 2)])
        train(config, 0)
    mine, others = state(tmp_path / "run"), state(tmp_path / "whole")
    for one, other in zip((*mine[0], *mine[1]), (*others[0], *others[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    rows = [list(csv.DictReader(text.splitlines())) for text in (mine[2], others[2])]
    for one, other in zip(*rows, strict=True):
        assert one["mean_iou"] == other["mean_iou"]  # counts of pixels, which are exact
        assert float(one["loss"]) == pytest.approx(float(other["loss"]), rel=1e-5)
