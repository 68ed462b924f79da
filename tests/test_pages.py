"""The commands and the Python blocks of the documentation run, in the order in which they stand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf.cli.options import make_parser
from pdanet_tf.diagnosis import devices
from pdanet_tf.diagnosis.probe import probe
from tests.support.folders import write_folder
from tests.support.pages import ROOT, blocks, check_other, check_output, commands, run_page, shorten

DOCS = ROOT / "docs"
# Pages that take a few seconds; those that train, or load the trained model, are slow.
QUICK = ("paper.md", "doctor.md")
SLOW = (
    "ade20k.md",
    "evaluation.md",
    "explain.md",
    "fine_tune.md",
    "losses.md",
    "own_data.md",
    "start.md",
    "training.md",
    "how_to/channels.md",
    "how_to/class_weights.md",
    "how_to/masks_0_255.md",
    "how_to/nan_at_1x1.md",
    "how_to/one_gpu.md",
    "how_to/out_of_memory.md",
)
# Their commands are parsed only. They need CamVid or a server, or files that other tests write.
PARSED = {
    "camvid.md": "the runs that are described took hours; tests/test_camvid_studies.py",
    "channels.md": "how_to/channels.md runs the same; tests/data/channels, tests/training",
    "checkpoints.md": "tests/weights/test_sources.py reads files of each package",
    "demo.md": "the page is served until Ctrl-C; tests/demo serves it",
    "labels.md": "tests/cli/test_import_labels.py runs every format",
    "many_machines.md": "tests/training/test_workers.py trains with two processes",
    "predict.md": "tests/cli/test_predict_folders.py, test_large_images.py and test_beam.py do it",
    "serving.md": "tests/serving runs them against servers",
    "training_on_jax.md": "Keras would need another backend; tests/training/test_jax.py trains",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the files that the pages name; training takes one step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    rng = np.random.default_rng(0)
    for name in ("street.jpg", "photo.jpg"):
        Image.fromarray(rng.integers(0, 256, (40, 56, 3), "uint8")).save(name)
    monkeypatch.setattr(devices, "run_probe", probe)  # TensorFlow is imported here already
    train = pdanet_tf.train
    monkeypatch.setattr(
        pdanet_tf,
        "train",
        lambda config, *args, **kwargs: train(shorten(config), *args, **kwargs),
    )
    return tmp_path


@pytest.mark.parametrize("name", QUICK)
def test_quick_pages_run(name, here):
    run_page(DOCS / name)


def write_summary(folder, seed):
    """Writes what a run that has ended says of itself."""
    folder.mkdir(parents=True)
    scores = {"mean_iou": 0.5, "pixel_accuracy": 0.9, "mean_accuracy": 0.6, "iou_per_class": {}}
    config = pdanet_tf.TrainConfig(dataset="folder", num_classes=5, seed=seed).to_dict()
    content = {"config": config, "seconds": 60, "validation": scores}
    (folder / "summary.json").write_text(json.dumps(content))


def prepare(name, here):
    """Writes what a page takes for granted beyond `here`."""
    if name in ("fine_tune.md", "training.md"):
        write_folder(here / "my_data")
    if name == "training.md":
        write_folder(here / "CamVid", splits=("train", "val"), highest=10)
        Path("runs/first").mkdir(parents=True)
        pdanet_tf.build_model("pdanet_resnet18", num_classes=8).save("runs/first/best.keras")
    if name == "evaluation.md":
        write_folder(here / "my_data", highest=4)
        for seed, run in enumerate(("first", "second", "third")):
            write_summary(Path("runs", run), seed)
    if name in ("evaluation.md", "explain.md"):
        for run in ("first", "second"):
            Path("runs", run).mkdir(parents=True, exist_ok=True)
            model = pdanet_tf.build_model("pdanet_resnet18_quarter", num_classes=5)
            model.save(f"runs/{run}/best.keras")
    if name == "how_to/masks_0_255.md":
        rng = np.random.default_rng(0)
        for kind in ("images", "masks"):
            Path("painted", kind).mkdir(parents=True)
        for letter in "abcdefghij":
            image = rng.integers(0, 256, (48, 64, 3), "uint8")
            Image.fromarray(image).save(f"painted/images/{letter}.jpg")
            mask = (image[..., 0] > 127).astype("uint8") * 255
            Image.fromarray(mask).save(f"painted/masks/{letter}.png")
    if name == "how_to/one_gpu.md":
        pdanet_tf.data.write_stand_in(here / "ADEChallengeData2016", 2, 1, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_slow_pages_run(name, here):
    prepare(name, here)
    # The commands of the page on training are alternatives, which do not follow one another.
    run_page(DOCS / name, shell=name != "training.md")


def test_every_page_with_code_is_run_or_parsed():
    found = {
        page.relative_to(DOCS).as_posix()
        for page in DOCS.rglob("*.md")
        if any(language in ("sh", "python") for language, _ in blocks(page))
    }
    assert found == {*QUICK, *SLOW, *PARSED}


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *DOCS.rglob("*.md")], ids=lambda p: p.name)
def test_commands_can_be_given(page):
    for language, text in blocks(page):
        if language == "python":
            compile(text, str(page), "exec")
        for command in commands(text) if language == "sh" else ():
            if " pdanet-tf " in f" {command}":
                words = command.partition(" > ")[0].partition("pdanet-tf ")[2]
                words = words.removesuffix(" ...").split()
                make_parser().parse_args([word.strip("\"'") for word in words])
            elif page.is_relative_to(DOCS):
                check_other(command.split())


@pytest.mark.parametrize(
    ("expected", "fits"),
    [
        ("mean IoU 0.5", True),
        ("b: ...%\nmean IoU", True),
        ("mean IoU\nb:", False),
        ("mean IOU", False),
        ("mean IoU 0.51, 12,345 pixels", True),
        ("mean IoU 0.51, many pixels", False),
    ],
)
def test_output_is_compared(expected, fits):
    printed = "a: sky 12%, sea 8%\nb: sky 3%\nmean IoU 0.27, 1,024 pixels\n"
    if fits:
        check_output(expected, printed)
    else:
        with pytest.raises(AssertionError, match="is not in"):
            check_output(expected, printed)
