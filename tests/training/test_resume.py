"""A run that was interrupted, killed or out of disk space resumes with the same results."""

import csv
import dataclasses
import errno
import functools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf import cli, train
from pdanet_tf.data import FolderDataset
from pdanet_tf.files import whole_file, whole_folder, write_atomically
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.training import TrainConfig, TrainingInterrupted, resume
from pdanet_tf.training.callbacks import StopOnNonFinite
from pdanet_tf.training.lock import locked
from pdanet_tf.training.progress import Progress
from pdanet_tf.training.run_folder import RunFolder, check_same_run, make_origin
from tests.support.folders import write_folder
from tests.support.tiny_training import runs_build, tiny_config

EPOCHS, STEPS = 2, 2
make_config = functools.partial(tiny_config, epochs=EPOCHS, steps_per_epoch=STEPS)


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


@pytest.fixture
def run(whole, tmp_path):
    """A copy of that run."""
    return shutil.copytree(whole, tmp_path / "run")


def weights(file):
    return keras.saving.load_model(file, compile=False).get_weights()


def assert_same_run(ours, theirs):
    for name in ("last.keras", "best.keras"):
        for one, other in zip(weights(ours / name), weights(theirs / name), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    assert (ours / "history.csv").read_bytes() == (theirs / "history.csv").read_bytes()
    assert sorted(path.name for path in ours.iterdir()) == sorted(
        path.name for path in theirs.iterdir()
    )


class KilledError(BaseException):
    """Simulates a kill. `kill_at` restores the files that a killed process leaves."""


def kill_at(monkeypatch, moment, name, count):
    """Raises before or after a file is moved to its path for the `count`-th time.

    Returns:
        A function that restores the temporary files, which a killed process leaves.
    """
    replace, left, seen = os.replace, {}, []

    def fake(source, target):
        if target.name != name or (seen.append(target) or len(seen)) != count:
            return replace(source, target)
        if moment == "before":
            left[source.parent] = {path.name: path.read_bytes() for path in source.parent.iterdir()}
        else:
            replace(source, target)
        raise KilledError

    monkeypatch.setattr("pdanet_tf.files.os.replace", fake)

    def put_back():
        monkeypatch.undo()
        for folder, files in left.items():
            folder.mkdir()
            for file, content in files.items():
                (folder / file).write_bytes(content)
        return bool(left)

    return put_back


@pytest.mark.parametrize(
    ("moment", "name", "count"),
    [
        ("before", "last.keras", 2),
        ("before", "best.keras", 1),
        ("after", "best.keras", 1),
        ("after", "last.keras", 2),
        ("after", "history.csv", 1),
    ],
)
def test_a_killed_run_ends_as_one_that_was_not(
    moment, name, count, data, whole, tmp_path, monkeypatch
):
    config = make_config(data, tmp_path / "run")
    put_back = kill_at(monkeypatch, moment, name, count)
    with pytest.raises(KilledError):
        train(config, verbose=0)
    assert put_back() == (moment == "before")
    resume(config.output_dir, verbose=0)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("again", [train, lambda config, verbose: resume(config.output_dir, 0)])
def test_a_run_killed_before_its_first_checkpoint_can_be_started_again(
    again, data, whole, tmp_path, monkeypatch
):
    config = make_config(data, tmp_path / "run")
    put_back = kill_at(monkeypatch, "before", "last.keras", 1)
    with pytest.raises(KilledError):
        train(config, verbose=0)
    assert put_back()
    assert (tmp_path / "run" / "config.json").is_file()
    again(config, verbose=0)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_a_lost_best_model_is_replaced_by_the_last(damage, run):
    content = (run / "best.keras").read_bytes()
    with zipfile.ZipFile(run / "best.keras") as archive:
        start = archive.getinfo("model.weights.h5").header_offset + 5000
    changed = content[:start] + bytes([content[start] ^ 1]) + content[start + 1 :]
    (run / "best.keras").write_bytes(b"garbage" if damage == "lost" else changed)
    resume(run, verbose=0)
    for best, last in zip(weights(run / "best.keras"), weights(run / "last.keras"), strict=True):
        np.testing.assert_array_equal(best, last)
    assert Progress.read(run / "best.keras").best_epochs == EPOCHS


def test_the_history_is_written_from_the_checkpoint(run, whole):
    rows = (whole / "history.csv").read_bytes()
    assert b"\r" not in rows
    assert [row["epoch"] for row in csv.DictReader(rows.decode().splitlines())] == ["0", "1"]
    for torn in (rows[:40], b"", b"\xff\x00garbage\r\n,,,\n", rows + rows):
        (run / "history.csv").write_bytes(torn)
        resume(run, verbose=0)
        assert (run / "history.csv").read_bytes() == rows


def test_a_run_can_be_continued_for_more_epochs(run, tmp_path, capsys):
    former = (run / "history.csv").read_text()
    other = shutil.copytree(run, tmp_path / "other")
    result = train(TrainConfig(output_dir=str(run), resume=True, epochs=4), verbose=2)
    assert result.summary["steps_before"] == 2 * STEPS  # whose time is not in "seconds"
    said = " ".join(capsys.readouterr().err.split())
    rate = 1e-2 * (1 - 2 / 4) ** 0.9
    assert (
        "after epoch 2 of 4. The number of epochs has changed. The learning rate continues at "
        f"{rate:.3g} instead of" in said
    )
    assert (run / "history.csv").read_text().startswith(former)
    assert TrainConfig.load(run / "config.json").epochs == 4
    optimizer = keras.saving.load_model(run / "last.keras").optimizer
    assert int(optimizer.iterations) == 4 * STEPS
    schedule = keras.optimizers.schedules.deserialize(optimizer.get_config()["learning_rate"])
    assert float(schedule(5)) == pytest.approx(1e-2 * (1 - 5 / 8) ** 0.9)

    # Also where it was interrupted before its first new checkpoint.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopOnNonFinite, "on_epoch_begin", interrupt)
        with pytest.raises(TrainingInterrupted):
            resume(other, verbose=0, epochs=4)
    resume(other, verbose=0)
    assert_same_run(other, run)


def interrupt(self, epoch, logs=None):
    raise KeyboardInterrupt


def test_options_that_differ_are_named_all_at_once(run):
    with pytest.raises(ValueError, match="can only be increased") as raised:
        resume(run, learning_rate=0.5, epochs=1, seed=3, model="fcn_resnet18", crop_size=[16, 32])
    assert str(raised.value).startswith(
        f"The run in {run} was started with learning_rate=0.01, not learning_rate=0.5; "
        "crop_size=(16, 24), not crop_size=(16, 32); seed=0, not seed=3; "
        "epochs=2, not epochs=1 (it can only be increased). "
    )
    with pytest.raises(ValueError, match=re.escape("batch_size=2, not batch_size=3;")):
        train(TrainConfig(output_dir=str(run), resume=True, batch_size=3, seed=1))
    with pytest.raises(ValueError, match="epochs must be an integer"):
        resume(run, epochs="3")
    with pytest.raises(ValueError, match=r"no option 'xyz', 'epoch' \(did you mean 'epochs'\?\)"):
        resume(run, xyz="red", epoch=3)
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        resume(run / "nowhere")
    assert not (run / "nowhere").exists()
    (run / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        resume(run)


@pytest.mark.parametrize(
    ("stored", "value", "same", "other"),
    [
        (11, 11, (11, (11,), [11]), ((11, 255), 255)),
        ([255, 11], (11, 255), ((11, 255), [255, 11]), (11, (11, 254))),
        (None, None, (), (255, [255])),
    ],
)
def test_the_spelling_of_ignore_label_does_not_matter(tmp_path, stored, value, same, other):
    folder = RunFolder(tmp_path)
    folder.config.write_text(json.dumps({"ignore_label": stored}))
    assert TrainConfig.load(folder.config).ignore_label == value
    folder.save_config(TrainConfig(ignore_label=stored))
    written = json.loads(folder.config.read_text())["ignore_label"]
    assert written == (list(value) if isinstance(value, tuple) else value)
    for spelled in same:
        assert folder.resumed_config({"ignore_label": spelled}).ignore_label == value
        origin = make_origin(TrainConfig(ignore_label=spelled), {})
        assert origin == make_origin(TrainConfig.load(folder.config), {})
    for spelled in other:
        with pytest.raises(ValueError, match=re.escape(f"ignore_label={value}, not ignore_label")):
            folder.resumed_config({"ignore_label": spelled})


def test_a_run_is_not_resumed_on_other_data(run, data, tmp_path, monkeypatch):
    moved = shutil.copytree(data, tmp_path / "moved")
    before = Progress.read(run / "last.keras")
    resume(run, verbose=0, data_dir=str(moved))
    assert TrainConfig.load(run / "config.json").data_dir == str(moved)
    for kind, ending in (("images", "jpg"), ("annotations", "png")):
        folder = moved / kind
        shutil.copy(folder / f"train/scene_0.{ending}", folder / f"train/scene_9.{ending}")
        (folder / f"validation/scene_0.{ending}").rename(folder / f"validation/other.{ending}")
    with pytest.raises(ValueError, match="started on other data") as raised:
        resume(run, verbose=0)
    assert (
        "on other data: there were 3 training images, now there are 4; the names of the training "
        "images differ; the names of the validation images differ. Restore"
    ) in str(raised.value)
    assert f"weights='{run}/best.keras'" in str(raised.value)
    assert Progress.read(run / "last.keras") == before


def test_a_run_is_resumed_from_another_working_directory(data, tmp_path, monkeypatch):
    monkeypatch.chdir(data.parent)
    result = train(make_config(data.name, tmp_path / "run", epochs=1), verbose=0)
    assert TrainConfig.load(tmp_path / "run" / "config.json").data_dir == str(data)
    assert result.summary["config"]["data_dir"] == str(data)
    monkeypatch.chdir(tmp_path)
    resume("run", verbose=0)


def test_the_number_of_steps_belongs_to_the_run(data, tmp_path):
    config = make_config(data, tmp_path / "run", steps_per_epoch=None, epochs=1)
    train(config, verbose=0)
    assert TrainConfig.load(tmp_path / "run" / "config.json").steps_per_epoch == 3 // 2


def replace_entry(source, target, name, content):
    """Copies an archive, with another content of one entry; None leaves it out.

    The copy has no checksums, like files of an earlier pdanet_tf.
    """
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        for entry in archive.namelist():
            if entry not in (name, "pdanet_tf_checksums.json"):
                copy.writestr(entry, archive.read(entry))
        if content is not None:
            copy.writestr(name, content)


def test_files_of_another_run_are_refused(run, data, tmp_path):
    last = (run / "last.keras").read_bytes()
    (run / "last-1.keras").unlink()
    shutil.copy(run / "best.keras", run / "last.keras")  # no optimizer
    with pytest.raises(
        ValueError, match=r"last\.keras: the checkpoint cannot be loaded: .*, like best\.keras, "
    ):
        resume(run, verbose=0)
    for entry, message in (
        ("config.json", "cannot be loaded: the file is damaged"),
        ("pdanet_tf_progress.json", "run: the progress of the run in it is damaged"),
    ):
        replace_entry(run / "best.keras", run / "last.keras", entry, "[1, 2]")
        with pytest.raises(ValueError, match=rf"last\.keras: .*{message}$"):
            resume(run, verbose=0)
    replace_entry(run / "best.keras", run / "last.keras", "pdanet_tf_progress.json", None)
    with pytest.raises(ValueError, match="it lacks the progress of the run"):
        resume(run, verbose=0)
    for content in (b"garbage", last[: len(last) // 2], b""):
        (run / "last.keras").write_bytes(content)
        with pytest.raises(ValueError, match=r"last\.keras: not a checkpoint of a run"):
            resume(run, verbose=0)
    damaged = bytearray(last)
    damaged[len(last) // 3] ^= 1
    (run / "last.keras").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"last\.keras"):
        resume(run, verbose=0)
    (run / "last.keras").write_bytes(last)
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**content, "seed": 5, "power": 1}))
    with pytest.raises(
        ValueError, match=r"different runs: power was 0\.9, now it is 1\.0; seed was 0"
    ):
        resume(run, verbose=0)
    (run / "last.keras").unlink()
    (run / "config.json").write_text(json.dumps(content))
    with pytest.raises(FileExistsError, match=r"best\.keras exists without last\.keras"):
        train(make_config(data, run), verbose=0)


def test_only_one_process_trains_in_a_folder(data, tmp_path):
    folder = tmp_path / "made" / "run"
    hold = (
        "import sys, time, pathlib; from pdanet_tf.training.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(folder)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FileExistsError, match=f"run is in use: process {other.pid} on "):
            train(make_config(data, folder), verbose=0)
        other.send_signal(signal.SIGKILL)
    assert (folder / ".lock").exists()
    with locked(folder):  # a killed process leaves no lock
        found = []
        thread = threading.Thread(target=lambda: found.append(is_locked(folder)))
        thread.start()
        thread.join()
        assert found == [True]
    assert not is_locked(folder)
    assert list(folder.iterdir()) == []
    with locked(tmp_path / "new" / "run"):
        pass
    assert not (tmp_path / "new").exists()


def is_locked(folder):
    try:
        with locked(folder):
            return False
    except FileExistsError:
        return True


def test_an_interrupt_says_how_to_continue(run, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(StopOnNonFinite, "on_epoch_begin", interrupt)
    command = ["train", "--resume", "--output-dir", str(run), "--epochs", "3"]
    assert cli.main(command) == 130
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"pdanet-tf: Interrupted. {run}/last.keras keeps the state after epoch 2 of 3.",
        f"To continue: pdanet-tf train --resume --output-dir {run} "
        f"(in Python: pdanet_tf.training.resume('{run}'))",
    ]
    monkeypatch.setattr(FolderDataset, "check", lambda self: interrupt(self, 0))
    with pytest.raises(TrainingInterrupted, match="nothing was kept"):
        train(make_config(data, tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_reported_and_leaves_the_last_checkpoint(data, whole, tmp_path, monkeypatch):
    config = make_config(data, tmp_path / "run")
    save, saved = keras.Model.save, []

    def fill(self, path):
        save(self, path)
        saved.append(path)
        if len(saved) == 2:  # the initial state, then that after the first epoch
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", fill)
    with pytest.raises(OSError, match="No space left on device") as raised:
        train(config, verbose=0)
    assert raised.value.errno == errno.ENOSPC
    assert re.search(
        r"run/last\.keras could not be written\. It needs about [\d,]{5,} bytes; [\d,]+ bytes are "
        r"free in .*run\. The former file is unchanged\.",
        str(raised.value),
    )
    monkeypatch.undo()
    assert Progress.read(tmp_path / "run" / "last.keras").epochs == 0
    resume(config.output_dir, verbose=0)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("reason", ["No space left on device", "Disk quota exceeded"])
def test_logs_that_fill_the_disk_are_reported(reason, run, monkeypatch):
    def fail(self, epoch, logs=None):
        raise tf.errors.ResourceExhaustedError(None, None, f"events.v2; {reason}")

    monkeypatch.setattr(keras.callbacks.TensorBoard, "on_epoch_end", fail)
    with pytest.raises(OSError, match=rf"{reason}.* logs in .*logs could not be written"):
        resume(run, verbose=0, epochs=3)
    assert Progress.read(run / "last.keras").epochs == 3


def test_a_file_over_the_limit_names_itself_and_its_size(tmp_path):
    file = tmp_path / "scores.json"
    write_atomically(file, "former")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match=r"scores\.json could not .* 5,000 bytes; .*unchanged"):
            write_atomically(file, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]
    assert file.read_text() == "former"


def test_errors_of_writing_name_the_file_that_is_meant(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    long = "n" * 300
    for path, kind, reason in (
        (tmp_path / "folder", IsADirectoryError, "Is a directory"),
        (tmp_path / long, OSError, "File name too long"),
        (tmp_path / "file" / "a.json", OSError, f"{tmp_path / 'file'} is not a folder"),
        (tmp_path / "file" / "below" / "a.json", OSError, f"{tmp_path / 'file'} is not a folder"),
    ):
        with pytest.raises(kind) as raised:
            write_atomically(path, "text")
        assert str(raised.value) == f"{path} cannot be written: {reason}"
        assert raised.value.errno
    with (
        pytest.raises(OSError, match=rf"/{long} cannot .*: File name too long$") as raised,
        whole_folder(tmp_path / long),
    ):
        pass
    # Of a file that is read.
    with pytest.raises(FileNotFoundError, match=r"other"), whole_file(tmp_path / "a.json"):
        (tmp_path / "other").read_text()

    def refuse(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(
        "pdanet_tf.files.tempfile.TemporaryDirectory",
        lambda *given: refuse(str(given[2] / f"{given[1]}x{given[0]}")),
    )
    with pytest.raises(PermissionError) as raised:
        write_atomically(tmp_path / "a.json", "text")
    assert str(raised.value) == f"{tmp_path / 'a.json'} cannot be written: Permission denied"
    assert raised.value.errno == errno.EACCES
    monkeypatch.setattr("pdanet_tf.training.lock.os.open", refuse)
    with pytest.raises(PermissionError) as raised, locked(tmp_path / "folder"):
        pass
    assert str(raised.value) == (
        f"The run's folder {tmp_path / 'folder'} cannot be written to: Permission denied"
    )
    monkeypatch.undo()
    with pytest.raises(OSError, match=r"file is not a folder$"), locked(tmp_path / "file" / "run"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_files_are_flushed_before_they_are_replaced_and_have_names_of_their_own(
    tmp_path, monkeypatch
):
    calls = []
    for name in ("fsync", "replace"):
        former = getattr(os, name)
        monkeypatch.setattr(
            f"pdanet_tf.files.os.{name}",
            lambda *given, name=name, former=former: (calls.append(name), former(*given))[1],
        )
    with whole_file(tmp_path / "a.keras") as one, whole_file(tmp_path / "a.keras") as other:
        assert one != other
        assert one.name == other.name == "a.keras"
        one.write_text("one")
        other.write_text("other")
    assert calls == ["fsync", "replace", "fsync"] * 2
    assert (tmp_path / "a.keras").read_text() == "one"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("learning_rate", "1e-2", "a finite number. Received: learning_rate='1e-2' (str)"),
        ("learning_rate", float("nan"), "a finite number. Received: learning_rate=nan"),
        ("power", float("inf"), "a finite number"),
        ("momentum", 10**400, "a finite number. Received: momentum=an integer of 1329 bits"),
        ("weight_decay", True, "a finite number. Received: weight_decay=True (bool)"),
        ("epochs", 2.5, "an integer. Received: epochs=2.5 (float)"),
        ("epochs", 2.0, "an integer"),
        ("epochs", True, "an integer. Received: epochs=True (bool)"),
        ("seed", np.array([1]), "an integer"),
        ("batch_size", "8", "an integer"),
        ("batch_size", None, "an integer. Received: batch_size=None (NoneType)"),
        ("crop_size", 96, "a sequence of 2 integers or None. Received: crop_size=96 (int)"),
        ("crop_size", (96,), "a sequence of 2 integers or None"),
        ("crop_size", (96, 96, 3), "a sequence of 2 integers or None"),
        ("crop_size", "96", "a sequence of 2 integers or None"),
        ("scale_range", (0.5, "2"), "a sequence of 2 finite numbers or None"),
        ("short_edges", (300, 1.5), "a sequence of integers or None"),
        ("class_names", "cat", "a sequence of strings or None"),
        ("class_names", ("cat", 3), "a sequence of strings or None"),
        ("flip", "no", "a boolean. Received: flip='no' (str)"),
        ("flip", 0, "a boolean"),
        ("model", 5, "a string"),
        ("output_dir", None, "a string"),
        ("dropout", "x" * 300_000, "a finite number or None. Received: dropout='xxx"),
    ],
)
def test_options_of_another_type_are_refused(option, value, expected):
    with pytest.raises(ValueError, match=re.escape(f"{option} must be {expected}")) as raised:
        TrainConfig(**{option: value})
    assert len(str(raised.value)) < 300


def test_values_that_mean_the_same_are_converted(tmp_path):
    config = TrainConfig(
        output_dir=tmp_path,
        epochs=np.int64(3),
        learning_rate=1,
        power=np.float32(0.5),
        crop_size=[8, np.int32(16)],
        scale_range=np.array([1, 2.5]),
        flip=np.bool_(False),
    )
    assert config.output_dir == str(tmp_path)
    values = (config.epochs, config.learning_rate, config.power, config.flip)
    assert values == (3, 1.0, 0.5, False)
    assert [type(value) for value in values] == [int, float, float, bool]
    assert (config.crop_size, config.scale_range) == ((8, 16), (1.0, 2.5))
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_dict()))
    assert TrainConfig.load(file) == config


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"7",
        b"[" * 100_000,
        b'{"epochs": "3"}',
        b'{"colour": 1}',
        b'{"epochs": 1e999}',
        b'{"seed": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_config_of_another_kind_is_named(content, tmp_path):
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json: ") as raised:
        TrainConfig.load(file)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "change",
    [
        {"flip": "no"},
        {"flip": 1},
        {"max_size": "1000"},
        {"max_size": float("nan")},
        {"max_size": 10**30},
        {"max_size": True},
        {"short_edges": 450},
        {"short_edges": [450.5]},
        {"short_edges": []},
        {"crop_size": [96]},
        {"crop_size": {"height": 96}},
        {"colour": "red"},
        {"classes": None},
        {"classes": []},
        {"classes": {"name": "a"}},
        {"classes": [{"name": "a"}]},
        {"classes": [{"name": "a", "color": [0, 0, 999]}]},
        {"classes": [{"name": "a", "color": [0, 0]}]},
        {"classes": [{"name": "a", "color": [0, 0, 0.5]}]},
        {"classes": [{"name": "a", "color": "red"}]},
        {"classes": [{"name": 5, "color": [0, 0, 0]}]},
        {"classes": [{"name": "a" * 300_000, "color": [0, 0, 0]}]},
        {"classes": [{"name": "a\nb", "color": [0, 0, 0]}]},
        {"classes": [{"name": "\ud800", "color": [0, 0, 0]}]},
        {"classes": [{"name": "a", "color": [0, 0, 0]}] * 2},
    ],
)
def test_settings_of_another_kind_are_named(change, whole, tmp_path):
    content = json.loads((whole / "inference.json").read_text())
    (tmp_path / "inference.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(
        ValueError, match=r"inference\.json: not the settings that training writes: "
    ) as raised:
        InferenceSettings.load_for(tmp_path / "best.keras")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


def swap(rng, value):
    """Returns a JSON value with one of its parts exchanged for another type."""
    odd = [None, True, "no", -1, 2.5, 1e400, float("nan"), 10**20, [], {}, [[]], "x" * 3000, "\0"]
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return value
    key = keys[rng.integers(len(keys))]
    if isinstance(value[key], dict | list) and rng.random() < 0.7:
        value[key] = swap(rng, value[key])
    elif rng.random() < 0.2:
        del value[key]
    else:
        value[key] = odd[rng.integers(len(odd))]
    return value


def mutate(rng, content):
    kind = rng.integers(3)
    if kind == 0:
        changed = bytearray(content)
        for position in rng.integers(len(content), size=rng.integers(1, 4)):
            changed[position] ^= 1 << int(rng.integers(8))
        return bytes(changed)
    if kind == 1:
        return content[: rng.integers(len(content))]
    return json.dumps(swap(rng, json.loads(content))).encode()


def message_of(function):
    """Returns the message of a ValueError, or None if there was none."""
    try:
        function()
    except ValueError as error:
        return str(error)
    return None


def test_mutated_files_are_read_or_named(run, whole):
    rng = np.random.default_rng(11)
    folder, progress = RunFolder(run), Progress.read(run / "last.keras")

    def read_config():
        config = folder.resumed_config({})
        check_same_run(folder, progress.origin, config, progress.origin["data"])

    def read_settings():
        InferenceSettings.load_for(folder.best)

    outcomes = []
    for name, read in (("config.json", read_config), ("inference.json", read_settings)):
        for _ in range(200):
            content = mutate(rng, (whole / name).read_bytes())
            (run / name).write_bytes(content)
            outcomes.append(message_of(read))
            if outcomes[-1]:
                assert str(run / name) in outcomes[-1]
                assert "\n" not in outcomes[-1]
                assert len(outcomes[-1]) < 600
    assert 200 < sum(map(bool, outcomes)) < 400
    rows = (whole / "history.csv").read_bytes()
    for _ in range(200):
        cut = rows[: rng.integers(len(rows))] + rng.bytes(5)
        (run / "history.csv").write_bytes(cut)
        folder.save_history(progress.history)
        assert (run / "history.csv").read_bytes() == rows


def test_a_checkpoint_tells_its_run(whole):
    progress = Progress.read(whole / "last.keras")
    assert (progress.epochs, len(progress.history)) == (EPOCHS, EPOCHS)
    assert progress.origin["config"]["crop_size"] == [16, 24]
    assert progress.origin["data"]["training images"] == 3
    best = Progress.read(whole / "best.keras")
    assert best.epochs == progress.best_epochs
    assert best.best_score == progress.best_score
    assert dataclasses.asdict(best)["origin"] == progress.origin
