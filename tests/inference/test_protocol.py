"""The protocol, compared with a twin in plain NumPy on images of odd sizes."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf.data import DataError
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from tests.support.protocols import (  # noqa: F401 (three are fixtures)
    CLASSES,
    PROTOCOLS,
    dataset_of_odd_sizes,
    decisive_model,
    images_of_odd_sizes,
)


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


def test_the_whole_protocol_is_kept_beside_a_model(tmp_path):
    protocol = PROTOCOLS["everything"]
    classes = pdanet_tf.data.Classes.numbered(3)
    InferenceSettings(classes, protocol).save(tmp_path)
    assert InferenceSettings.load_for(tmp_path / "model.keras").protocol == protocol


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"short_edges": ()}, r"from 1 to 65,535 pixels. Received: short_edges=\(\)"),
        ({"short_edges": (0,)}, r"from 1 to 65,535 pixels. Received: short_edges=\(0,\)"),
        ({"short_edges": (450, 2**40), "max_size": 1000}, r"short_edges=\(450, 1099511627776\)"),
        ({"max_size": 0}, "max_size=0"),
        ({"max_size": 65_536}, "from 1 to 65,535 pixels.*max_size=65536"),
        ({"crop_size": (2**40, 8)}, r"up to 65,535 pixels.*crop_size=\(1099511627776, 8\)"),
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


def test_settings_cannot_ask_for_any_amount_of_memory(tmp_path, monkeypatch):
    settings = InferenceSettings(pdanet_tf.data.Classes.numbered(3), Protocol())
    settings.save(tmp_path)
    path = tmp_path / "inference.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "short_edges": [2**40], "max_size": 2**50}))
    with pytest.raises(ValueError, match=r"inference\.json: .*from 1 to 65,535 pixels"):
        InferenceSettings.load_for(tmp_path / "model.keras")
    # The largest ones are accepted, and refused for an image that would become too large.
    protocol = Protocol(short_edges=(65_535, 8), max_size=65_535)
    assert protocol.sizes((1, 30_000)) == [(8, 65_536), (8, 65_536)]
    with pytest.raises(
        DataError, match=r"3 x 4 pixels .* to 3,221,\d{3},\d{3} pixels.* limit of 178,956,970"
    ):
        protocol.sizes((3, 4))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert protocol.sizes((3, 4)) == [(49152, 65536), (8, 16)]
