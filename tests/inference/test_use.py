"""Inference as a user runs it, in Python and on the command line."""

import os
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.data import Classes, DataError
from pdanet_tf.inference.overlay import colorize, draw_overlay
from pdanet_tf.inference.pixels import ImageLike
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.models import with_dtype_policy
from tests.support.images import random_image


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return pdanet_tf.build_model("fcn_resnet18", num_classes=3)


def test_protocol_sizes():
    assert Protocol().sizes((33, 47)) == [(40, 48)]
    assert Protocol((450,)).sizes((512, 739)) == [(456, 656)]
    # The long edge would be 1299: 600 / 1299 of it is left.
    assert Protocol((450,), 600).sizes((512, 739)) == [(416, 600)]
    assert Protocol((300, 375)).sizes((600, 300)) == [(600, 304), (752, 376)]
    assert Protocol().sizes((2, 3)) == [(8, 8)]
    for bad in ({"short_edges": ()}, {"short_edges": (0,)}, {"max_size": 0}):
        with pytest.raises(ValueError, match="from 1 to 65,535 pixels"):
            Protocol(**bad)


def test_probabilities_are_averaged_over_scales_at_the_size_of_the_label(model):
    image, size = random_image(37, 53), (45, 61)
    coarse = keras.Model(model.input, model.get_layer("classifier").output)
    expected = []
    for edge, working in ((40, (40, 64)), (64, (64, 96))):
        assert Protocol((edge,)).sizes((37, 53)) == [working]
        resized = np.asarray(Image.fromarray(image).resize(working[::-1], Image.BILINEAR))
        logits = tf.image.resize(coarse(resized[None].astype("float32")), size)
        expected.append(tf.nn.softmax(logits)[0])
    found = Predictor(model, Protocol((40, 64))).probabilities(image, size)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-4)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_predict_a_photo(model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(random_image(40, 60)).save(tmp_path / "photo.jpg", exif=exif)
    prediction = pdanet_tf.predict(tmp_path / "photo.jpg", model)
    assert prediction.label_map.shape == (60, 40)
    assert prediction.image.shape == (60, 40, 3)
    assert prediction.overlay.height >= 60
    assert prediction.overlay.width > 40
    areas = prediction.areas()
    assert sum(areas.values()) == pytest.approx(1)
    assert list(areas.values()) == sorted(areas.values(), reverse=True)
    np.testing.assert_array_equal(prediction.label_image, prediction.label_map)
    turned = pdanet_tf.predict(prediction.image, model)
    np.testing.assert_array_equal(turned.label_map, prediction.label_map)


def test_a_predictor_takes_files_images_arrays_and_several(model, tmp_path):
    array = random_image(40, 56)
    Image.fromarray(array).save(tmp_path / "photo.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(array[::-1, ::-1]).save(tmp_path / "turned.png", exif=exif)
    predictor = pdanet_tf.Predictor(model, classes=Classes.named(("cat", "dog", "rest")))
    expected = predictor.label_map(array)
    files = tmp_path / "photo.png", tmp_path / "turned.png"
    with Image.open(files[0]) as opened, Image.open(files[1]) as turned:
        several = [files[0], str(files[1]), opened, turned, array]
        for prediction in predictor.predict(several):
            np.testing.assert_array_equal(prediction.label_map, expected)
            np.testing.assert_array_equal(prediction.image, array)
            assert prediction.classes.names == ("cat", "dog", "rest")
    assert len(predictor.predict(np.stack([array, array]))) == 2
    assert predictor.predict(Image.fromarray(array).convert("L")).label_map.shape == (40, 56)
    with pytest.raises(ValueError, match="dtype=float64"):
        predictor.predict([array, array / 255])
    with pytest.raises(ValueError, match="3 classes"):
        pdanet_tf.Predictor(model, classes=Classes.numbered(2))


def test_the_static_type_of_a_prediction():
    """An array may be one image or a batch, so its type is both."""
    hints = [typing.get_type_hints(each) for each in typing.get_overloads(Predictor.predict)]
    returned = {hint["images"]: hint["return"] for hint in hints}
    one, several = Prediction, list[Prediction]
    assert returned == {
        str | os.PathLike[str] | Image.Image: one,
        np.ndarray: one | several,
        list[ImageLike] | tuple[ImageLike, ...]: several,
    }


def test_predict_keeps_models_until_their_files_change(model, tmp_path, monkeypatch):
    loads = []

    def load(source, weights):
        if source is not model:
            loads.append(Path(weights or source).name)
        return model, None

    monkeypatch.setattr("pdanet_tf.inference.kept_models.load_model", load)
    monkeypatch.setattr("pdanet_tf.inference.predictor.load_model", load)
    for name in ("a.keras", "b.keras"):
        (tmp_path / name).write_text("a model")
    for _ in range(3):
        for name in ("a.keras", "b.keras"):
            pdanet_tf.predict(random_image(8, 8), tmp_path / name, protocol=Protocol([16]))
    assert loads == ["a.keras", "b.keras"]
    (tmp_path / "a.keras").write_text("another model")
    pdanet_tf.predict(random_image(8, 8), tmp_path / "a.keras")
    assert loads == ["a.keras", "b.keras", "a.keras"]
    for _ in range(2):
        pdanet_tf.predict(random_image(8, 8), "fcn_resnet18", weights=tmp_path / "b.keras")
    assert loads == ["a.keras", "b.keras", "a.keras", "b.keras"]


def test_threads_share_a_predictor(model):
    images = [random_image(16 + 8 * index, 24) for index in range(4)]
    predictor = pdanet_tf.Predictor(model)
    expected = list(map(pdanet_tf.Predictor(model).label_map, images))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(predictor.label_map, images))
    for alone, among_others in zip(expected, found, strict=True):
        np.testing.assert_array_equal(among_others, alone)


@pytest.fixture
def stored(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return str(tmp_path / "model.keras")


def test_the_command_predicts_what_it_can(stored, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "acd":
        Image.fromarray(random_image(24, 32)).save(photos / f"{name}.png")
    (photos / "b.png").write_bytes((photos / "a.png").read_bytes()[:200])
    (photos / "notes.txt").write_text("no image")
    output = tmp_path / "out"
    options = ["--model", stored, "--output", str(output)]
    assert cli.main(["predict", str(photos), str(photos / "[cd].png"), *options]) == 1
    printed = capsys.readouterr()
    assert [line.partition(":")[0] for line in printed.out.splitlines()[:-1]] == [
        str(photos / f"{name}.png") for name in "acd"
    ]
    assert f"{photos}/b.png" in printed.err
    assert "not segmented: 1 of 4" in printed.err
    assert sorted(path.name for path in output.glob("*_labels.png")) == [
        f"{name}_labels.png" for name in "acd"
    ]
    for nothing in (str(photos / "*.jpg"), str(tmp_path / "empty")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert cli.main(["predict", nothing, *options]) == 1
        assert nothing in capsys.readouterr().err


def test_the_command_never_replaces_what_it_did_not_make(stored, tmp_path, capsys):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Image.fromarray(random_image(24, 32)).save(tmp_path / folder / "a.png")
    first, second = (str(tmp_path / folder / "a.png") for folder in ("one", "two"))
    predict = ["predict", "--model", stored, "--output", str(tmp_path / "one")]
    assert cli.main([*predict, first]) == 0
    assert cli.main([*predict, first]) == 0  # an earlier result of the same image
    result = (tmp_path / "one" / "a_labels.png").read_bytes()
    assert cli.main([*predict, second]) == 1
    assert "a_labels.png: this file exists" in capsys.readouterr().err
    assert (tmp_path / "one" / "a_labels.png").read_bytes() == result
    # The result of an image is another image of the call.
    assert cli.main([*predict, first, str(tmp_path / "one" / "a_labels.png")]) == 1
    assert "would replace this image" in capsys.readouterr().err
    # Results of earlier calls are no images of their folder.
    assert cli.main([*predict, str(tmp_path / "one")]) == 0
    assert len(list((tmp_path / "one").iterdir())) == 4  # and the manifest
    # A file that somebody else made.
    Image.fromarray(random_image(24, 32)).save(tmp_path / "two" / "a_overlay.png")
    mine = (tmp_path / "two" / "a_overlay.png").read_bytes()
    assert cli.main([*predict[:-1], str(tmp_path / "two"), second]) == 1
    assert (tmp_path / "two" / "a_overlay.png").read_bytes() == mine
    assert not (tmp_path / "two" / "a_labels.png").exists()


def test_settings_beside_a_model_file_are_used(model, tmp_path):
    model.save(tmp_path / "model.keras")
    settings = InferenceSettings(Classes.named(("cat", "dog", "rest")), Protocol((32, 48), 300))
    settings.save(tmp_path)
    assert InferenceSettings.load_for(tmp_path / "model.keras") == settings
    found = pdanet_tf.predict(random_image(40, 56), tmp_path / "model.keras")
    assert set(found.areas()) <= {"cat", "dog", "rest"}
    wanted = pdanet_tf.predict(random_image(40, 56), model, protocol=Protocol((32, 48), 300))
    np.testing.assert_array_equal(found.label_map, wanted.label_map)


def test_strips_join_without_a_seam(model, monkeypatch):
    image, size = random_image(37, 53), (45, 61)
    whole = Predictor(model).probabilities(image, size)
    monkeypatch.setattr("pdanet_tf.inference.predictor.VALUES_PER_STRIP", 61 * 3 * 7)
    np.testing.assert_allclose(Predictor(model).probabilities(image, size), whole, atol=1e-6)
    np.testing.assert_array_equal(Predictor(model).label_map(image, size), whole.argmax(-1))


def test_settings_of_another_number_of_classes(model, tmp_path):
    model.save(tmp_path / "model.keras")
    InferenceSettings(Classes.numbered(2), Protocol()).save(tmp_path)
    message = r"inference\.json: expected the 3 classes of model\.keras, found 2"
    for use in (pdanet_tf.Predictor, lambda path: pdanet_tf.predict(random_image(8, 8), path)):
        with pytest.raises(ValueError, match=message):
            use(tmp_path / "model.keras")


def test_a_model_of_normalised_images_is_refused():
    bare = pdanet_tf.build_model("fcn_resnet18", num_classes=3, include_preprocessing=False)
    with pytest.raises(ValueError, match="include_preprocessing=True"):
        pdanet_tf.predict(random_image(8, 8), bare)


def test_one_class_is_a_model_too(recwarn):
    one = pdanet_tf.build_model("fcn_resnet18", num_classes=1)
    assert not pdanet_tf.predict(random_image(8, 9), one).label_map.any()
    assert not [warning for warning in recwarn if warning.category is UserWarning]


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (1, 8, 8, 3)])
def test_an_array_that_is_no_image(model, shape):
    with pytest.raises(ValueError, match=r"\(height, width, 3\)"):
        pdanet_tf.predict(np.zeros(shape, "uint8"), model)


def test_bad_predictions(model, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jpg"):
        pdanet_tf.predict(tmp_path / "nowhere.jpg", model)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.keras"):
        pdanet_tf.predict(random_image(8, 8), tmp_path / "nowhere.keras")
    with pytest.raises(ValueError, match="3 classes"):
        pdanet_tf.predict(random_image(8, 8), model, classes=Classes.numbered(4))
    with pytest.raises(ValueError, match="dtype=float32"):
        pdanet_tf.predict(np.zeros((8, 8, 3), "float32"), model)


def conv_model(*inputs, classes=4):
    features = inputs[0] if len(inputs) == 1 else keras.layers.Add()(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(classes, 3, padding="same")(features))


@pytest.mark.parametrize(
    ("build", "received"),
    [
        (
            lambda image: keras.Model(image, {"out": conv_model(image)(image)}),
            r"to a dict of 'out' \(None, None, None, 4\)$",
        ),
        (
            lambda image: keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)),
            r"from \(None, None, None, 3\) to \(None, 3\)$",
        ),
        (
            lambda image: keras.Model(image, [conv_model(image)(image)]),
            r"to a list of \(None, None, None, 4\)$",
        ),
        (
            lambda _: keras.Sequential([keras.Input((None, None, None)), keras.layers.ReLU()]),
            r"from \(None, None, None, None\) to",
        ),
        (
            lambda _: keras.Sequential([keras.Input((7,)), keras.layers.Dense(3)]),
            r"from \(None, 7\) to",
        ),
        (
            lambda image: conv_model(image, keras.Input((None, None, 3))),
            r"from \(None, None, None, 3\) and \(None, None, None, 3\) to",
        ),
        (lambda _: keras.Sequential([keras.layers.Conv2D(3, 1)]), "a Sequential whose inputs"),
    ],
)
def test_sound_models_that_do_not_segment(build, received, tmp_path):
    model = build(keras.Input((None, None, 3)))
    for use in (
        pdanet_tf.Predictor,
        lambda each: pdanet_tf.export_saved_model(each, tmp_path / "1"),
    ):
        with pytest.raises(ValueError, match=f"^'{model.name}': expected a .*{received}"):
            use(model)
    if model.built:
        model.save(tmp_path / "foreign.keras")
        with pytest.raises(ValueError, match=rf"foreign\.keras: expected a .*{received}"):
            pdanet_tf.predict(random_image(8, 8), tmp_path / "foreign.keras")


def test_a_sequential_model_segments(tmp_path):
    conv = keras.layers.Conv2D(4, 3, padding="same")
    model = keras.Sequential([keras.Input((None, None, 3)), conv])
    model.save(tmp_path / "sequential.keras")
    image = random_image(16, 24)
    expected = np.argmax(model(image[None].astype("float32"))[0], axis=-1)
    prediction = pdanet_tf.predict(image, tmp_path / "sequential.keras")
    np.testing.assert_array_equal(prediction.label_map, expected)
    assert pdanet_tf.export_saved_model(model, tmp_path / "1").is_dir()
    half = with_dtype_policy(model, "mixed_bfloat16")
    assert pdanet_tf.predict(image, half).label_map.shape == (16, 24)


def test_legend_names_the_largest_class_first():
    label_map = np.zeros((64, 64), "int32")
    label_map[:16] = 1
    label_map[0, 0] = 255  # unlabelled
    classes = Classes(("sky", "sea"), ((255, 0, 0), (0, 0, 255)))
    sheet = np.asarray(draw_overlay(np.zeros((64, 64, 3), "uint8"), label_map, classes))
    legend = sheet[:, 64:]
    red, blue = (np.argwhere((legend == color).all(-1)) for color in classes.colors)
    assert red[:, 0].mean() < blue[:, 0].mean()
    assert colorize(label_map, classes)[0, 0].tolist() == [0, 0, 0]
    assert (sheet[40, 10] > 0).tolist() == [True, False, False]


def test_colors_on_the_command_line(model, tmp_path):
    model.save(tmp_path / "model.keras")
    Image.fromarray(random_image(40, 56)).save(tmp_path / "photo.png")
    command = ["predict", str(tmp_path / "photo.png"), "--model", str(tmp_path / "model.keras")]
    command += ["--palette", "--output", str(tmp_path / "found"), "--class-colors"]
    assert cli.main([*command, "#ff0000", "0,255,0"]) == 1
    assert not (tmp_path / "found").exists()
    assert cli.main([*command, "#ff0000", "0,255,0", "0,0,255"]) == 0
    with Image.open(tmp_path / "found" / "photo_labels.png") as labels:
        assert labels.mode == "P"
        assert labels.getpalette()[:9] == [255, 0, 0, 0, 255, 0, 0, 0, 255]
        found = np.asarray(labels)
    np.testing.assert_array_equal(found, pdanet_tf.predict(random_image(40, 56), model).label_map)


def test_the_precision_is_chosen_by_the_user(model, tmp_path):
    model.save(tmp_path / "model.keras")
    Image.fromarray(random_image(40, 56)).save(tmp_path / "photo.png")
    stored = ["--model", str(tmp_path / "model.keras"), "--precision", "bfloat16"]
    output = ["--output", str(tmp_path / "predictions")]
    assert cli.main(["predict", str(tmp_path / "photo.png"), *stored, *output]) == 0
    assert cli.main(["export", *stored, "--output", str(tmp_path / "served")]) == 0
    half = pdanet_tf.predict(tmp_path / "photo.png", with_dtype_policy(model, "bfloat16"))
    found = Image.open(tmp_path / "predictions" / "photo_labels.png")
    np.testing.assert_array_equal(found, half.label_map)
    assert np.any(half.label_map != pdanet_tf.predict(tmp_path / "photo.png", model).label_map)
    signature = tf.saved_model.load(str(tmp_path / "served" / "1")).signatures["serving_default"]
    answer = signature(image_bytes=tf.constant([(tmp_path / "photo.png").read_bytes()]))
    served = tf.io.decode_png(answer["label_map_bytes"][0])[..., 0]
    assert (served == half.label_map).numpy().mean() > 0.97
