"""`pdanet-tf predict` over folders, patterns and lists: places, manifest, continuation, errors."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.base.progress import track_long
from pdanet_tf.cli import segmentation
from pdanet_tf.cli.images import find_images
from pdanet_tf.data import DataError
from pdanet_tf.inference.manifest import Manifest, Record, begin_record, read_manifest
from pdanet_tf.inference.results import Results, result_stems
from tests.support.images import random_image


@pytest.fixture(scope="module")
def model():
    return pdanet_tf.build_model("fcn_resnet18_quarter", num_classes=3)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Five images in nested folders, one of which is damaged, and what is no image."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "photos"
    for folder in ("", "street/north", ".cache"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, size in (("a.png", (24, 32)), ("a.bmp", (40, 24)), (".cache/x.png", (8, 8))):
        Image.fromarray(random_image(*size)).save(root / name)
    for name in ("b", "a"):
        Image.fromarray(random_image(24, 32)).save(root / f"street/north/{name}.png")
    content = (root / "a.png").read_bytes()
    (root / "street" / "broken.png").write_bytes(content[: len(content) // 2])
    (root / "notes.txt").write_text("no image")
    return root


def test_images_keep_their_place_in_the_source(photos):
    nested = {"a.bmp", "a.png", "street/broken.png", "street/north/a.png", "street/north/b.png"}
    found, problems = find_images(["photos"])
    assert set(found.values()) == nested
    assert problems == []
    assert set(find_images([str(photos / "**" / "*.png")])[0].values()) == nested - {"a.bmp"}
    assert set(find_images(["photos/*/north/b.png"])[0].values()) == {"street/north/b.png"}
    assert find_images(["photos/street/north/b.png"])[0] == {
        Path("photos/street/north/b.png"): "b.png"
    }
    # One image is listed once, whatever names it.
    assert len(find_images(["photos", "photos/a.png", str(photos)])[0]) == 5


def test_lists_of_images(photos, tmp_path):
    (photos / "empty").mkdir()
    lines = ["photos/a.png", "", str(photos / "a.bmp"), "photos/empty/../street/north/a.png"]
    lines.append(f"../{tmp_path.name}/photos/street/north/b.png")
    Path("files.txt").write_text("\ufeff" + "\r\n".join(lines), "utf-8")
    found, problems = find_images([], lists=["files.txt"])
    whole = str(photos.relative_to("/"))
    assert list(found.values()) == [
        "photos/a.png",
        f"{whole}/a.bmp",
        "photos/street/north/a.png",
        f"{whole}/street/north/b.png",
    ]
    assert problems == []
    Path("none.txt").write_text("\n \n")
    _, problems = find_images([], lists=["none.txt", "missing.txt"])
    assert problems == [
        "none.txt: this list names no image",
        "missing.txt: cannot be read: No such file or directory",
    ]
    Path("bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"bad\.txt: is not text in UTF-8"):
        find_images([], lists=["bad.txt"])


def test_no_two_images_have_the_same_results():
    places = ["a.jpg", "a.png", "b.jpg", "c/a.jpg", "d.png", "d.png.jpg", "e.jpg.png"]
    stems = ["a.jpg", "a.png", "b", "c/a", "d", "d.png.jpg", "e.jpg.png"]
    assert result_stems(places) == stems
    assert len(set(stems)) == len(places)
    with pytest.raises(DataError, match=r"1/a\.png and 2/a\.png have the same name"):
        Results(Path("out"), {Path("1/a.png"): "a.png", Path("2/a.png"): "a.png"}, ["labels"])


def records():
    return [json.loads(line) for line in Path("out/manifest.jsonl").read_text().splitlines()]


def test_a_folder_is_segmented_and_continued(photos, model, capsys):
    model.save("model.keras")
    command = ["predict", "photos", "--model", "model.keras", "--output", "out", "--no-overlay"]
    assert cli.main(command) == 1
    assert "broken.png" in capsys.readouterr().err
    expected = pdanet_tf.Predictor(model)
    stems = {"a.bmp": "a.bmp", "a.png": "a.png", "street/north/a.png": "street/north/a"}
    stems |= {"street/north/b.png": "street/north/b"}
    assert {str(path.relative_to("out")) for path in Path("out").rglob("*.*")} == {
        "manifest.jsonl",
        *(f"{stem}_labels.png" for stem in stems.values()),
    }
    found = {Path(record["file"]).relative_to(photos).as_posix(): record for record in records()}
    assert found.keys() == {*stems, "street/broken.png"}
    for name, stem in stems.items():
        record, prediction = found[name], expected.predict(photos / name)
        with Image.open(f"out/{stem}_labels.png") as labels:
            np.testing.assert_array_equal(labels, prediction.label_map)
        assert record["size"] == list(prediction.label_map.shape)
        assert record["classes"] == prediction.areas()
        assert record["results"] == {"labels": f"{stem}_labels.png"}
        assert record["bytes"] == (photos / name).stat().st_size
        assert record["error"] is None
        assert record["seconds"] > 0
    broken = found["street/broken.png"]
    assert "broken.png" in broken["error"]
    assert broken["size"] is broken["classes"] is broken["results"] is None

    # The second call does what is not done: what failed, changed or is missing.
    changed, missing = photos / "a.png", Path("out/street/north/b_labels.png")
    kept = Path("out/street/north/a_labels.png").stat().st_mtime_ns
    Image.fromarray(random_image(16, 32)).save(changed)
    missing.unlink()
    (photos / "street" / "broken.png").unlink()
    # A process that was killed: half a line, and half a result.
    with open("out/manifest.jsonl", "a") as file:
        file.write('{"file": "ph')
    leftover = missing.with_name(f".{missing.name}.123.tmp")
    leftover.mkdir()
    assert cli.main(command) == 0
    printed = capsys.readouterr()
    assert "segmented before with the same settings: 2 of 4" in printed.err
    assert [line.split(":")[0] for line in printed.out.splitlines()[:-1]] == [
        "photos/a.png",
        "photos/street/north/b.png",
    ]
    assert missing.exists()
    assert not leftover.exists()
    assert Path("out/street/north/a_labels.png").stat().st_mtime_ns == kept
    assert [Path(record["file"]).name for record in records()[5:]] == ["a.png", "b.png"]
    # Other settings: all images are segmented again.
    assert cli.main([*command, "--max-size", "24"]) == 0
    assert len(records()) == 11
    assert len({record["settings"] for record in records()}) == 2


def test_what_cannot_be_done_is_said_before_the_model_is_loaded(photos, capsys):
    for options, message in (
        ([], "Give images, folders or patterns, or a list"),
        (["photos", "--overlap", "8"], "--overlap 8 requires --tile"),
        (["photos", "--tile", "100"], "Received: --tile 100"),
        (["photos", "--tile", "64", "--overlap", "64"], "Received: --overlap 64"),
        (["photos", "--tile", "64", "--max-size", "9"], "combined with --max-size"),
        (["photos", "--tile", "64", "--crf"], "combined with --crf"),
        (["photos", "--tile", "64", "--overlay"], "combined with --overlay"),
    ):
        assert cli.main(["predict", *options, "--model", "missing.keras"]) == 1
        assert message in capsys.readouterr().err
    assert not Path("predictions").exists()


def test_whatever_is_wrong_with_a_file_costs_only_itself(photos, model, monkeypatch, capsys):
    """Names that are no names, and an image that is too large for the memory."""
    model.save("model.keras")
    (photos / "street" / "north" / os.fsdecode(b"caf\xe9.png")).hardlink_to(photos / "a.png")
    Image.fromarray(random_image(64, 40)).save("large.png")
    Path("circle.png").symlink_to("circle.png")
    lines = ["a\0b.png", ".", "circle.png", "large.png", f"{'x' * 300}.png", "photos/a.bmp"]
    Path("files.txt").write_text("\n".join(lines))
    compute = pdanet_tf.Predictor.label_maps

    def fill_the_memory(self, images):
        if any(image.shape[0] == 64 for image in images):
            tf.zeros((10**5, 10**5, 10**5))  # more than any address space has
        return compute(self, images)

    monkeypatch.setattr(pdanet_tf.Predictor, "label_maps", fill_the_memory)
    command = ["predict", "photos/street/north", "--list", "files.txt", "--model", "model.keras"]
    with open("printed.txt", "w", encoding="utf-8") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", file)  # which cannot write every name
        assert cli.main([*command, "--output", "out", "--no-overlay"]) == 1
    errors = {Path(record["file"]).name: record["error"] for record in records()}
    assert len(records()) == 3 + len(lines)
    assert [name for name, error in errors.items() if error is None] == [
        "a.png",
        "b.png",
        os.fsdecode(b"caf\xe9.png"),
        "a.bmp",
    ]
    assert errors["large.png"].startswith("large.png: the memory is full (OOM when allocating tens")
    assert "\\udce9.png: " in Path("printed.txt").read_text("utf-8")
    assert "not segmented: 5 of 9" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_ends_the_call(number, photos, model, monkeypatch, capsys):
    model.save("model.keras")

    def fail(self, image, kind, result):
        raise OSError(number, os.strerror(number), "a_labels.png")

    monkeypatch.setattr(Results, "save", fail)
    assert cli.main(["predict", "photos/street/north", "--model", "model.keras"]) == 1
    assert capsys.readouterr().err.count(os.strerror(number)) == 1
    assert not Path("predictions/manifest.jsonl").exists()


class Killed(BaseException):
    """Ends a run as a signal would: nothing catches it."""


def test_a_run_that_was_ended_is_continued(photos, model, monkeypatch):
    model.save("model.keras")
    command = ["predict", "photos", "--model", "model.keras", "--output", "out", "--no-overlay"]
    save, saved = Results.save, []

    def end_at_the_third(self, image, kind, result):
        saved.append(image)
        if len(saved) == 3:
            raise Killed
        save(self, image, kind, result)

    with monkeypatch.context() as patch:
        patch.setattr(Results, "save", end_at_the_third)
        patch.setattr(segmentation, "_TOGETHER", 1)
        patch.setattr(segmentation, "_WAITING", 0)
        with pytest.raises(Killed):
            cli.main(command)
    before = list(read_manifest(Path("out/manifest.jsonl")))
    assert [record.error is None for record in before].count(True) == 2
    assert cli.main(command) == 1  # one image is damaged
    done = [record["file"] for record in records() if record["error"] is None]
    assert len(done) == len(set(done)) == 4


def test_images_of_one_size_are_computed_together(model, monkeypatch):
    predictor = pdanet_tf.Predictor(model, pdanet_tf.Protocol((24, 32), flip=True))
    images = [random_image(24, 32), random_image(40, 24), 255 - random_image(24, 32)]
    alone = [predictor.label_map(image) for image in images]
    shapes, compute = [], predictor._logits
    predictor._logits = lambda x: shapes.append(x.shape[0]) or compute(x)
    for together, single in zip(predictor.label_maps(images), alone, strict=True):
        np.testing.assert_array_equal(together, single)
    assert shapes == [4, 4, 2, 2]  # two images and their mirror images at two sizes, then one
    monkeypatch.setattr("pdanet_tf.inference.predictor._PIXELS_TOGETHER", 1)
    shapes.clear()
    np.testing.assert_array_equal(predictor.label_maps(images)[2], alone[2])
    assert shapes == [2] * 6
    with pytest.raises(ValueError, match="dtype=float32"):
        predictor.label_maps([np.zeros((8, 8, 3), "float32")])


def test_the_manifest(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    file.write_bytes(b"four")
    os.utime(file, (1000, 1000.25))
    begun = begin_record(file, "key")
    assert begun == Record(str(file), 4, 1000.25, "key")
    done = begun.segmented((2, 3), {"sky": 1.0}, {"labels": "a_labels.png"}, 0.25)
    folder = tmp_path / "new"
    with Manifest(folder) as manifest:
        assert not manifest.holds(begun)
        assert not folder.exists()
        manifest.append(done)
        with pytest.raises(FileExistsError, match="another process writes"):
            Manifest(folder)
    with Manifest(folder) as manifest:
        assert manifest.holds(begun)
        assert not manifest.holds(begin_record(file, "other"))
        os.utime(file, (1000, 1001))
        assert not manifest.holds(begin_record(file, "key"))
        manifest.append(begun.failed(DataError("a.png: \u00e9"), 0.5))
    with Manifest(folder) as manifest:  # the last line about a file counts
        assert not manifest.holds(begun)
    path = folder / "manifest.jsonl"
    assert path.read_bytes().isascii()
    error = list(read_manifest(path))[1].error
    assert error == "a.png: \u00e9"
    for wrong in ("{}", "[]", "text", '{"file": 3, "bytes": 1, "modified": 1, "settings": ""}'):
        path.write_text(f"{done.to_json()}\n{wrong}\n")
        with pytest.raises(DataError, match=r"manifest\.jsonl: line 2 is not a record"):
            Manifest(folder)
        assert path.read_text() == f"{done.to_json()}\n{wrong}\n"
    assert begin_record(tmp_path / "missing", "key").bytes is None


def test_a_disk_that_becomes_full_within_a_line_of_the_manifest(tmp_path):
    """The system then writes a part of the line, and says so."""
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from pdanet_tf.inference.manifest import Manifest, Record\n"
        "with Manifest(Path(sys.argv[1])) as manifest:\n"
        "    record = Record('a.png', 1, 1.0, 'key')\n"
        "    manifest.append(record)\n"
        "    limit = manifest.path.stat().st_size + 10\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))\n"
        "    try: manifest.append(record)\n"
        "    except OSError as error: print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    file = tmp_path / "manifest.jsonl"
    assert found.stdout == f"{file} cannot be written: {os.strerror(errno.EFBIG)}\n"
    with Manifest(tmp_path) as manifest:  # without the part
        manifest.append(Record("b.png", 1, 1.0, "key"))
    assert [record.file for record in read_manifest(file)] == ["a.png", "b.png"]


def test_the_progress_shows_names_as_they_are(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    assert list(track_long("scans [/old]/a[bold].tif", [1], 1)) == [1]
    assert "scans [/old]/a[bold].tif" in capsys.readouterr().err


def test_progress_of_long_work(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 40.0, 70.0, 80.0])
    monkeypatch.setattr("pdanet_tf.base.progress.time.monotonic", lambda: next(clock))
    assert list(track_long("Segmented", [1, 2, 3, 4], 4000)) == [1, 2, 3, 4]
    assert capsys.readouterr().err.splitlines() == [
        "Segmented: 3 of 4,000, 0.0429 per second, 1 day, 1:54:23 left"
    ]


def test_results_of_other_settings_do_not_stay_beside_new_ones(model, photos, capsys):
    model.save("one.keras")
    keep_weights = ["--output", "results", "--model", "one.keras"]
    assert cli.main(["predict", "photos/a.png", *keep_weights]) == 0
    overlay = Path("results/a_overlay.png")
    assert overlay.exists()
    assert cli.main(["predict", "photos/a.png", *keep_weights, "--no-overlay"]) == 0
    assert not overlay.exists()
    # What is not a result of this image stays.
    Image.fromarray(random_image(24, 32)).save(overlay)
    assert cli.main(["predict", "photos/a.png", *keep_weights, "--no-overlay", "--palette"]) == 0
    assert overlay.exists()


def test_a_name_that_is_too_long_for_its_results_is_named(model, photos, capsys):
    model.save("one.keras")
    os.mkdir("results")
    name = f"photos/{'x' * 244}.png"
    Image.fromarray(random_image(24, 32)).save(name)
    assert cli.main(["predict", name, "--output", "results", "--model", "one.keras"]) == 1
    captured = capsys.readouterr().err
    assert f"_overlay.png, a result of {name}, cannot be written: " in captured
    assert os.listdir("results") == ["manifest.jsonl"]


def test_finding_images_and_reading_a_manifest_need_no_keras():
    script = (
        "import sys, pdanet_tf.cli.images, pdanet_tf.inference.manifest\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
