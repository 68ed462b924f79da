"""The official protocol, against a twin in plain NumPy, on images of awkward sizes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.data import DataError, load_dataset
from pdanet_tf.evaluation.scoring import evaluate_predictions
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings

CLASSES = 4
PROTOCOLS = {
    "plain": Protocol((24,)),
    "several sizes": Protocol((16, 24, 40), 56),
    "own size": Protocol(),
    "flip": Protocol((24,), flip=True),
    "windows": Protocol((40,), 80, crop_size=(24, 32)),
    "everything": Protocol((24, 40), 64, flip=True, crop_size=(24, 24), stride=(8, 16)),
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    model = pdanet_tf.build_model("pspnet_resnet18", num_classes=CLASSES)
    for weight in model.weights:
        if weight.path.endswith("classifier/kernel"):
            weight.assign(weight * 40.0)  # else no class is ever far ahead of another
    return model


@pytest.fixture
def folder(tmp_path):
    """Images of awkward sizes in the layout and the numbering of ADE20K: 0 is no class."""
    rng = np.random.default_rng(0)
    for index, size in enumerate([(31, 47), (64, 40), (8, 90), (25, 25)]):
        coarse = rng.integers(0, 256, (4, 5, 3)).astype("uint8")
        image = Image.fromarray(coarse).resize(size[::-1], Image.BILINEAR)
        label = rng.integers(0, CLASSES, size).astype("uint8")  # the last class is in no label
        for kind, picture in (("images", image), ("annotations", Image.fromarray(label))):
            path = tmp_path / "set" / kind / "validation" / f"scene_{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    return tmp_path / "set"


@pytest.fixture
def dataset(folder):
    return load_dataset("folder", "validation", folder, num_classes=CLASSES, label_offset=1)


def bilinear(values, y, x):
    """One point of `(height, width, channels)`, in units of its cells, edges held."""
    y, x = (min(max(c - 0.5, 0), n - 1) for c, n in zip((y, x), values.shape, strict=False))
    top, left = int(y), int(x)
    bottom, right = min(top + 1, values.shape[0] - 1), min(left + 1, values.shape[1] - 1)
    down, over = y - top, x - left
    upper = (1 - over) * values[top, left] + over * values[top, right]
    lower = (1 - over) * values[bottom, left] + over * values[bottom, right]
    return (1 - down) * upper + down * lower


def twin(model, image, size, protocol):
    """The protocol pixel by pixel, as REFERENCE's section on evaluation tells it."""
    coarse = keras.Model(model.input, model.get_layer("classifier").output)
    scales = []
    for edge in protocol.short_edges or (min(image.shape[:2]),):
        scale = min(edge / min(image.shape[:2]), protocol.max_size / max(image.shape[:2]))
        height, width = (max(8, 8 * int(np.ceil(int(n * scale) / 8))) for n in image.shape[:2])
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.BILINEAR))
        crop = protocol.crop_size or (height, width)
        step = protocol.stride or tuple(2 * side // 3 for side in crop)
        tops, lefts = (
            sorted({min(start, max(side - c, 0)) for start in range(0, max(side - c, 0) + s, s)})
            for side, c, s in zip((height, width), crop, step, strict=True)
        )
        sums, counts = np.zeros((*size, CLASSES)), np.zeros(size)
        for top in tops:
            for left in lefts:
                window = resized[top : top + crop[0], left : left + crop[1]]
                for mirrored in (False, True)[: 1 + protocol.flip]:
                    pixels = window[:, ::-1] if mirrored else window
                    logits = np.asarray(coarse(pixels[None].astype("float32"))[0])
                    if mirrored:
                        logits = logits[:, ::-1]
                    for row, column in np.ndindex(*size):
                        y = (row + 0.5) * height / size[0] - top
                        x = (column + 0.5) * width / size[1] - left
                        if 0 <= y < window.shape[0] and 0 <= x < window.shape[1]:
                            cell = (
                                (window.shape[0] / logits.shape[0]),
                                (window.shape[1] / logits.shape[1]),
                            )
                            point = np.exp(bilinear(logits, y / cell[0], x / cell[1]))
                            sums[row, column] += point / point.sum()
                            counts[row, column] += 1
        assert counts.min() > 0
        scales.append(sums / counts[..., None])
    return np.mean(scales, axis=0)


# Of all that a protocol can say at once, which takes as long as the rest together.
EVERYTHING = pytest.param("everything", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [*list(PROTOCOLS)[:-1], EVERYTHING])
def test_probabilities_are_those_of_the_twin(model, dataset, name):
    protocol = PROTOCOLS[name]
    predictor = Predictor(model, protocol)
    for index in (0, 2):
        image, label = dataset.read(index)
        expected = twin(model, image, label.shape, protocol)
        found = predictor.probabilities(image, label.shape)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert expected.max() > 0.9
        second = np.sort(expected, axis=-1)
        clear = second[..., -1] - second[..., -2] > 1e-3
        labels = predictor.label_map(image, label.shape)
        np.testing.assert_array_equal(labels[clear], expected.argmax(-1)[clear])


@pytest.mark.parametrize("name", ["windows", EVERYTHING])
def test_windows_in_strips_join_without_a_seam(model, dataset, name, monkeypatch):
    image, _ = dataset.read(1)
    whole = Predictor(model, PROTOCOLS[name]).probabilities(image)
    monkeypatch.setattr("pdanet_tf.inference.predictor.VALUES_PER_STRIP", 40 * CLASSES * 7)
    in_strips = Predictor(model, PROTOCOLS[name])
    np.testing.assert_allclose(in_strips.probabilities(image), whole, atol=1e-6)


def test_windows_are_computed_once_and_forgotten(model, dataset, monkeypatch):
    monkeypatch.setattr("pdanet_tf.inference.predictor.VALUES_PER_STRIP", 40 * CLASSES * 2)
    predictor = Predictor(model, Protocol((40,), 80, crop_size=(16, 16), stride=(16, 16)))
    calls, compute = [], predictor._logits
    predictor._logits = lambda images: calls.append(images.shape) or compute(images)
    image, _ = dataset.read(1)  # 64 x 40
    predictor.probabilities(image)
    assert calls == [(3, 16, 16, 3)] * 4  # those side by side at once


@pytest.mark.slow
def test_the_official_score_is_that_of_the_twin(model, dataset, tmp_path):
    """Sums over the set, an absent class counts as 0, label 0 does not count."""
    protocol = PROTOCOLS["several sizes"]
    evaluation = pdanet_tf.evaluate(
        model, dataset, protocol, progress=False, predictions=tmp_path / "predicted"
    )
    intersection, union = np.zeros(CLASSES), np.zeros(CLASSES)
    correct = valid = 0
    for index in range(len(dataset)):
        with Image.open(dataset.root / "annotations" / "validation" / f"scene_{index}.png") as file:
            label = np.asarray(file).astype(int) - 1
        with Image.open(tmp_path / "predicted" / f"scene_{index}.png") as file:
            assert file.mode == "L"
            prediction = np.asarray(file).astype(int) - 1  # the official numbering begins at 1
        image, _ = dataset.read(index)
        expected = Predictor(model, protocol).label_map(image, label.shape)
        np.testing.assert_array_equal(prediction, expected)
        counted = label >= 0
        correct, valid = correct + np.sum((label == prediction) & counted), valid + counted.sum()
        for number in range(CLASSES):
            here, there = (prediction == number) & counted, label == number
            intersection[number] += np.sum(here & there)
            union[number] += np.sum(here | there)
    iou = intersection / (union + 1e-10)
    figures = evaluation.to_dict()
    assert figures["mean_iou"] == pytest.approx(iou.mean(), abs=1e-12)
    assert figures["pixel_accuracy"] == pytest.approx(correct / valid, abs=1e-12)
    assert list(figures["iou_per_class"].values()) == pytest.approx(iou, abs=1e-12)
    again = evaluate_predictions(tmp_path / "predicted", dataset, progress=False)
    assert again.to_dict() == figures
    assert evaluation.chart().width > 100


def test_an_evaluation_goes_on_where_it_stopped(model, dataset, tmp_path, monkeypatch):
    folder = tmp_path / "predicted"
    arguments = {"protocol": PROTOCOLS["flip"], "progress": False, "predictions": folder}
    whole = pdanet_tf.evaluate(model, dataset, PROTOCOLS["flip"], progress=False)
    predict, seen = Predictor.label_map, []

    def break_down(self, image, size):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(size)
        return predict(self, image, size)

    monkeypatch.setattr(Predictor, "label_map", break_down)
    with pytest.raises(KeyboardInterrupt):
        pdanet_tf.evaluate(model, dataset, **arguments)
    assert sorted(path.name for path in folder.glob("*.png")) == ["scene_0.png", "scene_1.png"]
    with pytest.raises(FileExistsError, match="resume=True"):
        pdanet_tf.evaluate(model, dataset, **arguments)
    rest = []
    monkeypatch.setattr(
        Predictor,
        "label_map",
        lambda self, image, size: rest.append(size) or predict(self, image, size),
    )
    resumed = pdanet_tf.evaluate(model, dataset, resume=True, **arguments)
    assert len(rest) == 2
    assert resumed.to_dict() == whole.to_dict()
    with pytest.raises(ValueError, match=r"come from another evaluation: their protocol is"):
        pdanet_tf.evaluate(
            model, dataset, Protocol((16,)), progress=False, predictions=folder, resume=True
        )
    Image.new("L", (3, 3), 1).save(folder / "scene_0.png")
    with pytest.raises(DataError, match=r"scene_0\.png: the stored prediction is 3 x 3"):
        pdanet_tf.evaluate(model, dataset, resume=True, **arguments)
    with pytest.raises(ValueError, match="needs the folder"):
        pdanet_tf.evaluate(model, dataset, resume=True)


def test_predictions_of_other_images_are_not_resumed(model, dataset, folder, tmp_path):
    store = tmp_path / "predicted"
    arguments = {"protocol": Protocol((16,)), "progress": False, "predictions": store}
    pdanet_tf.evaluate(model, dataset, **arguments)
    arguments["resume"] = True
    pixels = folder / "images" / "validation" / "scene_2.png"
    former = pixels.read_bytes()
    Image.new("RGB", (90, 8), (9, 90, 200)).save(pixels)  # of the same size
    with pytest.raises(DataError, match=r"scene_2\.png: .* of another one of that name and size"):
        pdanet_tf.evaluate(model, dataset, **arguments)
    pixels.write_bytes(former)
    pdanet_tf.evaluate(model, dataset, **arguments)
    for kind in ("images", "annotations"):
        path = folder / kind / "validation" / "scene_3.png"
        with Image.open(path) as file:
            file.resize((24, 25), Image.Resampling.NEAREST).save(path)
    with pytest.raises(ValueError, match="evaluation: their sizes of the images differ") as raised:
        pdanet_tf.evaluate(model, dataset, **arguments)
    assert "names" not in str(raised.value)
    for kind in ("images", "annotations"):
        (folder / kind / "validation" / "scene_0.png").unlink()
    fewer = load_dataset("folder", "validation", folder, num_classes=CLASSES, label_offset=1)
    with pytest.raises(ValueError, match="number of images is 4, not 3; their names of the images"):
        pdanet_tf.evaluate(model, fewer, **arguments)
    (store / "origin.json").unlink()
    with pytest.raises(ValueError, match=r"holds files, but no origin\.json"):
        pdanet_tf.evaluate(model, fewer, **arguments)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([255], "no pixel of any annotation has a class"),
        ([0, 255], "all annotations contain only 0 and 255"),
        ([1], None),  # one class only, which may be scored
    ],
)
def test_labels_that_no_score_can_be_of(model, folder, tmp_path, values, message):
    for path in (folder / "annotations" / "validation").iterdir():
        with Image.open(path) as file:
            size = file.size
        Image.fromarray(np.resize(np.array(values, "uint8"), size[::-1])).save(path)
    dataset = load_dataset("folder", "validation", folder, num_classes=CLASSES)

    def score():
        return pdanet_tf.evaluate(model, dataset, Protocol((16,)), progress=False)

    if message is None:
        assert score().scores.pixels.tolist() == [0, 25 * 25 + 31 * 47 + 64 * 40 + 8 * 90, 0, 0]
        return
    with pytest.raises(DataError, match=message):
        score()
    with pytest.raises(DataError, match=message):  # before it asks for a prediction
        evaluate_predictions(tmp_path / "nowhere", dataset, progress=False)


def test_the_command_line_knows_the_protocol(model, folder, tmp_path, capsys):
    model.save(tmp_path / "model.keras")
    data = ["--dataset", "folder", "--data-dir", str(folder), "--num-classes", str(CLASSES)]
    data += ["--label-offset", "1"]
    command = ["evaluate", "--model", str(tmp_path / "model.keras"), *data]
    command += ["--short-edges", "24", "40", "--max-size", "64", "--flip"]
    command += ["--crop-size", "24", "24", "--stride", "8", "16"]
    command += ["--json", str(tmp_path / "scores.json"), "--chart", str(tmp_path / "iou.png")]
    command += ["--save-predictions", str(tmp_path / "predicted")]
    assert cli.main(command) == 0
    dataset = load_dataset("folder", "validation", folder, num_classes=CLASSES, label_offset=1)
    expected = pdanet_tf.evaluate(model, dataset, PROTOCOLS["everything"], progress=False)
    assert json.loads((tmp_path / "scores.json").read_text()) == expected.to_dict()
    with Image.open(tmp_path / "iou.png") as chart:
        assert chart.format == "PNG"
    assert cli.main(command) == 1
    assert "already holds files" in capsys.readouterr().err
    assert cli.main([*command, "--resume", "--precision", "mixed_bfloat16"]) == 1
    assert "their precision is 'float32'" in capsys.readouterr().err
    assert cli.main([*command, "--resume"]) == 0
    stored = ["evaluate", "--predictions", str(tmp_path / "predicted"), *data]
    assert cli.main([*stored, "--flip"]) == 1
    assert "require --model" in capsys.readouterr().err
    assert cli.main(stored) == 0


def test_the_whole_protocol_is_kept_beside_a_model(tmp_path):
    protocol = PROTOCOLS["everything"]
    classes = pdanet_tf.data.Classes.numbered(3)
    InferenceSettings(classes, protocol).save(tmp_path)
    assert InferenceSettings.load_for(tmp_path / "model.keras").protocol == protocol


@pytest.mark.slow
def test_an_exported_model_flips_and_refuses_windows(model, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype("uint8")
    protocol = Protocol((24,), flip=True)
    folder = pdanet_tf.export_saved_model(model, tmp_path / "1", protocol)
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    encoded = tf.io.encode_png(image)[None]
    found = tf.io.decode_png(serve(image_bytes=encoded)["label_map_bytes"][0])[..., 0]
    expected = Predictor(model, protocol).label_map(image)
    assert np.mean(found.numpy() == expected) > 0.999
    with pytest.raises(ValueError, match=r"crop_size=\(24, 24\)"):
        pdanet_tf.export_saved_model(model, tmp_path / "2", PROTOCOLS["everything"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_size": (20, 24)}, "multiples of 8"),
        ({"crop_size": (0, 24)}, "multiples of 8"),
        ({"stride": (8, 8)}, "stride requires crop_size"),
        ({"crop_size": (16, 16), "stride": (0, 8)}, "leave no gap"),
        ({"crop_size": (16, 16), "stride": (8, 24)}, "leave no gap"),
    ],
)
def test_protocols_that_are_none(arguments, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**arguments)
