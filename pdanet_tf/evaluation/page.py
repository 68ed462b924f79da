"""Writes an assessment as one HTML page, with its images inside."""

import html
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pdanet_tf.base.wording import quantity
from pdanet_tf.data.classes import Classes
from pdanet_tf.evaluation.assessment import Assessment
from pdanet_tf.evaluation.boundary import DIAGONAL_SHARE
from pdanet_tf.evaluation.calibration import Calibration
from pdanet_tf.evaluation.comparison import RESAMPLES, Comparison
from pdanet_tf.evaluation.diagram import reliability_diagram
from pdanet_tf.html_page import figure, swatch, write_html

_COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "iou": "IoU",
    "dice": "Dice",
    "boundary_iou": "boundary IoU",
}


def write_assessment(
    path: str | os.PathLike[str],
    assessment: Assessment,
    name: str = "",
    data: str = "",
    thumbnails: bool = True,
) -> None:
    """Writes a page that shows an assessment: one file without network and script.

    It shows the scores, the difference to another model if there is one, the figures of each class,
    the confusion matrix, the calibration, and the worst images with the prediction over them and
    its errors. Tables have headers and images texts for screen readers, the wide tables can be
    scrolled with the keyboard, and the colours follow the reader's choice of light or dark.

    Args:
        path: The HTML file. One that exists is replaced.
        assessment: What `assess` or `assess_predictions` returned.
        name: Name of the model, for the heading.
        data: Name of the data, such as "camvid, validation split".
        thumbnails: Whether the page contains images and label maps of the data set. Without them it
            names the worst images only, so that it can be passed on where the data cannot.

    Raises:
        OSError: If the file cannot be written.
    """
    classes = assessment.evaluation.classes
    parts = [
        *_summary(assessment, data),
        *([] if assessment.comparison is None else _comparison(assessment.comparison, name)),
        *_per_class(assessment),
        *_confusion(assessment.confusion, classes),
        *_calibration(assessment.calibration),
        *_worst(assessment, thumbnails),
    ]
    write_html(Path(path), f"Evaluation of {name}" if name else "Evaluation", parts)


def _summary(assessment: Assessment, data: str) -> Iterator[str]:
    links = {"classes": "Classes", "confusion": "Confusion matrix", "calibration": "Calibration"}
    links["worst"] = "Worst images"
    if assessment.comparison is not None:
        links = {"comparison": "Comparison", **links}
    shown = " · ".join(f'<a href="#{anchor}">{text}</a>' for anchor, text in links.items())
    yield f'<nav aria-label="Sections">{shown}</nav>'
    scores, images = assessment.evaluation.scores, assessment.evaluation.images
    pixels = quantity(int(scores.pixels.sum()), "labelled pixel")
    where = f"{html.escape(data)}: " if data else ""
    yield f"<p>{where}{quantity(images, 'image')}, {pixels}."
    if assessment.speed is not None:
        yield f" Time per image: {html.escape(str(assessment.speed))}."
    low, high = assessment.mean_iou_interval
    yield "</p><table>"
    for text, value, interval in (
        ("mean IoU, all classes", scores.mean_iou, f"95% interval {low:.4f} to {high:.4f}"),
        ("mean IoU, classes present", scores.mean_iou_present, ""),
        ("pixel accuracy", scores.pixel_accuracy, ""),
        ("mean accuracy", scores.mean_accuracy, ""),
    ):
        yield f'<tr><th scope="row">{text}<td class="number">{value:.4f}<td>{interval}'
    yield "</table><p>The interval is that of a bootstrap over the images "
    yield f"({RESAMPLES:,} resamples).</p>"


def _comparison(comparison: Comparison, name: str) -> Iterator[str]:
    low, high = comparison.interval
    verdict = "The interval contains 0: these images do not tell which model is better."
    if low > 0 or high < 0:
        verdict = "The interval does not contain 0."
    yield f'<h2 id="comparison">Compared with {html.escape(comparison.name)}</h2>'
    yield (
        f"<p>Mean IoU over all classes of {html.escape(comparison.name)}: "
        f"{comparison.mean_iou:.4f}. Difference ({html.escape(name or 'this model')} minus "
        f"{html.escape(comparison.name)}): <b>{comparison.difference:+.4f}</b>, 95% interval "
        f"{low:+.4f} to {high:+.4f} (paired bootstrap, {RESAMPLES:,} resamples of the images). "
        f"{verdict}</p>"
    )


def _per_class(assessment: Assessment) -> Iterator[str]:
    classes, scores = assessment.evaluation.classes, assessment.evaluation.scores
    yield '<h2 id="classes">Classes</h2>'
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Classes"><table>'
    yield "<caption>All figures count the labelled pixels of all images together. Boundary IoU "
    yield f"counts those within {DIAGONAL_SHARE:.0%} of the image's diagonal of a contour. An empty"
    yield " cell is not defined, because the class does not occur.</caption>"
    yield '<tr><th scope="col">class'
    for text in _COLUMNS.values():
        yield f'<th scope="col" class="number">{text}'
    yield '<th scope="col" class="number">share of pixels'
    figures = assessment.per_class()
    total = max(int(scores.pixels.sum()), 1)
    for index, name in enumerate(classes.names):
        yield f'<tr><th scope="row">{swatch(classes.colors[index])} {html.escape(name)}'
        for key in _COLUMNS:
            yield f'<td class="number">{_number(figures[key][index])}'
        yield f'<td class="number">{100 * scores.pixels[index] / total:.2f}%'
    yield '<tr><th scope="row">mean of the defined'
    for key in _COLUMNS:
        defined = figures[key][~np.isnan(figures[key])]
        yield f'<td class="number">{_number(defined.mean() if defined.size else np.nan)}'
    yield "<td></table></div>"


def _confusion(confusion: np.ndarray, classes: Classes) -> Iterator[str]:
    yield '<h2 id="confusion">Confusion matrix</h2>'
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix"><table>'
    yield "<caption>Rows are labels, columns are predictions: the share of a label's pixels with "
    yield "each prediction, in percent. Empty: no pixel.</caption>"
    yield "<thead><tr><td>"
    for name in classes.names:
        yield f'<th scope="col" class="vertical">{html.escape(name)}'
    yield "<tbody>"
    for index, name in enumerate(classes.names):
        yield f'<tr><th scope="row">{swatch(classes.colors[index])} {html.escape(name)}'
        total = max(int(confusion[index].sum()), 1)
        yield "".join(_cell(pixels / total) for pixels in confusion[index].tolist())
    yield "</table></div>"


def _cell(share: float) -> str:
    if share == 0:
        return "<td>"
    shown = f"{100 * share:.0f}" if share >= 0.005 else "&lt;1"
    return f'<td class="share" style="--share: {share:.2f}">{shown}'


def _calibration(calibration: Calibration | None) -> Iterator[str]:
    yield '<h2 id="calibration">Calibration</h2>'
    if calibration is None:
        yield "<p>Not known: stored predictions have no probabilities.</p>"
        return
    error = calibration.expected_error
    bins = len(calibration.pixels)
    yield f"<p>Expected calibration error: <b>{error:.4f}</b> (all labelled pixels, {bins} bins of "
    yield "equal width). A bar below the diagonal means that the model is too sure of itself. A "
    yield "hollow bar has fewer than one in 10,000 of the pixels.</p>"
    yield reliability_diagram(calibration)
    yield "<table><caption>Pixels by the probability of the predicted class</caption>"
    yield '<tr><th scope="col">probability<th scope="col" class="number">mean probability'
    yield '<th scope="col" class="number">accuracy<th scope="col" class="number">pixels'
    for index, pixels in enumerate(calibration.pixels.tolist()):
        if pixels:
            yield f'<tr><th scope="row">{index / bins:.3f} to {(index + 1) / bins:.3f}'
            yield f'<td class="number">{calibration.mean_confidence[index]:.4f}'
            yield f'<td class="number">{calibration.accuracy[index]:.4f}'
            yield f'<td class="number">{pixels:,}'
    yield "</table>"


def _worst(assessment: Assessment, thumbnails: bool) -> Iterator[str]:
    yield '<h2 id="worst">Worst images</h2>'
    yield "<p>The lowest mean IoU over the classes that occur in the image's label map or in its "
    if not thumbnails:
        yield "prediction. The images are left out.</p><table>"
        yield '<tr><th scope="col">image<th scope="col" class="number">mean IoU'
        for worst in assessment.worst:
            yield f'<tr><th scope="row">{html.escape(worst.name)}'
            yield f'<td class="number">{worst.mean_iou:.4f}'
        yield "</table>"
        return
    yield "prediction. From left to right: image, label map (unlabelled pixels are black), "
    yield "prediction over the image, errors (red).</p>"
    for worst in assessment.worst:
        yield f"<h3>{html.escape(worst.name)}: mean IoU {worst.mean_iou:.4f}</h3>"
        for shown, text in (
            (worst.image, "image"),
            (worst.label, "label map"),
            (worst.overlay, "prediction"),
            (worst.errors, "errors"),
        ):
            yield figure(shown.copy(), text, f"{text} of {worst.name}", large=True)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"
