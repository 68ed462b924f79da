"""Overlays: images with the colours of their classes, and a legend."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.palette import Color

_OPACITY = 0.55
_ROW_HEIGHT = 20  # height of a row of the legend in pixels, for images of up to 560 pixels
_ROWS_PER_IMAGE = 28  # rows of the legend over the height of a larger image
_LEAST_ROWS = 10  # rows in a column of the legend, even for small images
_MOST_COLUMNS = 3
_LONGEST_NAME = 12  # width of the longest name in heights of a row; about 22 letters


def colorize(label_map: np.ndarray, classes: Classes) -> np.ndarray:
    """Paints a label map in the colours of its classes.

    Args:
        label_map: `(height, width)`, integers. Labels that are not a class are painted black.
        classes: Names and colours.

    Returns:
        `(height, width, 3)`, uint8, RGB.
    """
    palette = np.array([*classes.colors, (0, 0, 0)], "uint8")
    known = (label_map >= 0) & (label_map < len(classes))
    return palette[np.where(known, label_map, len(classes))]


def draw_overlay(image: np.ndarray, label_map: np.ndarray, classes: Classes) -> Image.Image:
    """Draws the colours of the classes over an image, and a legend to the right of it.

    A background class (see `Classes.is_background`) and labels that are not a class are not
    painted. The legend lists the classes by area. It has room for at least 30 classes; if there
    are more, its last row is the sum of the rest.

    Args:
        image: `(height, width, 3)`, uint8, RGB.
        label_map: `(height, width)`, integers.
        classes: Names and colours.

    Returns:
        An RGB image, as high as the given one, or as the legend if that is higher.
    """
    unpainted = [index for index in range(len(classes)) if classes.is_background(index)]
    painted = (label_map >= 0) & (label_map < len(classes)) & ~np.isin(label_map, unpainted)
    original = Image.fromarray(image)
    blend = Image.blend(original, Image.fromarray(colorize(label_map, classes)), _OPACITY)
    legend = _draw_legend(label_map, classes, image.shape[0])
    sheet = Image.new(
        "RGB", (original.width + legend.width, max(original.height, legend.height)), "white"
    )
    sheet.paste(Image.composite(blend, original, Image.fromarray(painted)), (0, 0))
    sheet.paste(legend, (original.width, 0))
    return sheet


def _draw_legend(label_map: np.ndarray, classes: Classes, image_height: int) -> Image.Image:
    """Draws the colour, the name and the share of the area of each class, the largest first."""
    row = max(_ROW_HEIGHT, image_height // _ROWS_PER_IMAGE)
    font = _font(round(0.6 * row))
    entries = _legend_entries(label_map, classes)
    column_length = max(_LEAST_ROWS, image_height // row - 1)
    most = column_length * _MOST_COLUMNS
    if len(entries) > most:
        rest = entries[most - 1 :]
        share = sum(share for _, _, share in rest)
        entries = [*entries[: most - 1], ("white", f"and {len(rest)} more", share)]
    columns = [
        _draw_column(entries[start : start + column_length], row, font)
        for start in range(0, len(entries), column_length)
    ]
    size = (sum(column.width for column in columns), max(column.height for column in columns))
    legend = Image.new("RGB", size, "white")
    left = 0
    for column in columns:
        legend.paste(column, (left, 0))
        left += column.width
    return legend


def _legend_entries(
    label_map: np.ndarray, classes: Classes
) -> list[tuple[Color | str, str, float]]:
    """Returns colour, name and share (0 to 1) of each class, the largest first, "no class" last."""
    inside = label_map[(label_map >= 0) & (label_map < len(classes))]
    counts = np.bincount(inside.ravel(), minlength=len(classes))
    entries: list[tuple[Color | str, str, float]] = [
        (
            "white" if classes.is_background(index) else classes.colors[index],
            classes.names[index],
            counts[index] / label_map.size,
        )
        for index in np.argsort(-counts, kind="stable").tolist()
        if counts[index]
    ]
    if inside.size < label_map.size:
        entries.append(("white", "no class", 1 - inside.size / label_map.size))
    return entries


def _draw_column(
    entries: Sequence[tuple[Color | str, str, float]], row: int, font: ImageFont.FreeTypeFont
) -> Image.Image:
    """Draws one column of the legend: names aligned left, shares aligned right."""
    names = [_shorten(name, font, _LONGEST_NAME * row) for _, name, _ in entries]
    shares = [f"{100 * share:.1f}%" for _, _, share in entries]
    name_width, share_width = (
        round(max((font.getlength(text) for text in texts), default=0)) for texts in (names, shares)
    )
    name_left = round(1.5 * row)
    right = name_left + name_width + row + share_width
    column = Image.new("RGB", (right + row // 2, row * (len(entries) + 1)), "white")
    draw = ImageDraw.Draw(column)
    for index, ((color, _, _), name, share) in enumerate(zip(entries, names, shares, strict=True)):
        top, middle = row * (index + 0.5), row * (index + 1)
        swatch = (row * 0.5, top + row * 0.15, row * 1.2, top + row * 0.85)
        draw.rectangle(swatch, fill=color, outline="black", width=max(1, row // 20))
        draw.text((name_left, middle), name, fill="black", font=font, anchor="lm")
        draw.text((right, middle), share, fill="black", font=font, anchor="rm")
    return column


def _shorten(name: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Returns a name on one line, shortened if it is wider than `width` pixels."""
    name = " ".join(name[:200].split())
    if font.getlength(name) <= width:
        return name
    while font.getlength(f"{name}…") > width:
        name = name[:-1]
    return f"{name.rstrip()}…"


@functools.lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Returns DejaVu Sans, which covers more languages than Pillow's default font."""
    import matplotlib  # whose package contains the font

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
