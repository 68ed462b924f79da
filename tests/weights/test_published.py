"""Published checkpoints by name, from a local server that replaces the publisher's."""

import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.data import ADE20K_CLASSES, Classes
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings, load_model
from pdanet_tf.models.registry import find_model
from pdanet_tf.weights import imagenet
from pdanet_tf.weights.files import load_weights
from pdanet_tf.weights.published import CHECKPOINTS, PublishedCheckpoint, PublishedFile
from pdanet_tf.weights.published_files import fetch
from tests.support import golden_models as golden
from tests.support.models import blank

NAME = "ade20k-resnet18dilated-ppm_deepsup"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Starts a download again without a pause."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves a folder, counts what is asked for, and sets an empty cache."""
    folder = tmp_path / "served" / "model"
    folder.mkdir(parents=True)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            served.asked.append(self.path)
            if served.breaks == 0:
                return super().do_GET()
            served.breaks -= 1
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()
            return self.wfile.write(b"num")

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder.parent))
    )
    served.asked, served.folder, served.breaks = [], folder, 0
    served.url = f"http://127.0.0.1:{served.server_port}/model"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def offer(server, name, content):
    (server.folder / name).write_bytes(content)
    return PublishedFile(f"{server.url}/{name}", hashlib.sha256(content).hexdigest())


def test_a_file_is_downloaded_once(server):
    file = offer(server, "weights.pth", b"numbers")
    assert fetch(file).read_bytes() == b"numbers"
    assert fetch(file).parts[-3:] == ("pdanet_tf", "model", "weights.pth")
    assert server.asked == ["/model/weights.pth"]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.filterwarnings("ignore:The published hash")
def test_half_a_file_never_has_the_name_of_the_whole(server, tmp_path, known):
    file = offer(server, "weights.pth", b"numbers")
    file = file if known else PublishedFile(file.url)
    server.breaks = 3
    with pytest.raises(OSError, match=r"cannot be downloaded: .*3 bytes read.*Check the network"):
        fetch(file)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    server.breaks = 1
    assert fetch(file).read_bytes() == b"numbers"
    assert len(server.asked) == 5


def test_a_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match=r"weights\.pth cannot be stored as .*: ") as caught:
        fetch(offer(server, "weights.pth", b"numbers"))
    assert "Check the network" not in str(caught.value)


def test_the_cache_is_in_the_folder_of_keras(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras" / "pdanet_tf" / "model").mkdir(parents=True)
    (tmp_path / ".keras" / "pdanet_tf" / "model" / "weights.pth").write_bytes(b"numbers")
    digest = hashlib.sha256(b"numbers").hexdigest()
    found = fetch(PublishedFile("http://127.0.0.1:9/model/weights.pth", digest))
    assert found == tmp_path / ".keras/pdanet_tf/model/weights.pth"


def test_a_wrong_hash_is_refused_again_and_again(server):
    file = offer(server, "weights.pth", b"numbers")
    (server.folder / "weights.pth").write_bytes(b"something else")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"model/weights\.pth: not the file") as caught:
            fetch(file)
        assert file.sha256 in str(caught.value)
    (server.folder / "weights.pth").write_bytes(b"numbers")
    assert fetch(file).read_bytes() == b"numbers"


def test_the_first_digits_of_a_hash_are_checked(server):
    file = offer(server, "weights.pth", b"numbers")
    beginning = PublishedFile(file.url, file.sha256[:8])
    assert fetch(beginning).read_bytes() == b"numbers"
    fetch(beginning).write_bytes(b"something else")
    assert fetch(beginning).read_bytes() == b"numbers"
    assert len(server.asked) == 2
    path = fetch(beginning)
    (server.folder / "weights.pth").write_bytes(b"something else")
    path.unlink()
    with pytest.raises(ValueError, match=f"not the file .* does not begin with {file.sha256[:8]}"):
        fetch(beginning)
    assert not path.exists()


def test_a_file_that_is_not_there(server):
    with pytest.raises(OSError, match=r"nothing\.pth cannot be downloaded.*404"):
        fetch(PublishedFile(f"{server.url}/nothing.pth"))


def test_an_error_of_the_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    url = "http://127.0.0.1:9/model/weights.pth"
    with pytest.raises(OSError, match=r"refused\. Check the network, or download") as caught:
        fetch(PublishedFile(url))
    assert str(caught.value).count("127.0.0.1") == 1
    assert f"by hand to {tmp_path / 'pdanet_tf/model/weights.pth'}," in str(caught.value)


def test_a_file_without_a_known_hash_is_used_with_a_warning(server):
    file = offer(server, "weights.pth", b"numbers")
    with pytest.warns(UserWarning, match=file.sha256):
        assert fetch(PublishedFile(file.url)).read_bytes() == b"numbers"


def test_the_table_names_models_that_exist():
    for name, checkpoint in CHECKPOINTS.items():
        find_model(checkpoint.model, checkpoint.variant)  # raises if there is none
        if checkpoint.decoder is None:
            assert f"/{name}-{checkpoint.encoder.sha256}.pth" in checkpoint.encoder.url
        else:
            for file in (checkpoint.encoder, checkpoint.decoder):
                assert f"/{name}/" in file.url
                assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
        assert len(checkpoint.classes) == checkpoint.num_classes
        assert len(checkpoint.classes.colors) == checkpoint.num_classes


def test_published_scores():
    scores = {name: checkpoint.scores for name, checkpoint in CHECKPOINTS.items()}
    assert (scores[NAME].mean_iou, scores[NAME].pixel_accuracy) == (0.38, 0.7864)
    # CSAIL publishes the mean of both, too, in percent to two digits.
    csail = [each for each in scores.values() if "semantic-segmentation-pytorch" in each.source]
    means = [50 * (each.mean_iou + each.pixel_accuracy) for each in csail]
    expected = [54.07, 54.94, 58.32, 60.50, 61.39, 60.12, 61.40]
    np.testing.assert_allclose(means, expected, atol=0.0051)
    assert len(scores) - len(csail) == 4


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("pdanet_resnet18", {}, "belongs to model='pspnet_resnet18'"),
        ("pspnet_resnet18", {"num_classes": 21}, "belongs to num_classes=150"),
        ("pspnet_resnet18", {"normalization": "caffe"}, "belongs to normalization='torch'"),
    ],
)
def test_a_checkpoint_of_another_model_is_not_downloaded(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        pdanet_tf.build_model(model, weights=NAME, **arguments)


def test_a_checkpoint_brings_its_variant():
    name = "deeplabv3_resnet50_coco"
    with pytest.raises(ValueError, match="belongs to model='deeplabv3_resnet50'"):
        pdanet_tf.build_model("fcn_resnet50", 21, weights=name)
    with pytest.raises(ValueError, match="belongs to num_classes=21"):
        pdanet_tf.build_model("deeplabv3_resnet50", weights=name)
    settings = InferenceSettings.load_for(name)
    assert settings.classes.names[15] == "person"
    assert settings.protocol.sizes((480, 640)) == [(520, 696)]


def test_a_checkpoint_of_another_backbone_is_not_downloaded():
    message = r"holds pspnet_resnet18, whose .* needs the backbone resnet34; nothing was downloaded"
    with pytest.raises(ValueError, match=message):
        load_weights(blank("fcn_resnet34"), NAME, strict=False)


def test_a_name_that_is_almost_right():
    with pytest.raises(FileNotFoundError, match=f"Did you mean .*{NAME}"):
        pdanet_tf.build_model("pspnet_resnet18", weights="ade20k-resnet18dilated-ppm")
    with pytest.raises(FileNotFoundError, match=f"Did you mean .*{NAME}"):
        load_model("ade20k-resnet18dilated-ppm")


class TestPyTorchCheckpoints:
    """Downloaded checkpoints, which PyTorch reads."""

    @pytest.fixture
    def offer_state(self, torch, server):
        def offer_state(name, state):
            torch.save({key: torch.from_numpy(np.array(a)) for key, a in state.items()}, name)
            return offer(server, name.name, name.read_bytes())

        return lambda name, state: offer_state(server.folder / name, state)

    @pytest.fixture
    def offer_checkpoint(self, offer_state, monkeypatch):
        parts = {
            part: golden.draw(shapes) for part, shapes in golden.layout("pspnet_deepsup").items()
        }
        files = {part: offer_state(f"{part}_epoch_20.pth", state) for part, state in parts.items()}
        checkpoint = PublishedCheckpoint("pspnet_resnet18", **files)
        monkeypatch.setitem(CHECKPOINTS, NAME, checkpoint)

    @pytest.mark.usefixtures("offer_checkpoint")
    def test_from_an_image_to_an_overlay_by_name(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        image = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype("uint8")
        Image.fromarray(image).save("photo.png")
        # Settings of another model, in the folder where the command is run.
        InferenceSettings(Classes.numbered(3), Protocol()).save(tmp_path)
        assert cli.main(["predict", "photo.png", "--model", NAME, "--short-edges", "40"]) == 0
        printed = capsys.readouterr().out
        assert InferenceSettings.load_for(NAME) == InferenceSettings(
            ADE20K_CLASSES, Protocol((450,))
        )
        expected = pdanet_tf.predict(image, NAME, protocol=Protocol((40,)))
        assert expected.classes == ADE20K_CLASSES
        assert next(iter(expected.areas())) in printed
        with Image.open("predictions/photo_overlay.png") as overlay:
            np.testing.assert_array_equal(overlay, expected.overlay)

    @pytest.mark.usefixtures("offer_checkpoint")
    def test_weights_by_name(self):
        expected = golden.reference_model("pspnet_deepsup").get_weights()
        model = pdanet_tf.build_model("pspnet_resnet18", weights=NAME, aux_head=True)
        for found, wanted in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        without = pdanet_tf.build_model("pspnet_resnet18", weights=NAME)
        wanted = {weight.path: weight for weight in model.weights}
        for weight in without.weights:
            np.testing.assert_array_equal(weight, wanted[weight.path])

    def test_a_checkpoint_of_one_file(self, offer_state, monkeypatch):
        layout = golden.layout("fcn")
        state = {
            f"{part}.{key}": array
            for part, shapes in layout.items()
            for key, array in golden.draw(shapes).items()
        }
        file = offer_state("fcn.pth", state)
        monkeypatch.setitem(CHECKPOINTS, "one", PublishedCheckpoint("fcn_resnet18", file))
        model = pdanet_tf.build_model("fcn_resnet18", weights="one")
        expected = golden.reference_model("fcn").get_weights()
        for found, wanted in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)

    @pytest.mark.usefixtures("offer_checkpoint")
    def test_fine_tuning_from_a_name(self):
        expected = golden.reference_model("pspnet_deepsup")
        wanted = {weight.path: weight for weight in expected.weights}
        for name, loaded, kept in (
            ("pspnet_resnet18", ("pyramid/level_0", "pyramid/level_1"), ("classifier",)),
            ("pdanet_resnet18", ("fusion",), ("pyramid", "classifier")),
            ("danet_resnet18", (), ("dual_attention",)),
        ):
            model = blank(name, num_classes=2)
            before = {weight.path: weight.numpy() for weight in model.weights}
            result = load_weights(model, NAME, strict=False)
            assert (result.loaded[:2], result.kept) == (loaded, kept)
            for weight in model.weights:
                values = before if weight.path.startswith(kept) else wanted
                np.testing.assert_array_equal(weight, values[weight.path])
        assert result.describe() == (
            f"only the backbone resnet18 loaded from the checkpoint {NAME!r} (pspnet_resnet18); "
            "dual_attention keeps its initial values; pyramid of the file not used"
        )

    def test_imagenet_weights_of_the_deep_stem(self, offer_state, monkeypatch):
        state = golden.draw(golden.layout("fcn")["encoder"])
        state |= {"fc.weight": np.zeros((1000, 512)), "fc.bias": np.zeros(1000)}
        file = offer_state("resnet18-imagenet.pth", state)
        asked = []
        monkeypatch.setattr(imagenet, "fetch", lambda there: asked.append(there.url) or fetch(file))
        model = pdanet_tf.build_model("fcn_resnet18", stem="deep", backbone_weights="imagenet")
        kernel = model.get_layer("resnet18").get_layer("stem_conv2").conv.kernel
        wanted = state["conv2.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(kernel, wanted)
        assert [url.rpartition("/")[2] for url in asked] == ["resnet18-imagenet.pth"]
