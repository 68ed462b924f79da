"""What the signatures of an exported model return. The network is an average of 8 x 8 pixels."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pdanet_tf.base.pixel_format import RGB, PixelFormat
from pdanet_tf.exporting import signatures
from pdanet_tf.exporting.label_maps import Segmenter
from pdanet_tf.exporting.signatures import make_signatures
from pdanet_tf.inference.protocol import Protocol


def make_functions(groups=None, pixel_format=RGB, num_classes=3, **options):
    """Returns the signatures as functions. The size of each group is appended to `groups`."""

    def note(shape):
        groups.append(shape.tolist())
        return np.int32(0)

    def compute_logits(images):
        if groups is not None:
            done = tf.numpy_function(note, [tf.shape(images)], tf.int32)
            with tf.control_dependencies([done]):
                images = tf.identity(images)
        logits = tf.nn.avg_pool2d(images, 8, 8, "SAME") / 20.0
        return tf.tile(logits, (1, 1, 1, num_classes))[..., :num_classes]

    protocol = Protocol((64,), 128, flip=options.pop("flip", False))
    segmenter = Segmenter(compute_logits, None, protocol, True, num_classes)
    made = make_signatures(
        segmenter, pixel_format, **({"max_pixels": 2**20, "strict": False} | options)
    )
    return {
        name: tf.function(each.function, input_signature=each.inputs) for name, each in made.items()
    }


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def draw(height, width, left, right):
    """An image of two colours: the left quarter has channel `left`, the rest channel `right`."""
    pixels = np.zeros((height, width, 3), "uint8")
    pixels[:, : width // 4, left] = 255
    pixels[:, width // 4 :, right] = 255
    return pixels


def read(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


def test_one_bad_image_costs_only_itself():
    groups = []
    serve = make_functions(groups)["serving_default"]
    small, large = draw(64, 128, 2, 0), draw(128, 64, 1, 2)
    files = [png(small), b"text", png(large), png(small)[:-30], png(small), png(large)]
    answer = {name: each.numpy() for name, each in serve(tf.constant(files)).items()}
    assert answer["error"].tolist() == [
        b"",
        b"not an image; expected the content of a JPEG, PNG, GIF or BMP file",
        b"",
        b"a truncated or damaged PNG file",
        b"",
        b"",
    ]
    assert answer["height"].tolist() == [64, 0, 128, 0, 64, 128]
    assert answer["width"].tolist() == [128, 0, 64, 0, 128, 64]
    none = [-1, -1, -1]
    assert answer["class_ids"].tolist() == [
        [0, 2, -1],
        none,
        [2, 1, -1],
        none,
        [0, 2, -1],
        [2, 1, -1],
    ]
    np.testing.assert_allclose(answer["class_fractions"][[0, 2]], [[0.75, 0.25, 0]] * 2, atol=0.02)
    assert not answer["class_fractions"][[1, 3]].any()
    assert not answer["label_map_bytes"][1]
    assert not answer["label_map_bytes"][3]
    for index, expected in ((0, small), (2, large), (4, small), (5, large)):
        label_map = read(answer["label_map_bytes"][index])
        assert label_map.shape == expected.shape[:2]
        assert np.mean(label_map == expected.argmax(-1)) > 0.95
    # Images of one size are computed together, the damaged one is not computed.
    assert groups == [[2, 64, 128, 3], [2, 128, 64, 3]]


def test_groups_are_bounded(monkeypatch):
    monkeypatch.setattr(signatures, "PIXELS_PER_GROUP", 3 * 64 * 128)
    groups = []
    functions = make_functions(groups)
    pixels = draw(64, 128, 2, 0)
    found = functions["serving_default"](tf.constant([png(pixels)] * 7))
    assert [shape[0] for shape in groups] == [3, 3, 1]
    assert len({*found["label_map_bytes"].numpy()}) == 1
    groups.clear()
    labels = functions["image"](np.stack([pixels] * 4))["labels"]
    assert [shape[0] for shape in groups] == [3, 1]
    assert labels.shape == (4, 64, 128)


def test_strict_raises_the_index_and_the_reason():
    serve = make_functions(strict=True)["serving_default"]
    file = png(draw(8, 16, 0, 1))
    assert read(serve(tf.constant([file]))["label_map_bytes"].numpy()[0]).shape == (8, 16)
    for bad, message in ((b"", "image 1: the file is empty"), (file[:-20], "image 1: a trunc")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            serve(tf.constant([file, bad]))


def test_the_limit_of_pixels():
    serve = make_functions(max_pixels=128)["serving_default"]
    errors = serve(tf.constant([png(draw(8, 16, 0, 1)), png(draw(8, 17, 0, 1))]))["error"].numpy()
    assert errors.tolist() == [
        b"",
        b"8 x 17 pixels (height x width): expected at most 128 pixels; shrink the image",
    ]


@pytest.mark.parametrize("flip", [False, True])
def test_arrays_are_labelled_with_confidence(flip):
    functions = make_functions(flip=flip)
    images = np.stack([draw(40, 72, 2, 0), draw(40, 72, 0, 1)])
    found = {name: each.numpy() for name, each in functions["image"](images).items()}
    probabilities = functions["probabilities"](images)["probabilities"].numpy()
    assert probabilities.shape == (2, 40, 72, 3)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    assert {each.dtype.name for each in found.values()} == {"uint8"}
    np.testing.assert_array_equal(found["labels"], probabilities.argmax(-1))
    np.testing.assert_array_equal(found["confidence"], np.round(255 * probabilities.max(-1)))
    assert np.mean(found["labels"] == images.argmax(-1)) > 0.9
    encoded = functions["serving_default"](tf.constant([png(each) for each in images]))
    maps = np.stack([read(each) for each in encoded["label_map_bytes"].numpy()])
    np.testing.assert_array_equal(maps, found["labels"])


def test_empty_batches_and_empty_images():
    functions = make_functions()
    assert functions["image"](np.zeros((0, 40, 72, 3), "uint8"))["labels"].shape == (0, 40, 72)
    answer = functions["serving_default"](tf.constant([], tf.string))
    assert {tuple(each.shape) for each in answer.values()} == {(0,), (0, 3)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 1 x 1 pixel"):
        functions["image"](np.zeros((2, 0, 72, 3), "uint8"))


def test_more_than_256_classes_and_other_channels():
    functions = make_functions(pixel_format=PixelFormat(4, "uint16"), num_classes=300)
    images = np.random.default_rng(0).integers(0, 2000, (2, 16, 24, 4)).astype("uint16")
    labels = functions["image"](images)["labels"]
    assert labels.dtype == tf.uint16
    arrays = functions["serving_default"](images.astype("float32"))["label_maps"]
    assert arrays.dtype == tf.int32
    np.testing.assert_array_equal(arrays, labels)
