"""Writes the validation of a data set as one HTML page, with its images inside."""

import html
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.base.wording import quantity
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError, Problem, group_problems
from pdanet_tf.data.readers import read_image
from pdanet_tf.data.validation.report import ValidationReport
from pdanet_tf.html_page import css_color, figure, swatch, write_html

_SHOWN_PER_KIND = 12  # thumbnails of files with the same problem
_LISTED_PER_KIND = 100
_SIZES_SHOWN = 12
_DIMMED = 0.35  # brightness of what does not have the class of an example
_VOID_COLOR = (255, 255, 255)
_TINT = 0.5  # share of the class colour in its pixels


def write_page(
    path: Path, report: ValidationReport, splits: Mapping[str, SegmentationDataset]
) -> None:
    """Writes a page that shows a report: one file that needs no network and runs no script.

    It shows the problems with thumbnails of their files, the frequency of each class, the sizes,
    and for each class and split the images in which it covers most pixels, everything else dimmed.

    Args:
        path: The HTML file.
        report: What `validate_dataset` returned.
        splits: The splits that it was given.

    Raises:
        OSError: If the file cannot be written.
    """
    parts = [
        f"<p>{html.escape(report.summary().splitlines()[-1])}</p>",
        *_problems(report, splits),
        *_frequencies(report),
        *_sizes(report),
        *_examples(report, splits),
    ]
    write_html(path, "Validation of a data set", parts)


def _problems(report: ValidationReport, splits: Mapping[str, SegmentationDataset]) -> Iterator[str]:
    yield "<h2>Problems</h2>"
    if not report.problems:
        yield "<p>None.</p>"
    for group in group_problems(report.problems):
        first = group[0]
        title = f"{first.severity}: {first.kind} ({len(group)})"
        yield f'<h3 class="{first.severity}">{html.escape(title)}</h3>'
        yield f"<p>{html.escape(first.advice)}.</p>"
        without_image = []
        for position, problem in enumerate(group[:_LISTED_PER_KIND]):
            image = _problem_image(problem, splits) if position < _SHOWN_PER_KIND else None
            text = f"{problem.file}: {problem.text}"
            if image is None:
                without_image.append(text)
            else:
                yield figure(image, text)
        if without_image:
            yield f"<ul>{''.join(f'<li>{html.escape(text)}' for text in without_image)}</ul>"
        if len(group) > _LISTED_PER_KIND:
            yield f"<p>... and {len(group) - _LISTED_PER_KIND:,} more</p>"


def _problem_image(
    problem: Problem, splits: Mapping[str, SegmentationDataset]
) -> Image.Image | None:
    """Returns a thumbnail of an image, or of an annotation in the class colours, if it opens."""
    path = Path(problem.file)
    if not path.is_file():
        return None
    try:
        for split in splits.values():
            label = split.shown_annotation(path)
            if label is not None:
                colors = np.array([*split.classes.colors, _VOID_COLOR], "uint8")
                return Image.fromarray(colors[label.clip(max=split.num_classes)])
        return Image.fromarray(read_image(path))
    except (DataError, OSError):
        return None


def _frequencies(report: ValidationReport) -> Iterator[str]:
    yield '<h2>Classes</h2><table><tr><th scope="col">class'
    for name in report.splits:
        yield f'<th scope="col">{html.escape(name)}<th scope="col">images<td>'
    highest = max((float(split.shares.max()) for split in report.splits.values()), default=0) or 1
    for index, name in enumerate(report.classes.names):
        yield f'<tr><th scope="row">{swatch(report.classes.colors[index])} {html.escape(name)}'
        for split in report.splits.values():
            share = float(split.shares[index])
            color = css_color(report.classes.colors[index])
            width = f"width: {10 * share / highest:.2f}em; background: {color}"
            yield f'<td class="number">{100 * share:.3f}%'
            yield f'<td class="number">{split.images_per_class[index]}'
            yield f'<td><div class="bar" style="{width}"></div>'
    yield '<tr><th scope="row">unlabelled, of all pixels'
    for split in report.splits.values():
        total = max(int(split.pixels.sum()) + split.ignored_pixels, 1)
        yield f'<td class="number">{100 * split.ignored_pixels / total:.3f}%<td><td>'
    yield "</table>"


def _sizes(report: ValidationReport) -> Iterator[str]:
    yield (
        '<h2>Sizes</h2><table><tr><th scope="col">split<th scope="col">height x width'
        '<th scope="col">images'
    )
    for name, split in report.splits.items():
        common = split.sizes.most_common(_SIZES_SHOWN)
        for (height, width), count in common:
            yield f'<tr><td>{html.escape(name)}<td>{height} x {width}<td class="number">{count}'
        if len(split.sizes) > len(common):
            more = quantity(len(split.sizes) - len(common), "other size")
            rest = sum(split.sizes.values()) - sum(count for _, count in common)
            yield f'<tr><td>{html.escape(name)}<td>{more}<td class="number">{rest}'
    yield "</table>"


def _examples(report: ValidationReport, splits: Mapping[str, SegmentationDataset]) -> Iterator[str]:
    yield "<h2>Examples</h2>"
    for label, class_name in enumerate(report.classes.names):
        yield f"<h3>{swatch(report.classes.colors[label])} {html.escape(class_name)}</h3>"
        for name, split in splits.items():
            for pixels, index in report.splits[name].examples[label]:
                try:
                    image, labels = split.read(index)
                except (DataError, OSError):  # the problems above say why
                    continue
                shown = _highlight(image, labels == label, report.classes.colors[label])
                share = 100 * pixels / labels.size
                yield figure(shown, f"{name}: {split.name(index)}, {share:.1f}%")


def _highlight(image: np.ndarray, inside: np.ndarray, color: tuple[int, int, int]) -> Image.Image:
    """Returns an image with the pixels of a class in its colour and all others dimmed."""
    pixels = _as_rgb(image)
    tinted = (1 - _TINT) * pixels + _TINT * np.array(color)
    return Image.fromarray(np.where(inside[..., None], tinted, _DIMMED * pixels).astype("uint8"))


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """Returns the first three channels, or the first one as grey, from 0 to 255."""
    channels = image[..., :3] if image.shape[-1] >= 3 else image[..., :1]
    if image.dtype != np.uint8:
        low, high = float(channels.min()), float(channels.max())
        channels = (channels - low) * (255 / ((high - low) or 1))
    return np.broadcast_to(channels, (*image.shape[:2], 3)).astype("float32")
