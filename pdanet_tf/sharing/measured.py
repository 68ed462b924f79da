"""The sections of a model card about what was measured, in Markdown."""

import math
from collections.abc import Iterator

import numpy as np

from pdanet_tf.base.markdown import escape_cell, markdown_table
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.classes import Classes
from pdanet_tf.evaluation.assessment import Assessment
from pdanet_tf.evaluation.boundary import DIAGONAL_SHARE
from pdanet_tf.evaluation.calibration import Calibration
from pdanet_tf.evaluation.comparison import RESAMPLES
from pdanet_tf.sharing.facts import CardFacts, Measurement
from pdanet_tf.sharing.sections import describe_protocol
from pdanet_tf.version import __version__

_COLUMNS = {
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "dice": "Dice",
    "boundary_iou": "boundary IoU",
}
_WIDEST = 20  # classes of a confusion matrix that is shown whole
_CONFUSIONS = 10  # that are shown of a larger one
_WEAKEST = 3  # classes that the limits name


def describe_scores(measured: Measurement) -> Iterator[str]:
    """Yields the data, the scores, and the interval of the mean IoU."""
    assessment = measured.assessment
    scores, images = assessment.evaluation.scores, assessment.evaluation.images
    labelled = int(scores.pixels.sum())
    yield "## Scores"
    data = f"{quantity(images, 'image')}{_sizes(assessment, ' of')}, "
    data += quantity(labelled, "labelled pixel")
    if assessment.sizes is not None:
        total = int(assessment.sizes.prod(1).sum())
        data += f" of {total:,}"
    refined = ", refined by a CRF" if measured.refined else ""
    yield (
        f"Measured by `pdanet-tf evaluate` {__version__} on the {measured.split} split of "
        f"{measured.dataset}: {data}. Predictions in {measured.precision}{refined} of the images "
        f"{describe_protocol(measured.protocol)}, compared at the size of the label maps."
    )
    low, high = assessment.mean_iou_interval
    rows = [["mean IoU", f"{scores.mean_iou:.4f}", f"{low:.4f} to {high:.4f}"]]
    if not scores.present.all():
        rows.append(["mean IoU of the classes that occur", f"{scores.mean_iou_present:.4f}", ""])
    rows.append(["pixel accuracy", f"{scores.pixel_accuracy:.4f}", ""])
    rows.append(["mean accuracy", f"{scores.mean_accuracy:.4f}", ""])
    yield markdown_table(["score", "value", "95% interval over the images"], rows)
    yield (
        f"The interval is that of a bootstrap ({RESAMPLES:,} resamples of the images); it does not "
        "cover the choice of the seed of the training."
    )


def describe_measured_classes(assessment: Assessment) -> Iterator[str]:
    """Yields the figures of each class."""
    classes, pixels = assessment.evaluation.classes, assessment.evaluation.scores.pixels
    figures, total = assessment.per_class(), max(int(pixels.sum()), 1)
    yield "## Classes"
    rows = [
        [
            str(label),
            escape_cell(name),
            ", ".join(map(str, color)),
            *(_number(figures[key][label]) for key in _COLUMNS),
            f"{100 * pixels[label] / total:.2f}%",
        ]
        for label, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True))
    ]
    headings = ["label", "class", "red, green, blue", *_COLUMNS.values(), "share of pixels"]
    yield markdown_table(headings, rows, 3)
    yield (
        "Pixels of all images together. Boundary IoU (Cheng et al. 2021) counts those within "
        f"{DIAGONAL_SHARE:.0%} of the image's diagonal of a contour. An empty cell is not defined."
    )


def describe_confusion(confusion: np.ndarray, classes: Classes) -> Iterator[str]:
    """Yields the confusion matrix, or its largest cells if there are many classes."""
    yield "## Confusion matrix"
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    names = [escape_cell(name) for name in classes.names]
    if len(names) <= _WIDEST:
        yield (
            "Rows are labels, columns are predictions: the share of a label's pixels with each "
            "prediction, in percent. Empty: no pixel."
        )
        rows = [[name, *map(_percent, row)] for name, row in zip(names, shares, strict=True)]
        yield markdown_table(["label \\ prediction", *names], rows)
        return
    yield "The most frequent confusions, as the share of a label's pixels:"
    wrong = shares * (1 - np.eye(len(names)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    cells = [(cell // len(names), cell % len(names)) for cell in order.tolist()]
    rows = [
        [names[row], names[column], f"{100 * wrong[row, column]:.1f}%"]
        for row, column in cells
        if wrong[row, column] > 0
    ]
    yield markdown_table(["label", "prediction", "share"], rows, 2)


def describe_calibration(calibration: Calibration, diagram: str) -> Iterator[str]:
    """Yields the expected calibration error, and the link to the reliability diagram.

    Args:
        calibration: Pixels by probability.
        diagram: Name of the file of the diagram, beside the card.
    """
    bins = len(calibration.pixels)
    yield "## Calibration"
    yield (
        f"Expected calibration error (Guo et al. 2017): {calibration.expected_error:.4f}, over all "
        f"labelled pixels, in {bins} bins of equal width. Mean probability of the predicted class: "
        f"{_mean_probability(calibration):.4f}; share of right pixels: "
        f"{calibration.correct.sum() / calibration.pixels.sum():.4f}."
    )
    yield f"![Reliability diagram]({diagram})"
    rows = [
        [
            f"{index / bins:.3f} to {(index + 1) / bins:.3f}",
            f"{calibration.mean_confidence[index]:.4f}",
            f"{calibration.accuracy[index]:.4f}",
            f"{pixels:,}",
        ]
        for index, pixels in enumerate(calibration.pixels.tolist())
        if pixels
    ]
    yield markdown_table(["probability", "mean probability", "accuracy", "pixels"], rows)


def describe_speed(assessment: Assessment) -> Iterator[str]:
    """Yields the time of an image."""
    speed = assessment.speed
    if speed is None:
        return
    low, high = speed.quartiles
    shared = "Other processes may have used the processor, too."
    if not math.isnan(speed.load):
        shared = f"The machine's load average was {speed.load:.1f}, this process included."
    yield "## Speed"
    yield (
        f"{speed.milliseconds:.0f} ms per image, the median of "
        f"{quantity(len(speed.seconds), 'image')}; half of them took {low:.0f} to {high:.0f} ms. "
        f"One image at a time{_sizes(assessment, ',')}, on {speed.processor}, from the pixels to "
        "the label map and the probability of each pixel, with resizing, without reading the file. "
        f"{shared}"
    )


def describe_limits(facts: CardFacts) -> Iterator[str]:
    """Yields what the figures do not tell, as far as the facts show it."""
    lines = []
    run, measured = facts.run, facts.measured
    if run is not None:
        if measured is None or measured.chose_epoch_of(run):
            lines.append(
                "The best epoch was chosen by the mean IoU on the same images, so the scores are "
                "slightly optimistic. They cannot be compared with scores on other images."
            )
        if len(facts.runs) < 2:
            lines.append("One run with one seed: another seed gives another score.")
    if measured is None:
        missing = "Nothing but the scores above" if run is not None else "Nothing"
        lines.append(f"{missing} was measured: `pdanet-tf evaluate --card` does.")
    else:
        lines += _measured_limits(measured)
    yield "## Limits"
    yield "\n".join(f"- {line}" for line in lines)


def _measured_limits(measured: Measurement) -> Iterator[str]:
    assessment = measured.assessment
    scores, names = assessment.evaluation.scores, assessment.evaluation.classes.names
    yield (
        f"Measured only on the {measured.split} split of {measured.dataset}"
        f"{_sizes(assessment, ', images of')}. Other scenes, cameras and sizes were not measured."
    )
    order = [index for index in np.argsort(scores.iou, kind="stable") if scores.present[index]]
    if len(order) > _WEAKEST:
        weakest = ", ".join(
            f"{names[index]} (IoU {scores.iou[index]:.3f})" for index in order[:_WEAKEST]
        )
        yield f"The classes of the lowest scores: {weakest}."
    absent = [name for name, present in zip(names, scores.present, strict=True) if not present]
    if absent:
        yield f"Not measured, because they do not occur: {', '.join(absent)}."
    calibration = assessment.calibration
    if calibration is not None:
        gap = _mean_probability(calibration) - calibration.correct.sum() / calibration.pixels.sum()
        kind = "higher" if gap > 0 else "lower"
        yield (
            f"Probabilities are {kind} than the share of right pixels, by {abs(gap):.4f} on "
            "average: calibrate them before they decide anything."
        )


def _mean_probability(calibration: Calibration) -> float:
    return float(calibration.confidence.sum() / calibration.pixels.sum())


def _sizes(assessment: Assessment, before: str) -> str:
    """Returns the sizes of the images for a sentence, after some words; "" if not known."""
    if assessment.sizes is None:
        return ""
    order = np.lexsort((assessment.sizes[:, 1], assessment.sizes.prod(1)))
    smallest, largest = (assessment.sizes[index] for index in order[[0, -1]])
    text = f"{before} {smallest[0]} x {smallest[1]}"
    if tuple(smallest) != tuple(largest):
        text += f" to {largest[0]} x {largest[1]}"
    return f"{text} pixels (height x width)"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _percent(share: float) -> str:
    if share == 0:
        return ""
    return f"{100 * share:.0f}" if share >= 0.005 else "<1"
