"""The Beam transform gives what `pdanet-tf predict` gives. It requires the extra `beam`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from tests.support.images import random_image

beam = pytest.importorskip("apache_beam", reason="needs the extra 'beam'")
from apache_beam.io.localfilesystem import LocalFileSystem  # noqa: E402

from pdanet_tf.inference.beam import SegmentImages, place_of  # noqa: E402

pytestmark = [pytest.mark.extra, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """300 images in nested folders, of three formats and three sizes, and two damaged ones."""
    root = tmp_path_factory.mktemp("beam")
    endings = (".png", ".jpg", ".bmp")
    for number in range(300):
        path = root / "photos" / f"{number // 2 % 7}" / f"{number // 2}{endings[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = ((24, 32), (40, 24), (17, 33))[number % 5 % 3]
        Image.fromarray(np.roll(random_image(*size), number, axis=1)).save(path)
    (root / "photos" / "0" / "cut.png").write_bytes((root / "photos/0/0.png").read_bytes()[:100])
    (root / "photos" / "empty.jpg").touch()
    pdanet_tf.build_model("fcn_resnet18_quarter", num_classes=3).save(root / "model.keras")
    return root


def run(paths, *arguments, **options):
    """Returns the records of a pipeline on this machine, in one process."""
    with beam.Pipeline("FnApiRunner") as pipeline:
        (
            pipeline
            | beam.Create(list(map(str, paths)))
            | SegmentImages(*arguments, **options)
            | beam.Map(json.dumps)
            | beam.io.WriteToText("manifest", ".jsonl", shard_name_template="")
        )
    return [json.loads(line) for line in Path("manifest.jsonl").read_text().splitlines()]


def without_seconds(records):
    return sorted(
        (
            {name: value for name, value in record.items() if name != "seconds"}
            for record in records
        ),
        key=lambda record: record["file"],
    )


def test_the_manifest_and_the_label_maps_equal_those_of_predict(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ["--model", str(folder / "model.keras"), "--no-overlay", "--output", "predicted"]
    assert cli.main(["predict", str(folder / "photos"), *model]) == 1  # two files are damaged
    lines = Path("predicted/manifest.jsonl").read_text().splitlines()
    expected = without_seconds(map(json.loads, lines))
    paths = [path for path in (folder / "photos").rglob("*") if path.is_file()]
    assert len(paths) == 302
    options = {"root": folder / "photos"}
    found = run(paths, folder / "model.keras", "piped", **options)
    assert all(record["seconds"] >= 0 for record in found)
    assert sum(record["error"] is None for record in found) == 300
    assert without_seconds(found) == expected
    files = sorted(path.relative_to("piped") for path in Path("piped").rglob("*.png"))
    assert len(files) == 300
    for file in files:
        assert ("piped" / file).read_bytes() == ("predicted" / file).read_bytes()
    # The same again replaces its own results, and no others.
    pair = [path for path in paths if path.match("1/1.*")]
    assert len(pair) == 2
    name = f"1/{pair[0].name}_labels.png"
    Image.new("L", (3, 3)).save(f"piped/{name}")
    again = {
        record["file"]: record for record in run(pair, folder / "model.keras", "piped", **options)
    }
    assert "is not an earlier result" in again[str(pair[0])]["error"]
    assert again[str(pair[1])]["error"] is None


def test_images_of_one_place_are_told_and_not_lost(folder, tmp_path, monkeypatch):
    """A path in the folder of the images, and one outside of it."""
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / "a.png"
    inside = tmp_path / "root" / str(outside).lstrip("/")
    inside.parent.mkdir(parents=True)
    for path in (inside, outside, other := tmp_path / "root" / "b.png"):
        Image.fromarray(random_image(24, 32)).save(path)
    paths = [inside, outside, other, other, "/"]
    found = run(paths, folder / "model.keras", "piped", root=tmp_path / "root")
    errors = {record["file"]: record["error"] for record in found}
    assert len(found) == len(errors) == 4
    assert errors.pop(str(other)) is None
    for path in (inside, outside):
        assert "the same name in its source" in errors.pop(str(path))
    assert all("is a folder" in error for error in errors.values())
    assert [path.name for path in Path("piped").rglob("*.png")] == ["b_labels.png"]


class Elsewhere(LocalFileSystem):
    """A file system whose URLs begin with `elsewhere://`, in place of an object store."""

    @classmethod
    def scheme(cls):
        return "elsewhere"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def _path_open(self, path, mode, *rest, **options):
        local = path.removeprefix("elsewhere:/")
        Path(local).parent.mkdir(parents=True, exist_ok=True)
        return super()._path_open(local, mode, *rest, **options)

    def exists(self, path):
        return super().exists(path.removeprefix("elsewhere:/"))

    def match(self, patterns, limits=None):
        return super().match([path.removeprefix("elsewhere:/") for path in patterns], limits)


def test_images_model_and_results_on_another_file_system(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = f"elsewhere:/{folder}"
    names = ("0/0.png", "0/0.jpg", "0/cut.png", "missing.png")
    images = [f"{url}/photos/{name}" for name in names]
    output = f"elsewhere:/{tmp_path}/out"
    found = run(images, f"{url}/model.keras", output, root=f"{url}/photos")
    found = {record["file"].removeprefix(f"{url}/photos/"): record for record in found}
    assert found.keys() == set(names)
    predictor = pdanet_tf.Predictor(folder / "model.keras")
    for name in names[:2]:
        expected = predictor.predict(folder / "photos" / name)
        assert found[name]["classes"] == expected.areas()
        assert found[name]["bytes"] == (folder / "photos" / name).stat().st_size
        with Image.open(tmp_path / "out" / found[name]["results"]["labels"]) as labels:
            np.testing.assert_array_equal(labels, expected.label_map)
    assert f"{url}/photos/0/cut.png" in found["0/cut.png"]["error"]
    assert found["missing.png"]["error"]
    assert found["missing.png"]["bytes"] is None


def test_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, root, place in (
        ("a/b.jpg", None, "a/b.jpg"),
        ("/a/b.jpg", None, "a/b.jpg"),
        ("a/b.jpg", ".", "a/b.jpg"),
        (f"{tmp_path}/a/b.jpg", "a", "b.jpg"),
        ("gs://bucket/a/b.jpg", None, "bucket/a/b.jpg"),
        ("gs://bucket/a/b.jpg", "gs://bucket/a", "b.jpg"),
        ("gs://bucket/a/b.jpg", "gs://other", "bucket/a/b.jpg"),
    ):
        assert place_of(path, root) == place
