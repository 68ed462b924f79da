"""The mistakes that docs/mistakes.md describes, made one by one: each message is the page's."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf.cli import commands, main
from tests.support.folders import write_folder
from tests.support.pages import ROOT, check_output

PAGE = (ROOT / "docs" / "mistakes.md").read_text("utf-8")
SECTIONS = {
    title: re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for title, text in re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
}
FOLDER = ("--dataset", "folder", "--data-dir", "data")
TRAIN = ("train", *FOLDER, "--model", "fcn_resnet18_quarter", "--crop-size", "48", "48")
MISTAKES = {}


def mistake(title):
    """Registers a function that makes a mistake; it returns the arguments of a command, if any."""

    def register(function):
        MISTAKES[title] = function
        return function

    return register


def annotations():
    return sorted(Path("data/annotations").rglob("*.png"))


def change_annotations(change):
    """Replaces the values of all annotations by what a function returns for them."""
    for path in annotations():
        with Image.open(path) as image:
            values = np.asarray(image)
        Image.fromarray(change(values)).save(path)


@mistake("The images lie directly in `images`")
def flat():
    for kind in ("images", "annotations"):
        for path in Path("data", kind, "train").iterdir():
            path.rename(Path("data", kind, path.name))
        for path in (*Path("data", kind, "validation").iterdir(), Path("data", kind, "validation")):
            path.rmdir() if path.is_dir() else path.unlink()
        Path("data", kind, "train").rmdir()
    return (*TRAIN, "--num-classes", "3")


@mistake("The folder of annotations has another name")
def masks_folder():
    Path("data/annotations").rename("data/masks")
    return (*TRAIN, "--num-classes", "3")


@mistake("There is no validation split")
def no_validation():
    for kind in ("images", "annotations"):
        Path("data", kind, "validation").rename(Path("data", kind, "rest"))
    return (*TRAIN, "--num-classes", "3")


@mistake("The annotations have other names")
def other_names():
    for path in annotations():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    return (*TRAIN, "--num-classes", "3")


@mistake("An annotation is missing")
def missing_annotation():
    annotations()[0].unlink()
    return (*TRAIN, "--num-classes", "3")


@mistake("The annotations are JPEG files")
def jpeg():
    for path in annotations():
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"))
        path.unlink()
    return (*TRAIN, "--num-classes", "3")


@mistake("The masks are black and white")
def black_and_white():
    change_annotations(lambda values: (values > 0).astype("uint8") * 255)
    return (*TRAIN, "--num-classes", "2")


@mistake("The masks are coloured")
def coloured():
    change_annotations(lambda values: np.stack([values * 100] * 3, -1))
    return (*TRAIN, "--num-classes", "3")


@mistake("The classes begin at 1, or there are more")
def from_one():
    change_annotations(lambda values: values + 1)
    return (*TRAIN, "--num-classes", "3")


@mistake("An image and its annotation differ in size")
def sizes():
    path = annotations()[0]
    with Image.open(path) as image:
        image.resize((40, 24)).save(path)
    return (*TRAIN, "--num-classes", "3")


@mistake("The number of classes is not given")
def no_number():
    return TRAIN


@mistake("The name of the model is wrong")
def wrong_model():
    return (*TRAIN, "--num-classes", "3", "--model", "pdanet_resnet20")


@mistake("An option is misspelt")
def misspelt():
    return (*TRAIN, "--lerning-rate", "0.1")


@mistake("An exported file is given as the model")
def exported_file():
    Path("model.onnx").write_bytes(b"\x08\x08")
    return ("predict", "photo.jpg", "--model", "model.onnx")


@mistake("There is no such model file")
def no_model():
    Path("runs/first").mkdir(parents=True)
    Path("runs/first/best.keras").touch()
    return ("predict", "photo.jpg", "--model", "runs/frist/best.keras")


@mistake("There is no such image")
def no_image():
    return ("predict", "phto.jpg", "--model", "model.keras")


@mistake("Two images have the same name")
def same_name():
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "photo.jpg").write_bytes(Path("photo.jpg").read_bytes())
    return ("predict", "a/photo.jpg", "b/photo.jpg", "--model", "model.keras")


@mistake("The model has other classes than the data")
def other_classes():
    return ("evaluate", "--model", "model.keras", *FOLDER, "--num-classes", "5")


@mistake("The folder of the run is taken")
def taken():
    Path("runs/pdanet").mkdir(parents=True)
    Path("runs/pdanet/config.json").write_text("{}")
    Path("runs/pdanet/last.keras").touch()
    Path("runs/pdanet/summary.json").write_text("{}")  # the run has ended
    return (*TRAIN, "--num-classes", "3")


@mistake("One image per step")
def one_image():
    return (*TRAIN, "--num-classes", "3", "--model", "pdanet_resnet18_quarter", "--batch-size", "1")


@mistake("A batch that no memory holds")
def huge_batch():
    options = ("--batch-size", "100000", "--crop-size", "20000", "20000")
    return (*TRAIN, "--num-classes", "3", *options)


@mistake("An optional package is missing")
def no_extra():
    return ("predict", "photo.jpg", "--model", "model.keras", "--runtime", "onnxruntime")


def predict(change):
    with Image.open("photo.jpg") as image:
        pixels = np.asarray(image)
    predictor = pdanet_tf.Predictor("model.keras")
    with pytest.raises(ValueError, match="An image must") as caught:
        predictor.predict(change(pixels))
    print(caught.value)


@mistake("Pixels from 0 to 1")
def floats():
    predict(lambda pixels: pixels / 255)


@mistake("Normalised pixels")
def normalised():
    predict(lambda pixels: (pixels / 255 - 0.5) / 0.2)


@mistake("Channels first")
def channels_first():
    predict(lambda pixels: pixels.transpose(2, 0, 1))


@mistake("A grey image")
def grey():
    predict(lambda pixels: pixels[..., 0])


@mistake("One-hot labels")
def one_hot():
    labels = np.zeros((2, 8, 8, 3), "float32")
    with pytest.raises(ValueError, match="Labels must") as caught:
        pdanet_tf.losses.SegmentationCrossEntropy()(labels, np.zeros((2, 8, 8, 3), "float32"))
    print(caught.value)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    pdanet_tf.build_model("fcn_resnet18_quarter", num_classes=3).save(path)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    Path("model.keras").symlink_to(model)
    write_folder(Path("data"))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 56, 3), "uint8")).save("photo.jpg")


def test_every_mistake_is_on_the_page():
    assert {*MISTAKES, *LATER} == {*SECTIONS}
    assert len(SECTIONS) >= 20


@pytest.mark.parametrize("title", MISTAKES)
def test_the_message_of_a_mistake(title, here, capsys):
    arguments = MISTAKES[title]()
    if arguments is not None:
        try:
            code = main([*arguments])
        except SystemExit as error:
            code = error.code
        assert code in (1, 2)
        if title != "The folder of the run is taken":
            assert not Path("runs/pdanet").exists()  # nothing is half written
    printed = capsys.readouterr()
    for block in SECTIONS[title]:
        check_output(block, printed.out + printed.err)


def test_annotations_with_other_names_are_read_as_the_message_says(here, capsys):
    assert main([*other_names()]) == 1
    message = capsys.readouterr().err
    patterns = {
        name: re.search(rf"--{name}-pattern '(.*?)'", message)[1]
        for name in ("image", "annotation")
    }
    split = pdanet_tf.load_dataset(
        "folder",
        "train",
        "data",
        num_classes=3,
        image_pattern=patterns["image"],
        annotation_pattern=patterns["annotation"],
    )
    assert [len(split), split.read(0)[1].max()] == [3, 2]


# Made by the tests below.
LATER = ("The learning rate is too high", "The memory is full")


@pytest.mark.slow
def test_a_learning_rate_that_is_too_high(here, capsys):
    options = ("--batch-size", "2", "--epochs", "1", "--steps-per-epoch", "20")
    rate = ("--learning-rate", "1e9", "--output-dir", "runs/lr")
    assert main([*TRAIN, "--num-classes", "3", *options, *rate]) == 1
    check_output(SECTIONS[LATER[0]][0], capsys.readouterr().err)


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: tf.zeros((10**5, 10**5, 1000)),
        lambda: np.zeros((10**8, 10**8)),
    ],
)
def test_a_full_memory(allocate, here, monkeypatch, capsys):
    monkeypatch.setitem(commands.COMMANDS, "train", lambda **options: allocate())
    assert main([*TRAIN]) == 1
    error = capsys.readouterr().err
    check_output(SECTIONS[LATER[1]][0], error)
    assert error.count("\n") == 1
    monkeypatch.setitem(commands.COMMANDS, "evaluate", lambda **options: allocate())
    assert main(["evaluate", "--model", "x.keras"]) == 1
    assert "--crop-size 512 512" in capsys.readouterr().err


def test_other_errors_keep_their_traceback(here, monkeypatch):
    def fail(**options):
        raise KeyError("a fault of the package")

    monkeypatch.setitem(commands.COMMANDS, "train", fail)
    with pytest.raises(KeyError, match="a fault"):
        main([*TRAIN])
