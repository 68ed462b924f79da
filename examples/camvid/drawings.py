"""Curves of the runs on CamVid, and label maps that they predict."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from records import Record

import pdanet_tf
from pdanet_tf.charts import LineChart, line_charts, render
from pdanet_tf.data import SegmentationDataset
from pdanet_tf.data.classes import Classes

_TILE = (240, 180)  # width and height of a label map in a sheet
_MARGIN, _LINE = 6, 16  # pixels
_COLOURS = 64  # of a palette, which makes charts a third as large
_LINES = 8  # in a chart; more would share colours


def save_png(image: Image.Image, file: Path) -> None:
    """Writes an image as a small palette PNG."""
    method = Image.Quantize.MAXCOVERAGE  # the others merge the colours of thin lines
    image.quantize(_COLOURS, method, dither=Image.Dither.NONE).save(file, optimize=True)


def draw_curves(records: Sequence[Record]) -> Image.Image:
    """Draws the training loss and the validation mean IoU of runs by epoch."""
    length = _longest(records)
    charts = [
        LineChart(title, {_title(each, records): _line(each, column, length) for each in few})
        for few in (records[at : at + _LINES] for at in range(0, len(records), _LINES))
        for title, column in (("Training loss", "loss"), ("Validation mean IoU", "val_mean_iou"))
    ]
    return _draw(charts, length)


def draw_gammas(records: Sequence[Record]) -> Image.Image:
    """Draws the attention scales of each run by epoch, a chart for each run."""
    length = _longest(records)
    charts = [
        LineChart(
            _title(record, records),
            {
                column.removeprefix("gamma_").replace("_", " "): _line(record, column, length)
                for column in record.gamma_columns
            },
        )
        for record in records
    ]
    return _draw(charts, length)


def _title(record: Record, records: Sequence[Record]) -> str:
    """Returns the name of a run, without its model if all runs have the same one."""
    name, models = record.name, {each.config.model for each in records}
    if len(models) == 1:
        name = name.removeprefix(f"{record.config.model}-")
    is_single = sum(record.name == other.name for other in records) == 1
    return name if is_single else f"{name}, seed {record.config.seed}"


def _longest(records: Sequence[Record]) -> int:
    return max(record.epochs for record in records)


def _line(record: Record, column: str, length: int) -> list[float]:
    """Returns a column of a run's history; a run with fewer epochs than others ends earlier."""
    values = [row.get(column, math.nan) for row in record.history]
    return values + [math.nan] * (length - record.epochs)


def _draw(charts: Sequence[LineChart], length: int) -> Image.Image:
    return render(line_charts(charts, range(1, length + 1), "epoch"))


def predict_scenes(file: Path, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the label maps that a model predicts for images.

    Args:
        file: The model.
        images: Each `(height, width, 3)`, uint8, RGB.
    """
    predictor = pdanet_tf.Predictor(str(file))
    return [predictor.label_map(image) for image in images]


def choose_scenes(dataset: SegmentationDataset, count: int = 3) -> list[int]:
    """Returns the indices of images at equal distances."""
    return [(2 * index + 1) * len(dataset) // (2 * count) for index in range(count)]


def draw_sheet(
    rows: Mapping[str, Sequence[np.ndarray]], classes: Classes, titles: Sequence[str]
) -> Image.Image:
    """Draws label maps and images in a table, with a legend of the classes below.

    Args:
        rows: Label maps `(height, width)` or RGB images `(height, width, 3)` by the title of the
            row, as many in each row as there are columns.
        classes: Names and colours of the classes. Labels without a class are black.
        titles: Titles of the columns.
    """
    width = len(titles) * (_TILE[0] + _MARGIN) + _MARGIN
    height = len(rows) * (_TILE[1] + _LINE + _MARGIN) + _LINE
    legend_rows = math.ceil(len(classes) / 6)
    sheet = Image.new("RGB", (width, height + legend_rows * _LINE + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((_MARGIN + column * (_TILE[0] + _MARGIN), 2), title, "black")
    colors = np.zeros((256, 3), "uint8")
    colors[: len(classes)] = classes.colors
    for row, (title, tiles) in enumerate(rows.items()):
        top = _LINE + row * (_TILE[1] + _LINE + _MARGIN)
        draw.text((_MARGIN, top + 2), title, "black")
        for column, tile in enumerate(tiles):
            is_image = tile.ndim == 3
            picture = Image.fromarray(tile if is_image else colors[tile])
            filtering = Image.Resampling.LANCZOS if is_image else Image.Resampling.NEAREST
            left = _MARGIN + column * (_TILE[0] + _MARGIN)
            sheet.paste(picture.resize(_TILE, filtering), (left, top + _LINE))
    for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        left = _MARGIN + index % 6 * (width - _MARGIN) // 6
        top = height + index // 6 * _LINE
        draw.rectangle((left, top + 2, left + 10, top + 12), color)
        draw.text((left + 14, top + 1), name, "black")
    return sheet
