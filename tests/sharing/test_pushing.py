"""Pushing models and loading them again: the real client of Hugging Face, a local server."""

import importlib
import json
import re
import shutil
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf.cli import main
from pdanet_tf.data import Classes
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.sharing import CardFacts, push, write_card
from pdanet_tf.weights import hub
from pdanet_tf.weights.files import load_weights
from tests.support import golden_models as golden
from tests.support.hub_server import TOKEN, hub_server

# The client uploads large files by an argument that its HTTP library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
CLASSES = Classes(("rest", "road|way", "cat"), ((0, 0, 0), (255, 0, 0), (1, 2, 3)))


@pytest.fixture
def server(huggingface_hub, monkeypatch, tmp_path):
    with hub_server() as running:
        # huggingface_hub reads these from the environment when it is imported.
        constants = importlib.import_module("huggingface_hub.constants")
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            f"{running.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        )
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub._fetch.cache_clear()
        yield running
    hub._fetch.cache_clear()


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of a small run, without its training."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    pdanet_tf.build_model("fcn_resnet18_quarter", 3).save(folder / "best.keras")
    InferenceSettings(CLASSES, Protocol(short_edges=(48,))).save(folder)
    summary = {
        "config": {"dataset": "folder", "data_dir": "/home/me/data", "epochs": 3, "stem": None},
        "seconds": 10,
        "validation": {
            "mean_iou": 0.5123,
            "pixel_accuracy": 0.9,
            "mean_accuracy": 0.6,
            "iou_per_class": {"rest": 0.9, "road|way": 0.5, "cat": 0.1},
        },
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def weights_of(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def test_a_pushed_run_is_loaded_again(server, run, huggingface_hub):
    report = push(run, "hf://me/roads", private=True, license="mit")
    assert str(report.address) == "hf://me/roads/best.keras"
    repository = server.repositories["me/roads"]
    assert repository.private
    files = repository.commits[repository.branches["main"]]
    assert sorted(files) == [
        ".gitattributes", "README.md", "best.keras", "classes.csv", "inference.json",
    ]  # fmt: skip
    assert files["best.keras"] == (run / "best.keras").read_bytes()
    assert {name: len(files[name]) for name in report.sizes} == report.sizes
    assert report.url == f"{server.url}/me/roads/commit/{repository.branches['main']}"
    assert files["classes.csv"].decode().splitlines()[2] == "1,road|way,255,0,0"
    # Every way of naming a trained model takes the address; the cache is empty at first.
    expected = weights_of(keras.saving.load_model(run / "best.keras"))
    predictor = pdanet_tf.Predictor("hf://me/roads")
    assert predictor.classes == CLASSES
    assert predictor.protocol == Protocol(short_edges=(48,))
    built = pdanet_tf.build_model("fcn_resnet18_quarter", 3, weights="hf://me/roads/best.keras")
    other = pdanet_tf.build_model("fcn_resnet18_quarter", 5)
    loaded = load_weights(other, "hf://me/roads@main", strict=False)
    assert "hf://me/roads@main" in loaded.describe()
    for model in (predictor.model, built):
        for found, weight in zip(weights_of(model), expected, strict=True):
            np.testing.assert_array_equal(found, weight)
    image = np.zeros((48, 64, 3), "uint8")
    assert pdanet_tf.predict(image, "hf://me/roads").label_map.shape == (48, 64)
    assert pdanet_tf.predict(image, "fcn_resnet18_quarter", weights="hf://me/roads").classes == (
        CLASSES
    )
    # One question for the files of each address, and one download of each file.
    asked = [each for each in server.requests if each.startswith("GET /api/models/")]
    assert len(asked) == 3
    assert sum("GET" in each and "best.keras" in each for each in server.requests) == 1


def test_the_card(server, run, huggingface_hub):
    push(run, "hf://me/roads", license="apache-2.0")
    repository = server.repositories["me/roads"]
    text = repository.commits[repository.branches["main"]]["README.md"].decode()
    data = huggingface_hub.ModelCard(text).data.to_dict()
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "keras"
    assert data["pipeline_tag"] == "image-segmentation"
    assert {"pdanet_tf", "fcn_resnet18_quarter"} <= {*data["tags"]}
    (entry,) = data["model-index"]
    (result,) = entry["results"]
    assert result["dataset"] == {
        "name": "folder, validation split", "type": "folder", "split": "validation"
    }  # fmt: skip
    assert {each["type"]: each["value"] for each in result["metrics"]} == {
        "mean_iou": 0.5123,
        "pixel_accuracy": 0.9,
        "mean_accuracy": 0.6,
    }
    assert "| 1 | road\\|way | 255, 0, 0 | 0.500 |" in text
    assert 'pdanet_tf.Predictor("hf://me/roads")' in text
    assert "pdanet-tf train --dataset folder --data-dir DATA --epochs 3\n" in text
    assert "/home/me" not in text
    assert "None" not in text.replace("None:", "")
    # A card that its owner has edited stays.
    repository.commit("main", {"README.md": b"---\nlicense: mit\n---\n# Mine"})
    report = push(run, "hf://me/roads/second.keras")
    assert report.kept == ("README.md",)
    files = repository.commits[repository.branches["main"]]
    assert files["README.md"].endswith(b"# Mine")
    with pytest.raises(
        ValueError,
        match=r"hf://me/roads holds 2 models\. Choose one: hf://me/roads/best\.keras, hf://me/ro",
    ):
        pdanet_tf.Predictor("hf://me/roads")


def test_the_card_beside_the_model_is_pushed(server, run, tmp_path, huggingface_hub):
    source = tmp_path / "run"
    shutil.copytree(run, source)
    model = keras.saving.load_model(source / "best.keras")
    settings = InferenceSettings.load_for(source / "best.keras")
    facts = CardFacts.of_model(model, settings, source / "best.keras", license="mit")
    write_card(source, facts, "## Mine\n")
    (source / "README_reliability.svg").write_text("<svg/>")
    report = push(source, "hf://me/roads", license="apache-2.0")
    repository = server.repositories["me/roads"]
    files = repository.commits[repository.branches["main"]]
    text = files["README.md"].decode()
    assert report.card_file == source / "README.md"
    assert text == report.card
    assert text.endswith("\n\n## Mine\n")
    assert "# run\n" in text
    assert 'pdanet_tf.Predictor("hf://me/roads")' in text
    assert "license: apache-2.0\n" in text
    assert files["README_reliability.svg"] == b"<svg/>"
    # The repository has a card now: neither that nor its diagram is changed.
    (source / "README_reliability.svg").write_text("<svg></svg>")
    assert push(source, "hf://me/roads").kept == ("README.md",)
    files = repository.commits[repository.branches["main"]]
    assert files["README_reliability.svg"] == b"<svg/>"
    # A card of another file is not used, one that a user wrote is pushed as it is.
    (source / "best.keras").write_bytes((source / "best.keras").read_bytes() + b" ")
    report = push(source, "hf://me/other", dry_run=True)
    assert (report.card_file, report.unused_card) == (None, source / "README.md")
    assert "Mine" not in report.card
    assert "README_reliability.svg" not in report.sizes
    own = "---\nlicense: mit\n---\n# Mine\n"
    (source / "README.md").write_text(own)
    assert push(source, "hf://me/other", license="mit", dry_run=True).card == own
    with pytest.raises(ValueError, match=r"metadata of its own\. Received: license='bsd'"):
        push(source, "hf://me/other", license="bsd", dry_run=True)
    (source / "README.md").write_text("# The project around it\n")
    report = push(source, "hf://me/other", dry_run=True)
    assert (report.card_file, report.unused_card) == (None, None)
    assert "# other\n" in report.card


def test_the_card_of_the_trained_model_is_pushed(huggingface_hub):
    report = push("camvid", "hf://me/camvid/roads.keras", dry_run=True)
    card = huggingface_hub.ModelCard(report.card)
    found = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert found["mean_iou"] == 0.7407
    assert "hf://me/camvid" in card.text
    assert report.sizes["README_reliability.svg"] > 1000


def test_revisions_and_folders(server, run):
    push(run / "best.keras", "hf://me/roads/v2/roads.keras", revision="next")
    repository = server.repositories["me/roads"]
    assert sorted(repository.branches) == ["main", "next"]
    assert [*repository.commits[repository.branches["main"]]] == [".gitattributes"]
    commit = repository.branches["next"]
    for revision in ("next", commit):
        predictor = pdanet_tf.Predictor(f"hf://me/roads@{revision}")
        assert predictor.classes == CLASSES
    with pytest.raises(ValueError, match=r"hf://me/roads holds no \.keras file, but \.gitattrib"):
        pdanet_tf.Predictor("hf://me/roads")
    with pytest.raises(FileNotFoundError, match="has no revision 'nxt'"):
        pdanet_tf.Predictor("hf://me/roads@nxt")


def test_a_checkpoint_of_another_package(server, tmp_path):
    parts = golden.layout("fcn").items()
    state = {
        f"{part}.{name}": array
        for part, shapes in parts
        for name, array in golden.draw(shapes).items()
    }
    np.savez(tmp_path / "fcn.npz", **state)
    content = (tmp_path / "fcn.npz").read_bytes()
    server.add("csail/fcn", {"config.json": b"{}", "fcn.npz": content})
    expected = weights_of(pdanet_tf.build_model("fcn_resnet18", weights=tmp_path / "fcn.npz"))
    for address in ("hf://csail/fcn", "hf://csail/fcn@main/fcn.npz"):
        found = weights_of(pdanet_tf.build_model("fcn_resnet18", weights=address))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(pdanet_tf.Predictor("hf://csail/fcn").classes) == 150


def test_what_the_hub_refuses(server, run, monkeypatch):
    server.add("me/gated", {"a.keras": b""}, gated=True)
    server.add("me/private", {"a.keras": b""}, private=True)
    server.add("me/open", {"models/best.keras": b"", "models/best2.keras": b""})
    with pytest.raises(PermissionError, match=r"restricted\. Accept its conditions on http.*gated"):
        pdanet_tf.Predictor("hf://me/gated")
    with pytest.raises(FileNotFoundError, match=r"no repository me/rods, or it is private"):
        pdanet_tf.build_model("fcn_resnet18_quarter", 3, weights="hf://me/rods")
    message = r"has no file models/bst\.keras\. Did you mean models/best\.keras\?"
    with pytest.raises(FileNotFoundError, match=message):
        pdanet_tf.Predictor("hf://me/open/models/bst.keras")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(FileNotFoundError, match=r"if it is private, log in with 'hf auth login'"):
        pdanet_tf.Predictor("hf://me/private")
    with pytest.raises(PermissionError, match=r"refuses access \(401\)\. Use a token"):
        push(run, "hf://me/new")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(PermissionError, match=r"refuses access \(401\)"):
        pdanet_tf.Predictor("hf://me/open/models/best.keras")


def test_without_network(server, run, huggingface_hub, monkeypatch):
    push(run, "hf://me/roads")
    pdanet_tf.Predictor("hf://me/roads")
    hub._fetch.cache_clear()
    constants = importlib.import_module("huggingface_hub.constants")
    closed = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    template = f"{closed}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    assert pdanet_tf.Predictor("hf://me/roads").classes == CLASSES
    with pytest.raises(
        OSError, match=r"me/other: the Hub cannot be reached at http://127\.0\.0\.1:9"
    ):
        pdanet_tf.Predictor("hf://me/other")


@pytest.mark.parametrize("address", ["hf://name", "hf://a/b@", "hf://a b/c", "hf://a/b/../c"])
def test_addresses_of_another_form(address):
    with pytest.raises(ValueError, match=re.escape(f"Received: {address!r}")):
        hub.HubAddress.parse(address)


def test_addresses():
    parse = hub.HubAddress.parse
    assert parse("hf://a/b-c.d") == hub.HubAddress("a/b-c.d")
    assert parse("hf://a/b@v1.0/c/d.keras") == hub.HubAddress("a/b", "c/d.keras", "v1.0")
    assert parse("hf://a/b@refs/pr/3/d.keras") == hub.HubAddress("a/b", "d.keras", "refs/pr/3")
    for text in ("hf://a/b", "hf://a/b@v1/c.keras"):
        assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("source", "address", "options", "message"),
    [
        ("missing.keras", "hf://a/b", {}, r"no model file at .*missing\.keras"),
        ("", "hf://a/b", {}, r"is not the folder of a run: there is no best\.keras; it holds no"),
        ("best.keras", "hf://a/b/c.pth", {}, r"must end in \.keras"),
        ("best.keras", "hf://a/b@v1", {"revision": "v2"}, "names the revision 'v1'"),
        ("best.keras", "hf://a/b", {"revision": "a" * 40}, "to a branch only"),
    ],
)
def test_what_cannot_be_pushed(server, run, tmp_path, source, address, options, message):
    path = run / source if source == "best.keras" else tmp_path / source
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        push(path, address, **options)
    assert server.requests == []


def test_the_command(server, run, tmp_path, capsys):
    command = ["push", str(run), "hf://me/roads", "--license", "mit"]
    assert main([*command, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "library_name: keras" in out
    assert "Nothing was pushed to hf://me/roads/best.keras (--dry-run)." in out
    assert server.requests == []
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "Use it with: pdanet-tf predict photo.jpg --model hf://me/roads/best.keras" in out
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.jpg")
    arguments = ["predict", str(tmp_path / "photo.jpg"), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--model", "hf://me/roads"]) == 0
    assert (tmp_path / "out" / "photo_labels.png").is_file()
    assert main([*arguments, "--model", "hf://me/rods"]) == 1
    assert "there is no repository me/rods, or it is private" in capsys.readouterr().err


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"huggingface_hub, .* pip install 'pdanet_tf\[hub\]'"):
        pdanet_tf.Predictor("hf://me/roads")
