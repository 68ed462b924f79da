"""The figures and the page of `evaluate --report`."""

import json
import re

import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.data import Classes
from pdanet_tf.evaluation import assess, evaluate, open_predictor, write_assessment
from pdanet_tf.evaluation.assessment import assess_samples
from pdanet_tf.evaluation.boundary import boundary_counts
from pdanet_tf.evaluation.calibration import Calibration
from pdanet_tf.evaluation.comparison import compare, mean_iou_interval
from pdanet_tf.evaluation.diagram import reliability_diagram
from pdanet_tf.evaluation.worst import Sample
from pdanet_tf.inference.predictor import Predictor
from tests.support.html_pages import Tags, images
from tests.support.protocols import (  # noqa: F401 (three are fixtures)
    CLASSES,
    PROTOCOLS,
    build_decisive_model,
    dataset_of_odd_sizes,
    decisive_model,
    images_of_odd_sizes,
)

VOID = 255


def eroded(mask, times):
    """What the published code of boundary IoU does: a 3 x 3 erosion, again and again."""
    for _ in range(times):
        padded = np.pad(mask, 1)
        parts = [
            padded[row : row + mask.shape[0], column : column + mask.shape[1]]
            for row in range(3)
            for column in range(3)
        ]
        mask = np.logical_and.reduce(parts)
    return mask


@pytest.mark.parametrize(("size", "distance"), [((20, 30), 1), ((90, 120), 3), ((1, 9), 1)])
def test_boundary_iou_is_that_of_repeated_erosion(size, distance):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 3, (2, 9, 9)) * 1
    label, prediction = (
        np.kron(each, np.ones((12, 15), int))[: size[0], : size[1]] for each in coarse
    )
    label = np.where(rng.random(size) < 0.002, VOID, label)
    label[:, -2:] = VOID
    found = boundary_counts(label, prediction, 4, VOID)
    for index in range(4):
        here = label == index
        there = (prediction == index) & (label != VOID)
        first, second = (mask & ~eroded(mask, distance) for mask in (here, there))
        assert found[0, index] == (first & second).sum()
        assert found[1, index] == (first | second).sum()
    assert found[1, 3] == 0  # in neither map
    assert found[1].sum() > 0


def test_calibration_is_that_of_a_loop():
    rng = np.random.default_rng(1)
    probability = np.concatenate([rng.random(500), [1.0, 1 / 15, 2 / 15, 0.2]])
    right = rng.random(504) < probability**2
    parts = [Calibration.of_pixels(probability[s], right[s]) for s in np.split(np.arange(504), 2)]
    found = parts[0] + parts[1]
    error = 0.0
    for index in range(15):
        inside = (probability > index / 15) & (probability <= (index + 1) / 15)
        assert found.pixels[index] == inside.sum()
        gap = abs(right[inside].mean() - probability[inside].mean())
        assert found.accuracy[index] == pytest.approx(right[inside].mean())
        error += inside.mean() * gap
    assert found.expected_error == pytest.approx(error)
    assert error > 0.1
    sure = Calibration.of_pixels(np.ones(4), np.array([True, False, True, True]))
    assert sure.expected_error == pytest.approx(0.25)


def test_the_interval_is_that_of_drawing_images_one_by_one():
    rng = np.random.default_rng(2)
    union = rng.integers(50, 100, (40, 3))
    first = np.stack([rng.integers(30, 50, (40, 3)), union], 1)
    second = first.copy()
    second[:, 0] -= rng.integers(0, 6, (40, 3))
    found = compare("b", first, second)

    def mean_iou(counts):
        return (counts[:, 0].sum(0) / counts[:, 1].sum(0)).mean()

    differences = []
    for _ in range(3000):
        drawn = rng.integers(0, 40, 40)
        differences.append(mean_iou(first[drawn]) - mean_iou(second[drawn]))
    assert found.difference == pytest.approx(mean_iou(first) - mean_iou(second))
    assert found.interval == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=1e-3)
    assert 0 < found.interval[0] < found.difference < found.interval[1]
    assert compare("b", first, second) == found
    same = compare("a", first, first)
    assert (same.difference, same.interval) == (0, (0, 0))
    alone = [mean_iou(first[rng.integers(0, 40, 40)]) for _ in range(3000)]
    low, high = mean_iou_interval(first)
    assert (low, high) == pytest.approx(np.percentile(alone, [2.5, 97.5]), abs=2e-3)
    assert low < mean_iou(first) < high


def test_the_reliability_diagram():
    """Bars by hand: three quarters are right in the last bin; the first has one pixel."""
    calibration = Calibration(
        np.array([1, 0, 0, 0, 39_999]), np.array([1, 0, 0, 0, 30_000]), np.zeros(5)
    )
    for alone in (False, True):
        page = Tags(reliability_diagram(calibration, alone))
        rare, common = [attributes for tag, attributes in page.tags if tag == "rect"]
        assert (rare["x"], rare["height"], rare["fill"]) == ("0.0", "300.0", "none")
        assert (common["x"], common["height"]) == ("240.0", "225.0")
        assert common["fill"].startswith("rgb(")
        assert ("var(" in str(page.tags)) is not alone
        assert ("xmlns" in page.tags[0][1]) is alone


def test_figures_of_classes_and_the_worst_images():
    """By hand: 3 x 4 pixels, one unlabelled."""
    label = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, VOID]])
    prediction = np.array([[0, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 2]])

    class Data:
        classes, void_label = Classes.named(("a", "b", "c", "d")), VOID

    image = np.zeros((3, 4, 3), "uint8")
    samples = [Sample(str(n), image, label, prediction) for n in range(14)]
    samples.append(Sample("right", image, label, np.minimum(label, 2)))
    samples.append(Sample("nothing", image, np.full_like(label, VOID), prediction))
    one = assess_samples(samples[:1], Data)
    figures = one.per_class()
    np.testing.assert_allclose(figures["precision"], [1, 4 / 8, np.nan, np.nan])
    np.testing.assert_allclose(figures["recall"], [3 / 4, 1, 0, np.nan])
    np.testing.assert_allclose(figures["iou"], [3 / 4, 4 / 8, 0, np.nan])
    np.testing.assert_allclose(figures["dice"], [6 / 7, 8 / 12, 0, np.nan])
    assert one.calibration is None
    everything = assess_samples(samples, Data)
    assert [worst.name for worst in everything.worst] == [str(number) for number in range(12)]
    assert everything.worst[0].mean_iou == pytest.approx(1.25 / 3)
    assert everything.evaluation.images == 16
    worst = everything.worst[0]
    assert np.asarray(worst.label)[2, 3].tolist() == [0, 0, 0]
    is_red = np.asarray(worst.errors)[..., 0] > 200
    np.testing.assert_array_equal(is_red, (label != prediction) & (label != VOID))
    color = np.array(Data.classes.colors[1])
    np.testing.assert_allclose(np.asarray(worst.overlay)[0, 3], 0.6 * color, atol=1)
    np.testing.assert_array_equal(everything.sizes, [(3, 4)] * 16)
    assert everything.speed is None
    assert [worst.name for worst in assess_samples(samples[-3:], Data).worst] == ["13", "right"]
    assert json.loads(json.dumps(one.to_dict()))["precision_per_class"]["d"] is None


@pytest.mark.parametrize("name", ["own size", "several sizes"])
def test_the_probability_is_that_of_the_predicted_class(model, dataset, name):
    predictor = Predictor(model, PROTOCOLS[name])
    image, _ = dataset.read(1)
    labels, confidence = predictor.confident_label_map(image, (50, 33))
    np.testing.assert_array_equal(labels, predictor.label_map(image, (50, 33)))
    probabilities = predictor.probabilities(image, (50, 33))
    np.testing.assert_allclose(confidence, probabilities.max(-1), atol=1e-5)


def test_the_page(model, dataset, tmp_path):
    other = open_predictor(build_decisive_model(), dataset, PROTOCOLS["flip"])
    assessment = assess(
        model, dataset, PROTOCOLS["own size"], False, other=other, other_name="<other>"
    )
    scored = evaluate(model, dataset, PROTOCOLS["own size"], progress=False)
    figures = assessment.to_dict()
    assert figures.items() >= scored.to_dict().items()
    flipped = evaluate(other.model, dataset, PROTOCOLS["flip"], progress=False)
    assert assessment.comparison.mean_iou == pytest.approx(flipped.scores.mean_iou)
    assert figures["comparison"]["difference"] == pytest.approx(
        scored.scores.mean_iou - flipped.scores.mean_iou
    )
    assert assessment.calibration.pixels.sum() == scored.scores.pixels.sum()
    assert assessment.speed.seconds.shape == (4,)
    assert figures["milliseconds_per_image"] == 1000 * np.median(assessment.speed.seconds)
    write_assessment(tmp_path / "report.html", assessment, "mine", "ours, <split>")
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Tags(text)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?://|url\(", text)
    assert "prefers-color-scheme: dark" in text
    assert "Compared with <other>" in page.text
    assert f"{figures['boundary_iou_per_class']['class 0']:.4f}" in page.text
    assert f"{figures['expected_calibration_error']:.4f}" in page.text
    for tag, attributes in page.tags:
        if tag == "img":
            kind = "(image|label map|prediction|errors) of scene_."
            assert re.fullmatch(kind, attributes["alt"])
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
    assert len(list(images(page))) == 16  # of four images
    assert "ours, <split>: 4 images" in page.text
    low, high = figures["mean_iou_interval"]
    assert f"95% interval {low:.4f} to {high:.4f}" in page.text
    anchors = [value["href"][1:] for tag, value in page.tags if tag == "a"]
    assert anchors == [value["id"] for tag, value in page.tags if "id" in value]
    scrolled = [value for tag, value in page.tags if value.get("class") == "scroll"]
    assert [value["tabindex"] for value in scrolled] == ["0", "0"]
    write_assessment(tmp_path / "report.html", assessment, thumbnails=False)
    page = Tags((tmp_path / "report.html").read_text("utf-8"))
    assert list(images(page)) == []
    assert "scene_1" in page.text


def test_the_options(model, folder, tmp_path, capsys):
    model.save(tmp_path / "model.keras")
    report = tmp_path / "report.html"
    data = ["--dataset", "folder", "--data-dir", str(folder), "--num-classes", str(CLASSES)]
    data += ["--label-offset", "1"]
    command = ["evaluate", "--model", str(tmp_path / "model.keras"), *data]
    assert cli.main([*command, "--compare-with", "camvid"]) == 1
    assert "--compare-with requires --report" in capsys.readouterr().err
    assert cli.main([*command, "--no-thumbnails"]) == 1
    assert "--no-thumbnails requires --report" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    for path, message in (
        (tmp_path / "report.pdf", "expected an HTML file"),
        (tmp_path / "file" / "report.html", "file is not a folder"),
    ):
        assert cli.main([*command, "--report", str(path)]) == 1
        assert message in capsys.readouterr().err
    command += ["--report", str(report)]
    assert cli.main([*command, "--compare-with", "camvid"]) == 1
    assert "has 11 classes, the data set 4" in capsys.readouterr().err
    assert not report.exists()
    report.write_text("of before")
    stored = tmp_path / "predicted"
    command += ["--save-predictions", str(stored), "--json", str(tmp_path / "scores.json")]
    command += ["--compare-with", str(tmp_path / "model.keras"), "--short-edges", "24"]
    assert cli.main([*command, "--resume"]) == 1
    assert "Leave out --resume" in capsys.readouterr().err
    assert cli.main(command) == 0
    assert "Difference" in report.read_text("utf-8")
    figures = json.loads((tmp_path / "scores.json").read_text())
    assert figures["comparison"]["interval"] == [0, 0]
    assert cli.main(["evaluate", "--predictions", str(stored), *data, "--report", str(report)]) == 0
    assert "stored predictions have no probabilities" in report.read_text("utf-8")
    dataset = pdanet_tf.load_dataset(
        "folder", "validation", folder, num_classes=CLASSES, label_offset=1
    )
    again = pdanet_tf.evaluation.assess_predictions(stored, dataset, progress=False)
    del figures["comparison"], figures["expected_calibration_error"]
    assert figures.pop("milliseconds_per_image") > 0
    assert again.to_dict() == figures
