"""Model cards: what they say, that they say nothing else, and that huggingface_hub reads them."""

import hashlib
import json
import math
import shlex
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pdanet_tf import cli
from pdanet_tf.cli.options import make_parser
from pdanet_tf.data import Classes
from pdanet_tf.evaluation.assessment import assess_samples
from pdanet_tf.evaluation.speed import Speed
from pdanet_tf.evaluation.worst import Sample
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.sharing import CardFacts, Measurement, write_card
from pdanet_tf.sharing.card import adapt_card, format_card, is_card
from pdanet_tf.sharing.commands import changed_options, train_command
from pdanet_tf.sharing.facts import FileFacts, find_seeds
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.summaries import RunSummary
from tests.support.protocols import (  # noqa: F401 (fixtures)
    CLASSES,
    decisive_model,
    images_of_odd_sizes,
)

NAMES = ("rest", "road|way", "cat")
SCORES = {"mean_iou": 0.5, "pixel_accuracy": 0.9, "mean_accuracy": 0.6}
LAST = "stays as it is when the card is written again. -->\n\n"


def measure(names=NAMES, **changes):
    """Two images by hand: 9 labelled pixels, of which 7 are right; the last class is absent."""
    label = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [255, 255, 255, 1]])
    prediction = np.array([[0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 1]])
    probability = np.where(label == prediction, 0.95, 0.65)
    image = np.zeros((3, 4, 3), "uint8")
    data = SimpleNamespace(classes=Classes.named(names), void_label=255)
    samples = [
        Sample("a", image, label, prediction, probability),
        Sample("b", image[:2], label[:2], prediction[:2], probability[:2]),
    ]
    assessment = assess_samples(samples, data)
    speed = Speed(np.array([0.25, 0.75]), "a processor", 1.25)
    assessment = replace(assessment, speed=speed)
    options = {"dataset": "camvid", "split": "test", "protocol": Protocol((48,), flip=True)}
    return Measurement(assessment, **{**options, **changes})


def describe(measured=None, names=NAMES, **changes):
    """The facts of a small model."""
    settings = InferenceSettings(Classes.named(names), Protocol())
    facts = {"title": "roads", "model": "fcn_resnet18", "parameters": 1234, "source": "a.keras"}
    return CardFacts(settings=settings, measured=measured, **{**facts, **changes})


def write_run(folder, seed=0, **changes):
    """Writes the summary of a run."""
    config = TrainConfig(dataset="camvid", data_dir="/home/me/CamVid", seed=seed, **changes)
    content = {
        "config": config.to_dict(),
        "seconds": 90,
        "validation": {**SCORES, "iou_per_class": dict.fromkeys(NAMES, 0.5)},
        "devices": ["/device:GPU:0"],
        "versions": {"keras": "3.15"},
    }
    content["validation"]["mean_iou"] += seed / 8
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(content))
    return RunSummary.read(folder)


def test_what_was_measured():
    """Figures by hand: rest 6 of 8 labelled pixels, 2 more predicted; road 7 of 9, and 2 more."""
    text = format_card(describe(measure()))
    line = text.replace("\n", " ")
    assert "| mean IoU of the classes that occur | 0.6182 |" in text  # (6 / 10 + 7 / 11) / 2
    assert "| mean IoU | 0.4121 |" in text
    assert "| pixel accuracy | 0.7647 |" in text  # 13 / 17
    data = "2 images of 2 x 4 to 3 x 4 pixels (height x width), 17 labelled pixels of 20."
    assert data in line
    assert "with short edges of 48 pixels, at most 1000 pixels long, and mirrored" in (line)
    road = "| 1 | road\\|way | {} | 0.636 | 0.778 | 0.778 | 0.778 | 0.636 | 52.94% |"
    color = ", ".join(map(str, Classes.named(NAMES).colors[1]))
    assert road.format(color) in text
    assert "|  |  |  |  |  | 0.00% |" in text  # nothing about the class that does not occur
    assert "| rest | 75 | 25 |  |" in text
    # |0.95 x 13 - 13| + |0.65 x 4 - 0|, over 17 pixels.
    assert "(Guo et al. 2017): 0.1912" in text
    assert "median of 2 images; half of them took 375 to 625 ms" in text
    assert "500 ms per image" in text
    assert "load average was 1.2" in line
    assert "Not measured, because they do not occur: cat." in text
    assert "by 0.1147 on average" in line  # 14.95 / 17 - 13 / 17
    assert "Training" not in text


def test_the_time_of_a_resumed_run_is_that_of_its_last_call(tmp_path):
    run = write_run(tmp_path / "run")
    assert "| time | 2 minutes |" in format_card(describe(run=run))
    resumed = format_card(describe(run=replace(run, steps_before=9)))
    assert "| time | 2 minutes, of the last call alone |" in resumed


def test_what_is_not_known_is_left_out():
    text = format_card(describe())
    for word in ("Scores", "Training", "Confusion", "Calibration", "Speed", "IoU", "nan", "None"):
        assert word not in text, word
    for key in ("license", "metrics", "model-index", "datasets", "SHA-256"):
        assert key not in text
    assert "- Nothing was measured" in text
    assert is_card(text)
    stored = measure()
    stored = replace(stored, assessment=replace(stored.assessment, calibration=None, speed=None))
    text = format_card(describe(stored))
    for word in ("Calibration", "Speed", "expected_calibration_error", "Probabilities"):
        assert word not in text, word


def test_many_classes_have_the_largest_confusions_instead_of_a_matrix():
    names = tuple(f"class {index}" for index in range(21))
    text = format_card(describe(measure(names), names))
    table = text.partition("## Confusion matrix")[2].partition("##")[0]
    assert "| class 0 | class 1 | 25.0% |\n| class 1 | class 0 | 22.2% |\n\n" in table


def test_huggingface_hub_reads_it(huggingface_hub, tmp_path):
    measured = measure()
    facts = describe(measured, license="cc-by-4.0", title='no: "1"', model="fcn_resnet18")
    file = write_card(tmp_path / "card.md", facts)
    card = huggingface_hub.ModelCard.load(file)
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "keras"
    assert card.data.pipeline_tag == "image-segmentation"
    assert card.data.datasets == ["camvid"]
    assert card.data.model_name == 'no: "1"'
    assert card.text.lstrip().startswith("<!-- pdanet-tf wrote this card")
    found = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert found == {
        "mean_iou": 0.4121,
        "pixel_accuracy": 0.7647,
        "mean_accuracy": 0.7639,
        "expected_calibration_error": 0.1912,
    }
    assert [*found] == card.data.metrics
    for each in card.data.eval_results:
        assert each.task_type == "image-segmentation"
        assert (each.dataset_type, each.dataset_split) == ("camvid", "test")
    # Its own writer and reader agree about the content.
    again = huggingface_hub.ModelCard(f"---\n{card.data.to_yaml()}\n---\n{card.text}")
    assert again.data.to_dict() == card.data.to_dict()


def test_writing_again_keeps_what_the_user_wrote(tmp_path):
    file = write_card(tmp_path, describe(measure(), license="mit"))
    assert file == tmp_path / "README.md"
    diagram = tmp_path / "README_reliability.svg"
    assert diagram.read_text().startswith('<svg role="img"')
    assert f"]({diagram.name})" in file.read_text("utf-8")
    own = "## Mine\n\nFor roads — only.\n"
    file.write_bytes((file.read_text("utf-8") + own).replace("\n", "\r\n").encode())
    write_card(tmp_path, describe(measure(), parameters=99))
    text = file.read_text("utf-8")
    assert text.endswith(LAST + own)
    assert text.startswith("---\nlicense: mit\nlibrary_name")
    assert "| parameters | 99 |" in text
    write_card(file, describe(measure(), license="bsd-3-clause"), "other\n")
    text = file.read_text("utf-8")
    assert text.endswith(f"{LAST}other\n")
    assert "license: bsd-3-clause\n" in text
    assert "license: mit" not in text


def test_other_files_are_not_replaced(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("# My project\n")
    with pytest.raises(ValueError, match=r"README\.md: exists, and pdanet-tf did not write it\."):
        write_card(tmp_path, describe())
    assert file.read_text() == "# My project\n"
    with pytest.raises(ValueError, match=r"card\.txt: expected a Markdown file for the card"):
        write_card(tmp_path / "card.txt", describe())
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not a card in UTF-8"):
        write_card(file, describe())


def test_weights_of_an_architecture():
    text = format_card(describe(source="a.weights.h5", architecture="fcn_resnet18"))
    assert "--model fcn_resnet18 --weights a.weights.h5\n" in text
    assert 'pdanet_tf.Predictor("fcn_resnet18", weights="a.weights.h5")' in text


def test_another_address():
    text = format_card(describe(measure(), license="mit"))
    moved = adapt_card(text, "hf://me/roads", None)
    assert 'pdanet_tf.Predictor("hf://me/roads")' in moved
    assert "a.keras" not in moved
    assert moved.partition("\n## Scores")[2] == text.partition("\n## Scores")[2]
    assert adapt_card(moved, "a.keras", None) == text
    assert adapt_card(text, "a.keras", "apache-2.0") == text.replace("license: mit", (
        "license: apache-2.0"
    ))  # fmt: skip


def test_the_spread_over_seeds(tmp_path):
    run = write_run(tmp_path / "seed0")
    write_run(tmp_path / "more" / "seed1", 1)
    found = find_seeds(run, [tmp_path / "more", tmp_path / "seed0"], tmp_path)
    assert [each.config["seed"] for each in found] == [0, 1]
    text = format_card(describe(run=run, runs=found))
    assert "| 1 | 0.6250 | 0.9000 | 0.6000 |\n| mean | 0.5625 ± 0.0884 | 0.9000" in text
    assert "One run with one seed" not in text
    assert "| devices | /device:GPU:0 |" in text
    assert "mean_iou" in text.partition("model-index")[2]
    assert "One run with one seed" in format_card(describe(run=run))
    write_run(tmp_path / "other", 2, epochs=3)
    with pytest.raises(ValueError, match="differ in more than their seeds: in epochs"):
        find_seeds(run, [tmp_path / "other"], tmp_path)
    shutil.copytree(tmp_path / "seed0", tmp_path / "again")
    with pytest.raises(ValueError, match=r"seed0 and .*again both have seed 0"):
        find_seeds(run, [tmp_path / "again"], tmp_path)
    with pytest.raises(ValueError, match=r"require a model of a run, best\.keras with summary"):
        find_seeds(None, [tmp_path], tmp_path / "a.keras")


def test_limits_name_images_that_chose_the_epoch(tmp_path):
    run = write_run(tmp_path / "run")
    optimistic = "The best epoch was chosen by the mean IoU on the same images"
    assert optimistic in format_card(describe(run=run))
    assert optimistic not in format_card(describe(measure(), run=run))  # the test split
    assert optimistic in format_card(describe(measure(split="validation"), run=run))
    run.config["dataset"] = "folder"
    for folder, is_same in (("/home/me/CamVid", True), ("/home/me/other", False), (None, False)):
        measured = measure(split="validation", dataset="folder", data_dir=folder)
        assert (optimistic in format_card(describe(measured, run=run))) is is_same
    assert "datasets:" not in format_card(describe(measured))


def test_the_command_gives_the_options_of_the_run():
    config = TrainConfig(
        model="pspnet_resnet18",
        dataset="folder",
        data_dir="/home/me/data",
        output_dir="/home/me/runs",
        class_names=("rest", "two words"),
        split_lists={"train": "/home/me/train.txt"},
        weights="/home/me/first.keras",
        crop_size=(64, 48),
        head_options={"dropout": 0.5},
        flip=False,
        nesterov=True,
        loss="0.5*ce+0.5*lovasz",
        seed=3,
    )
    command = train_command(changed_options(config.to_dict()))
    assert "/home/me" not in command
    given = vars(make_parser().parse_args(shlex.split(command)[1:]))
    changed = {"data_dir": "DATA", "weights": "first.keras", "output_dir": None}
    for name, value in {**config.to_dict(), **changed}.items():
        if name in given and given[name] is not None and name != "split_lists":
            found = tuple(given[name]) if isinstance(given[name], list) else given[name]
            assert found == (tuple(value) if isinstance(value, list) else value), name
    assert "--split-lists train=train.txt" in command
    assert "--epochs" not in command
    assert train_command({"resume": True, "aux_head": False, "stem": None}) == (
        "pdanet-tf train --resume --no-aux-head"
    )


def test_the_file_of_a_model(tmp_path):
    (tmp_path / "a.keras").write_bytes(b"abc")
    found = FileFacts.read(tmp_path / "a.keras")
    assert found == FileFacts("a.keras", 3, hashlib.sha256(b"abc").hexdigest())
    assert found.sha256 in format_card(describe(file=found))


def test_the_speed_without_a_load_average():
    speed = Speed(np.array([1.0, 2.0, 9.0]), "a processor")
    assert str(speed) == "2000 ms (median) on a processor"
    assert math.isnan(speed.load)


def test_the_command(model, folder, tmp_path, capsys):
    run = tmp_path / "run"
    write_run(run, class_names=("a", "b", "c", "d"))
    model.save(run / "best.keras")
    data = ["--dataset", "folder", "--data-dir", str(folder), "--num-classes", str(CLASSES)]
    data += ["--label-offset", "1"]
    command = ["evaluate", "--model", str(run / "best.keras"), *data]
    for options, message in (
        (["--license", "mit"], "--license requires --card"),
        (["--other-seeds", str(run)], "--other-seeds requires --card"),
        (["--card", str(run), "--resume", "--save-predictions", "x"], "--card shows the calibr"),
        (["--card", str(tmp_path / "none")], "expected a Markdown file for the card"),
        (["--card", str(run), "--other-seeds", str(folder)], "contains no run that has ended"),
    ):
        assert cli.main([*command, *options]) == 1
        assert message in capsys.readouterr().err
    assert cli.main(["evaluate", "--predictions", "x", *data, "--card", str(run)]) == 1
    assert "--card requires --model" in capsys.readouterr().err
    assert not (run / "README.md").exists()
    scores = tmp_path / "scores.json"
    command += ["--card", str(run), "--json", str(scores), "--short-edges", "24"]
    assert cli.main([*command, "--license", "mit"]) == 0
    figures = json.loads(scores.read_text())
    text = (run / "README.md").read_text("utf-8")
    assert text.startswith("---\nlicense: mit\n")
    assert "# run\n" in text
    assert hashlib.sha256((run / "best.keras").read_bytes()).hexdigest() in text
    assert f"| mean IoU | {figures['mean_iou']:.4f} |" in text
    assert f"2017): {figures['expected_calibration_error']:.4f}" in text
    assert "with short edges of 24 pixels" in text.replace("\n", " ")
    assert "| inference | at their own size" in text
    assert "pdanet-tf train --model pdanet_resnet18 --dataset camvid" in text
    assert (run / "README_reliability.svg").is_file()
    assert str(tmp_path) not in text
    (run / "README.md").write_text(f"{text}mine\n", "utf-8")
    assert cli.main(command) == 0
    assert (run / "README.md").read_text("utf-8").endswith(f"{LAST}mine\n")
