"""Colours of classes, overlays with their legends, and palette images."""

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.data import Classes, load_dataset, read_label
from pdanet_tf.data.palette import bright_colors, parse_color
from pdanet_tf.inference.overlay import draw_overlay
from pdanet_tf.inference.prediction import Prediction

# Linear RGB as protanopes and deuteranopes see it (Vienot, Brettel and Mollon 1999).
VIENOT = (
    np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
)


def linear(colors):
    return (np.array(colors) / 255) ** 2.2


def smallest_distance(colors):
    """Between any two, in RGB from 0 to 255."""
    colors = 255 * np.clip(colors, 0, 1) ** (1 / 2.2)
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    return distances[~np.eye(len(colors), dtype=bool)].min()


@pytest.mark.parametrize(("count", "apart", "for_the_blind"), [(8, 60, 30), (20, 60, 20)])
def test_default_colors_are_bright_and_far_apart(count, apart, for_the_blind):
    colors = linear(Classes.numbered(count).colors)
    assert colors.max(-1).min() > 0.15  # none is dark
    assert smallest_distance(colors) > apart
    for matrix in VIENOT:
        assert smallest_distance(colors @ matrix.T) > for_the_blind


def test_hundreds_of_classes_have_colors_of_their_own():
    many = bright_colors(300)
    assert len(set(many)) == 300
    assert bright_colors(5) == many[:5]
    assert bright_colors(40) == many[:40]
    assert many[:8] == bright_colors(8)


@pytest.mark.parametrize("value", ["#FF8000", "#ff8000", "255,128,0", "255, 128, 0", (255, 128, 0)])
def test_colors_from_text(value):
    assert parse_color(value) == (255, 128, 0)


@pytest.mark.parametrize(
    "value",
    [
        "red",
        "#ff80",
        "#ff80zz",
        "256,0,0",
        "1,2",
        "-1,0,0",
        "",
        (1, 2),
        (1, 2, 256),
        (0.5, 1, 1),
        7,
    ],
)
def test_what_is_no_color(value):
    with pytest.raises(ValueError, match="#RRGGBB"):
        parse_color(value)


def test_colors_of_a_folder(make_folder):
    colors = ("#ff0000", "0,255,0", (0, 0, 255))
    dataset = load_dataset("folder", "train", make_folder(), num_classes=3, class_colors=colors)
    assert dataset.classes.colors == ((255, 0, 0), (0, 255, 0), (0, 0, 255))


@pytest.mark.parametrize("name", ["background", "Background", "__background__", "void", "OTHER"])
def test_background_and_labels_that_are_no_class_are_not_painted(name):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype("uint8")
    label_map = np.zeros((40, 50), "int32")
    label_map[:10], label_map[10:20], label_map[20:25] = 1, 255, -1
    classes = Classes((name, "road"), ((200, 0, 0), (0, 0, 200)))
    sheet = np.asarray(draw_overlay(image, label_map, classes))
    np.testing.assert_array_equal(sheet[10:40, :50], image[10:])
    expected = 0.45 * image[:10].astype(float) + 0.55 * np.array((0, 0, 200))
    np.testing.assert_allclose(sheet[:10, :50], expected, atol=1)
    # The legend shows what stands for the class: its colour, or none.
    assert (sheet[:, 50:] == (0, 0, 200)).all(-1).any()
    assert not (sheet[:, 50:] == (200, 0, 0)).all(-1).any()


def ink(overlay, image_width):
    """Where the legend is neither white nor a colour: its letters and frames."""
    return (np.asarray(overlay)[:, image_width:].max(-1) < 80).nonzero()


@pytest.mark.parametrize("size", [(96, 128), (1500, 2000)])
@pytest.mark.parametrize("count", [1, 3, 150])
def test_the_legend_fits_whatever_there_is(size, count):
    image = np.zeros((*size, 3), "uint8")
    label_map = np.arange(size[0] * size[1]).reshape(size) % count
    names = [
        f"{index} of a class whose name is far too long to be drawn whole" for index in range(count)
    ]
    overlay = draw_overlay(image, label_map, Classes.named(names))
    assert overlay.height < size[0] + 200
    rows, columns = ink(overlay, size[1])
    legend = (overlay.height, overlay.width - size[1])
    assert legend[1] < max(3 * 460, 1.5 * size[1])
    # Nothing touches the edges.
    assert rows.min() > 0
    assert rows.max() < legend[0] - 1
    assert columns.min() > 0
    assert columns.max() < legend[1] - 1


def test_an_overlay_without_any_class():
    image = np.full((8, 8, 3), 90, "uint8")
    overlay = draw_overlay(image, np.full((8, 8), 255), Classes.numbered(2))
    np.testing.assert_array_equal(np.asarray(overlay)[:8, :8], image)


@pytest.mark.parametrize("count", [2, 16, 17, 256])
def test_palette_images_keep_the_classes_numbers(count, tmp_path):
    label_map = (np.arange(20 * 30).reshape(20, 30) % count).astype("int32")
    prediction = Prediction(label_map, np.zeros((20, 30, 3), "uint8"), Classes.numbered(count))
    prediction.palette_image.save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_label(tmp_path / "labels.png"), label_map)
    with Image.open(tmp_path / "labels.png") as stored:
        assert stored.mode == "P"
        shown = np.asarray(stored.convert("RGB"))
    np.testing.assert_array_equal(shown, np.array(prediction.classes.colors)[label_map])


def test_a_palette_has_room_for_256_classes():
    image = np.zeros((2, 2, 3), "uint8")
    prediction = Prediction(np.zeros((2, 2), "int32"), image, Classes.numbered(257))
    with pytest.raises(ValueError, match="257 classes"):
        _ = prediction.palette_image
