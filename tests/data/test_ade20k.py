"""ADE20K as a data set of TensorFlow Datasets, on small archives in the official layout."""

import csv
import errno
import functools
import hashlib
import inspect
import os
import shutil
import stat
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pooch
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import file_adapters

import pdanet_tf
from pdanet_tf.data import (
    ADE20K_CLASSES,
    Ade20k,
    Classes,
    DataError,
    PreparedDataset,
    load_dataset,
    read_label,
)
from pdanet_tf.data.batches.pipeline import crop_batches, paper_batches
from pdanet_tf.data.sources import ade20k_tfds
from tests.data.test_readers import png

ROOT = "ADEChallengeData2016"
COUNTS = {"train": 5, "validation": 2}


@pytest.fixture
def folder(tmp_path):
    """An extracted archive with a few small images, landscape and portrait."""
    rng = np.random.default_rng(0)
    root = tmp_path / "extracted" / ROOT
    scenes = []
    for split, short in (("training", "train"), ("validation", "val")):
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for index in range(COUNTS["train" if short == "train" else "validation"]):
            size = (20 + index, 30) if index % 2 else (30, 20 + index)
            name = f"ADE_{short}_{index + 1:08d}"
            image = Image.fromarray(rng.integers(0, 256, (*size, 3), "uint8"))
            image.save(root / "images" / split / f"{name}.jpg")
            label = rng.integers(0, 151, size, "uint8")
            label[0, :2] = 0, 150
            Image.fromarray(label).save(root / "annotations" / split / f"{name}.png")
            scenes.append(f"{name} scene_{index}\n")
    (root / "sceneCategories.txt").write_text("".join(scenes[1:]))
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n")
    return root


@pytest.fixture
def official(monkeypatch, tmp_path):
    """Makes an archive of a folder, and lets it be the official one."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)

    def official(folder=None, members=(), name="made.zip", **changes):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")) if folder else ():
                archive.write(file, f"{ROOT}/{file.relative_to(folder).as_posix()}")
            for member in members:
                archive.writestr(member, "/etc")
        sha1 = hashlib.sha1(path.read_bytes()).hexdigest()
        known = replace(ade20k_tfds.OFFICIAL, sha1=sha1, counts=COUNTS)
        monkeypatch.setattr(ade20k_tfds, "OFFICIAL", replace(known, **changes))
        return path

    return official


@pytest.fixture
def server(tmp_path, official):
    """Serves the archive as `served.zip`; breaks off in the middle while `breaks` is above 0."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            served.asked += 1
            if served.breaks == 0:
                return super().do_GET()
            served.breaks -= 1
            content = (tmp_path / "served.zip").read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return self.wfile.write(content[: len(content) // 2])

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path))
    )
    served.asked, served.breaks = 0, 0
    url = f"http://127.0.0.1:{served.server_port}/served.zip"
    served.offer = functools.partial(official, name="served.zip", url=url)
    thread = threading.Thread(target=served.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / "tfds").mkdir()
    return tmp_path / "tfds"


def prepare(data_dir, manual_dir=None, **options):
    """Prepares what training needs; the format that TensorFlow reads takes longer to write."""
    builder = Ade20k(data_dir=data_dir)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, **options)
    builder.download_and_prepare(download_config=config, file_format="array_record")
    return builder


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def assert_nothing_is_prepared(data_dir):
    assert not list((data_dir / "ade20k").glob("*")), "half a data set"
    assert not Ade20k(data_dir=data_dir).is_prepared()


def open_prepared(builder, split="train"):
    return PreparedDataset(builder.data_dir, split, ADE20K_CLASSES, label_offset=1)


@pytest.mark.parametrize(
    ("name", "positional", "keywords", "use"),
    [
        (
            "core.GeneratorBasedBuilder._download_and_prepare",
            ("self",),
            ("dl_manager", "download_config"),
            "Ade20k overrides it to write ArrayRecord after the default format",
        ),
        (
            "core.file_adapters.convert_path_to_file_format",
            ("path", "format"),
            (),
            "it names the ArrayRecord file of a shard",
        ),
        (
            "core.file_adapters.FileAdapter.make_tf_data",
            ("path",),
            (),
            "it reads a shard in order to copy it",
        ),
        (
            "core.file_adapters.FileAdapter.write_examples",
            ("path", "examples"),
            (),
            "it writes the copy as ArrayRecord",
        ),
        (
            "core.DatasetInfo.add_alternative_file_format",
            ("self", "format"),
            (),
            "it records that the data set is also stored as ArrayRecord",
        ),
        (
            "core.DatasetInfo.set_file_format",
            ("self", "format"),
            ("override", "override_if_initialized"),
            "it restores the default format after as_data_source() has changed it",
        ),
        ("core.utils.tqdm", ("paths",), ("desc", "leave"), "it shows the progress of the copy"),
    ],
)
def test_the_internals_of_tfds_that_preparing_ade20k_needs(name, positional, keywords, use):
    """They are not documented and may change. Reading a prepared data set does not need them."""
    message = (
        f"tensorflow_datasets {tfds.__version__} has changed {name}. Preparing ADE20K breaks: "
        f"{use}. Adapt pdanet_tf.data.sources.ade20k_tfds, or set an upper bound in setup.cfg"
    )
    found = functools.reduce(lambda found, part: getattr(found, part, None), name.split("."), tfds)
    assert callable(found), message
    try:
        inspect.signature(found).bind(*positional, **dict.fromkeys(keywords))
    except TypeError as error:
        pytest.fail(f"{message} ({error})")


def test_tfds_reads_and_writes_array_record():
    adapters = file_adapters.ADAPTER_FOR_FORMAT
    for file_format in (tfds.core.FileFormat.ARRAY_RECORD, file_adapters.DEFAULT_FILE_FORMAT):
        assert issubclass(adapters[file_format], file_adapters.FileAdapter), file_format


def test_the_names_are_the_official_ones_made_unique(ade20k_sample):
    with open(ade20k_sample / "object150_info.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["Idx"]) for row in rows] == list(range(1, 151))
    for name, row in zip(ADE20K_CLASSES.names, rows, strict=True):
        assert set(name.split()) <= set(row["Name"].replace(";", " ").split()), row
    assert len(set(ADE20K_CLASSES.names)) == 150


def test_tfds_load(folder, official, data_dir):
    shutil.move(official(folder), data_dir / f"{ROOT}.zip")
    config = tfds.download.DownloadConfig(manual_dir=data_dir)
    datasets, info = tfds.load(
        "ade20k",
        data_dir=data_dir,
        with_info=True,
        download_and_prepare_kwargs={"download_config": config},
    )
    assert {name: len(dataset) for name, dataset in datasets.items()} == COUNTS
    assert info.features["image"].shape == (None, None, 3)
    assert info.features["label"].shape == (None, None, 1)
    assert info.features["label"].names[:2] == ["other", "wall"]
    assert info.features["label"].num_classes == len(info.metadata["colors"]) == 151
    assert info.metadata["colors"][1] == list(ADE20K_CLASSES.colors[0])
    assert info.supervised_keys == ("image", "label")
    scenes = {}
    for example in datasets["train"].as_numpy_iterator():
        name = example["file_name"].decode()
        scenes[name[-1]] = example["scene_category"].decode()
        raw = read_label(folder / "annotations" / "training" / f"{name}.png")
        np.testing.assert_array_equal(example["label"][..., 0], raw)
        assert example["label"].dtype == example["image"].dtype == np.uint8
        assert example["image"].shape == (*raw.shape, 3)
    assert scenes == {"1": "", **{str(index + 1): f"scene_{index}" for index in range(1, 5)}}

    # Without preparing anything again, training reads the same set.
    before = files(data_dir)
    dataset = load_dataset("ade20k", "train", data_dir)
    assert isinstance(dataset, PreparedDataset)
    assert len(dataset) == 5
    assert files(data_dir) == before
    # And the other way round.
    assert len(tfds.load("ade20k", split="validation", data_dir=data_dir)) == 2


def test_the_files_are_kept_byte_by_byte(folder, official, data_dir):
    official(folder)
    source = ade20k_tfds.encoded_examples(prepare(data_dir, folder), "validation")
    for example in source:
        name = example["file_name"].decode()
        assert example["image"] == (folder / "images/validation" / f"{name}.jpg").read_bytes()
        assert example["label"] == (folder / "annotations/validation" / f"{name}.png").read_bytes()


class TestPreparedDataset:
    @pytest.fixture
    def both(self, folder, official, data_dir):
        official(folder)
        prepare(data_dir, folder.parent)
        return load_dataset("ade20k", "train", data_dir), load_dataset("ade20k", "train", folder)

    def test_it_equals_the_folder(self, both):
        prepared, extracted = both
        prepared.check()
        assert len(prepared) == len(extracted) == 5
        assert prepared.label_offset == extracted.label_offset == 1
        assert prepared.void_label == extracted.void_label == 255
        for index in range(5):
            assert prepared.name(index) == extracted.name(index)
            assert prepared.size(index) == extracted.size(index)
            for one, other in zip(prepared.read(index), extracted.read(index), strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.dtype == other.dtype
        assert prepared.read(0)[1][0, :2].tolist() == [255, 149]

    @pytest.mark.parametrize(
        "draw",
        [
            lambda dataset: crop_batches(dataset, 4, (16, 24)),
            lambda dataset: paper_batches(dataset, 2, short_edges=(16, 24)),
        ],
        ids=["crop", "paper"],
    )
    def test_it_gives_the_same_batches(self, both, draw):
        batches = [next(iter(draw(dataset))) for dataset in both]
        for one, other in zip(*batches, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_it_is_read_by_many_threads(self, both):
        prepared, extracted = both
        with ThreadPoolExecutor(8) as pool:
            for index, (image, _) in enumerate(pool.map(prepared.read, list(range(5)) * 8)):
                np.testing.assert_array_equal(image, extracted.read(index % 5)[0])

    def test_a_damaged_record(self, both):
        prepared, _ = both
        (shard,) = prepared.folder.glob("ade20k-train.*")
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 255
        shard.write_bytes(content)
        with pytest.raises(DataError, match=r"record of ADE_train_0000000[1-5] cannot be read"):
            prepared.check()
        shard.unlink()
        with pytest.raises(DataError, match="cannot be read"):
            PreparedDataset(prepared.folder, "train", ADE20K_CLASSES).check()

    def test_a_split_that_is_of_no_use_as_a_whole(self, both):
        folder = both[0].folder
        with pytest.raises(DataError, match="train: no pixel of any annotation has a class"):
            PreparedDataset(folder, "train", ADE20K_CLASSES, label_offset=200).check()
        with pytest.raises(DataError, match="train: there is only one class"):
            PreparedDataset(folder, "train", Classes.numbered(1), label_offset=150).check()

    def test_a_folder_that_holds_no_prepared_set(self, both, tmp_path):
        with pytest.raises(DataError, match="not a data set that was prepared"):
            PreparedDataset(tmp_path / "nowhere", "train", ADE20K_CLASSES)
        with pytest.raises(DataError, match="without the split 'test'; it has train, validation"):
            PreparedDataset(both[0].folder, "test", ADE20K_CLASSES)


@pytest.mark.slow
def test_a_training_run(folder, official, data_dir, tmp_path):
    official(folder)
    prepare(data_dir, folder)
    config = pdanet_tf.TrainConfig(
        output_dir=str(tmp_path / "run"),
        model="fcn_resnet18",
        dataset="ade20k",
        data_dir=str(data_dir),
        epochs=1,
        steps_per_epoch=1,
        batch_size=2,
        crop_size=(16, 24),
    )
    assert pdanet_tf.train(config, verbose=0).evaluation.images == 2


class TestDownload:
    def test_it_is_downloaded_once_and_prepared(self, folder, server, monkeypatch, tmp_path):
        server.offer(folder)
        monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "usual"))
        monkeypatch.setattr(
            file_adapters, "DEFAULT_FILE_FORMAT", file_adapters.FileFormat.ARRAY_RECORD
        )
        for _ in range(2):
            assert len(load_dataset("ade20k", "train")) == 5
        assert server.asked == 1
        # Nothing of the archive is unpacked.
        assert files(tmp_path / "usual" / "downloads") == [f"{ROOT}.zip", "extracted"]

    def test_a_broken_download_is_started_again(self, folder, server, data_dir):
        server.offer(folder)
        server.breaks = 1
        assert len(open_prepared(prepare(data_dir))) == 5
        assert server.asked == 2

    def test_a_download_that_always_breaks(self, folder, server, data_dir):
        server.offer(folder)
        server.breaks = 3
        with pytest.raises(OSError, match=r"cannot be downloaded.*downloads/manual"):
            prepare(data_dir)
        assert server.asked == 3
        assert files(data_dir / "downloads") == ["extracted"]
        assert_nothing_is_prepared(data_dir)
        assert len(open_prepared(prepare(data_dir))) == 5

    def test_a_wrong_hash(self, folder, server, data_dir):
        archive = server.offer(folder)
        whole = archive.read_bytes()
        archive.write_bytes(whole[:-1] + b"x")
        with pytest.raises(DataError, match="not the file that was published"):
            prepare(data_dir)
        assert files(data_dir / "downloads") == ["extracted"]
        assert_nothing_is_prepared(data_dir)
        archive.write_bytes(whole)
        assert len(open_prepared(prepare(data_dir))) == 5

    def test_no_network(self, official, data_dir):
        official(url="http://127.0.0.1:9/nothing.zip")
        with pytest.raises(OSError, match=r"extracted folder itself as data_dir"):
            load_dataset("ade20k", "train", data_dir)
        assert_nothing_is_prepared(data_dir)

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk of .* is full"),
            (KeyboardInterrupt("by the user"), "by the user"),
        ],
    )
    def test_a_stopped_download(self, folder, server, data_dir, monkeypatch, error, message):
        server.offer(folder)

        def stop(self, url, output_file, pooch):
            with open(output_file, "wb") as file:
                file.write(b"half")
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(pooch.HTTPDownloader, "__call__", stop)
            with pytest.raises(type(error), match=message):
                prepare(data_dir)
        assert files(data_dir / "downloads") == ["extracted"]
        assert_nothing_is_prepared(data_dir)
        assert len(open_prepared(prepare(data_dir))) == 5


class TestManual:
    """Where there is no network."""

    @pytest.fixture(autouse=True)
    def no_network(self, folder, official, monkeypatch):
        self.archive = official(folder)
        monkeypatch.setattr(ade20k_tfds, "_download", lambda folder: pytest.fail("downloaded"))

    def test_an_archive(self, tmp_path, data_dir):
        (tmp_path / "put").mkdir()
        shutil.copy(self.archive, tmp_path / "put" / f"{ROOT}.zip")
        assert len(open_prepared(prepare(data_dir, tmp_path / "put"))) == 5

    def test_an_archive_in_the_usual_place(self, data_dir):
        (data_dir / "downloads" / "manual").mkdir(parents=True)
        shutil.copy(self.archive, data_dir / "downloads" / "manual" / f"{ROOT}.zip")
        assert len(open_prepared(prepare(data_dir))) == 5

    @pytest.mark.parametrize("below", [True, False])
    def test_an_extracted_folder(self, folder, data_dir, below):
        builder = prepare(data_dir, folder.parent if below else folder)
        assert len(open_prepared(builder)) == 5

    def test_a_folder_without_either(self, tmp_path, data_dir):
        with pytest.raises(DataError, match=f"contains neither {ROOT}.zip nor"):
            prepare(data_dir, tmp_path)
        assert_nothing_is_prepared(data_dir)

    def test_an_archive_with_another_hash(self, folder, tmp_path, data_dir):
        content = self.archive.read_bytes()
        (tmp_path / f"{ROOT}.zip").write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match="not the official archive, or incomplete"):
            prepare(data_dir, tmp_path)
        assert_nothing_is_prepared(data_dir)

    def test_an_archive_beside_what_is_prepared(self, data_dir, monkeypatch):
        monkeypatch.setattr(
            file_adapters, "DEFAULT_FILE_FORMAT", file_adapters.FileFormat.ARRAY_RECORD
        )
        shutil.copy(self.archive, data_dir / f"{ROOT}.zip")
        assert len(load_dataset("ade20k", "validation", data_dir)) == 2

    def test_a_part_is_said_to_be_one(self, folder, data_dir):
        (folder / "images" / "training" / "ADE_train_00000002.jpg").unlink()
        (folder / "annotations" / "training" / "ADE_train_00000002.png").unlink()
        for kind in ("images", "annotations"):
            shutil.rmtree(folder / kind / "validation")
        with pytest.warns(UserWarning, match=r"contains 4 images for train.*ADE20K has 5"):
            prepare(data_dir, folder)
        with pytest.warns(
            UserWarning, match="a part of ADE20K: it contains 4 of 5 images for train"
        ):
            load_dataset("ade20k", "train", data_dir)
        with pytest.raises(DataError, match="without the split 'validation'; it has train"):
            load_dataset("ade20k", "validation", data_dir)

    def test_the_real_sample(self, ade20k_sample, data_dir):
        with pytest.warns(UserWarning, match="only this part is prepared"):
            builder = prepare(data_dir, ade20k_sample)
        dataset = open_prepared(builder, "validation")
        extracted = load_dataset("ade20k", "validation", ade20k_sample / ROOT)
        assert dataset.name(0) == "ADE_val_00000278"
        assert dataset.size(0) == extracted.size(0)
        for one, other in zip(dataset.read(0), extracted.read(0), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("data_dir", "split", "message"),
    [("nowhere", "train", "there is no such folder"), (".", "test", "split must be one of")],
)
def test_mistakes_that_must_not_start_a_download(tmp_path, monkeypatch, data_dir, split, message):
    monkeypatch.setattr(ade20k_tfds, "_download", lambda folder: pytest.fail("downloaded"))
    with pytest.raises(ValueError, match=message):
        load_dataset("ade20k", split, tmp_path / data_dir)


def link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "member",
    [
        "../evil.txt",
        f"{ROOT}/images/training/../../../../evil.txt",
        "/evil.txt",
        f"{ROOT}\\..\\..\\evil.txt",
        "C:/evil.txt",
        link(f"{ROOT}/images/link"),
    ],
    ids=repr,
)
def test_an_archive_that_would_write_elsewhere_is_refused(
    folder, server, data_dir, tmp_path, member
):
    server.offer(folder, [member])
    before = files(tmp_path)
    with pytest.raises(DataError, match="points outside the archive"):
        prepare(data_dir)
    new = set(files(tmp_path)) - set(before)
    downloads = {"tfds/downloads", "tfds/downloads/extracted", f"tfds/downloads/{ROOT}.zip"}
    assert new == {"tfds/ade20k", *downloads}
    assert_nothing_is_prepared(data_dir)


def test_an_archive_with_other_counts_than_the_official_one(folder, server, data_dir):
    server.offer(folder, counts={"train": 20_210, "validation": 2_000})
    with pytest.raises(DataError, match=r"contains 5 images for train .*ADE20K has 20,210 images"):
        prepare(data_dir)
    assert_nothing_is_prepared(data_dir)


def test_the_official_archive():
    assert ade20k_tfds.OFFICIAL.url.endswith(f"/ADEchallenge/{ROOT}.zip")
    assert len(bytes.fromhex(ade20k_tfds.OFFICIAL.sha1)) == 20
    assert ade20k_tfds.OFFICIAL.counts == {"train": 20_210, "validation": 2_000}


class TestStoppedPreparation:
    """Nothing is left that a later run would take for whole; the later run succeeds."""

    @pytest.fixture(autouse=True)
    def known(self, folder, official):
        official(folder)

    @pytest.mark.parametrize("stopped", ["_read_example", "describe_records"])
    def test_by_the_user(self, folder, data_dir, monkeypatch, stopped):
        calls, function = [], getattr(ade20k_tfds, stopped)

        def stop_at_the_second(argument):
            calls.append(argument)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return function(argument)

        with monkeypatch.context() as patch:
            patch.setattr(ade20k_tfds, stopped, stop_at_the_second)
            with pytest.raises(KeyboardInterrupt):
                prepare(data_dir, folder)
        assert len(calls) == 2
        assert_nothing_is_prepared(data_dir)
        assert len(open_prepared(prepare(data_dir, folder))) == 5

    def test_by_a_full_disk(self, folder, data_dir, monkeypatch):
        adapter = file_adapters.ArrayRecordFileAdapter
        write = adapter.write_examples

        def fill(path, iterator):
            write(path, [next(iter(iterator))])
            # ArrayRecord's own error.
            raise RuntimeError(f"write() failed: {os.strerror(errno.ENOSPC)}; writing {path}")

        with monkeypatch.context() as patch:
            patch.setattr(adapter, "write_examples", fill)
            with pytest.raises(OSError, match="is full") as caught:
                prepare(data_dir, folder)
        assert caught.value.errno == errno.ENOSPC
        assert_nothing_is_prepared(data_dir)
        assert len(open_prepared(prepare(data_dir, folder))) == 5

    def test_by_a_kill(self, folder, data_dir):
        # JAX is the backend because it is imported faster.
        script = (
            "import os, sys\n"
            "from pdanet_tf.data import Ade20k\n"
            "from pdanet_tf.data.sources import ade20k_tfds\n"
            "import tensorflow_datasets as tfds\n"
            "ade20k_tfds.describe_records = lambda examples: os._exit(9)\n"
            "config = tfds.download.DownloadConfig(manual_dir=sys.argv[2])\n"
            "Ade20k(data_dir=sys.argv[1]).download_and_prepare(\n"
            "    download_config=config, file_format='array_record')\n"
        )
        command = [sys.executable, "-c", script, data_dir, folder]
        environment = {**os.environ, "KERAS_BACKEND": "jax"}
        assert subprocess.run(command, env=environment, check=False).returncode == 9
        (left,) = (data_dir / "ade20k").iterdir()
        assert left.name.startswith("incomplete.")
        assert not Ade20k(data_dir=data_dir).is_prepared()
        assert len(open_prepared(prepare(data_dir, folder))) == 5


class TestBadFiles:
    """The preparation stops at what training would stumble over, and names the file."""

    @pytest.fixture(autouse=True)
    def known(self, folder, official):
        official(folder)
        self.image = folder / "images" / "validation" / "ADE_val_00000001.jpg"
        self.label = folder / "annotations" / "validation" / "ADE_val_00000001.png"

    def expect(self, folder, data_dir, message):
        with pytest.raises(DataError, match=message):
            prepare(data_dir, folder)
        assert_nothing_is_prepared(data_dir)

    def test_sizes_that_differ(self, folder, data_dir):
        Image.new("L", (7, 5)).save(self.label)
        message = r"images/validation/ADE_val_00000001\.jpg: the image is 30 x 20 .* 5 x 7"
        self.expect(folder, data_dir, message)

    def test_labels_out_of_range(self, folder, data_dir):
        Image.new("L", (20, 30), 151).save(self.label)
        self.expect(
            folder, data_dir, r"ADE_val_00000001\.png: contains the label 151. Expected 0 to"
        )

    @pytest.mark.parametrize(
        ("mode", "message"),
        [
            ("RGB", "colour-coded"),
            ("P", "without a palette.*mode P"),
            ("I;16", "8 bits.*mode I;16"),
        ],
    )
    def test_annotations_of_another_kind(self, folder, data_dir, mode, message):
        Image.new(mode, (20, 30)).save(self.label)
        self.expect(folder, data_dir, rf"ADE_val_00000001\.png: .*{message}")

    def test_grey_of_two_bits(self, folder, data_dir):
        Image.new("RGB", (8, 1)).save(self.image)
        self.label.write_bytes(png(2, [3, 0, 2, 1, 1, 2, 0, 3]))
        self.expect(folder, data_dir, r"ADE_val_00000001\.png: .*8 bits.*mode L;2")

    def test_a_truncated_image(self, folder, data_dir):
        self.image.write_bytes(self.image.read_bytes()[:-100])
        self.expect(folder, data_dir, r"ADE_val_00000001\.jpg: the image cannot be read")

    def test_files_without_a_partner(self, folder, data_dir):
        self.image.unlink()
        (folder / "annotations" / "training" / "ADE_train_00000003.png").unlink()
        self.expect(folder, data_dir, r"ADE_train_00000003\.jpg has no annotation")

    def test_an_empty_folder(self, folder, data_dir):
        shutil.rmtree(folder / "images")
        shutil.rmtree(folder / "annotations")
        (folder / "images").mkdir()
        self.expect(folder, data_dir, "contains no images")


def test_without_tensorflow(folder, data_dir):
    script = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class WithoutTensorFlow(PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        return None if name == 'tensorflow' else super().find_spec(name, path, target)\n"
        "sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTensorFlow\n"
        "import pdanet_tf\n"
        "from pdanet_tf.data.sources import ade20k_tfds\n"
        "import dataclasses, tensorflow_datasets as tfds\n"
        "counts = {'train': 5, 'validation': 2}\n"
        "known = dataclasses.replace(ade20k_tfds.OFFICIAL, counts=counts)\n"
        "ade20k_tfds.OFFICIAL = known\n"
        "builder = tfds.builder('ade20k', data_dir=sys.argv[1])\n"
        "config = tfds.download.DownloadConfig(manual_dir=sys.argv[2])\n"
        "builder.download_and_prepare(download_config=config, file_format='array_record')\n"
        "dataset = pdanet_tf.load_dataset('ade20k', 'train', sys.argv[1])\n"
        "assert dataset.read(0)[0].shape == (*dataset.size(0), 3)\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script, data_dir, folder],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )


def test_preparation_by_beam(folder, official, data_dir, tmp_path):
    pytest.importorskip("apache_beam", reason="optional")
    official(folder)
    builder = prepare(data_dir, folder, beam_runner="DirectRunner")
    plain = prepare(tmp_path / "plain", folder)
    for split in COUNTS:
        one, other = open_prepared(builder, split), open_prepared(plain, split)
        assert [one.name(i) for i in range(len(one))] == [other.name(i) for i in range(len(other))]
        for index in range(len(one)):
            np.testing.assert_array_equal(one.read(index)[0], other.read(index)[0])
