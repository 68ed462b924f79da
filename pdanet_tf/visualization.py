"""Pictures of label maps, and charts of figures per class."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pdanet_tf.data.classes import Classes, Color

_OPACITY = 0.55
_MOST_IN_LEGEND = 24


def colorize(label_map: np.ndarray, classes: Classes) -> np.ndarray:
    """Paints a label map in the colours of its classes.

    Args:
        label_map: `(height, width)`, integers. Labels that are no class are painted black.
        classes: Names and colours.

    Returns:
        `(height, width, 3)`, uint8, RGB.
    """
    palette = np.array([*classes.colors, (0, 0, 0)], "uint8")
    known = (label_map >= 0) & (label_map < len(classes))
    return palette[np.where(known, label_map, len(classes))]


def draw_overlay(image: np.ndarray, label_map: np.ndarray, classes: Classes) -> Image.Image:
    """Lays the colours of the classes over an image, with a legend by area at its right.

    Args:
        image: `(height, width, 3)`, uint8, RGB.
        label_map: `(height, width)`, integers.
        classes: Names and colours.

    Returns:
        A picture of the image's height, or of the legend's where that is taller.
    """
    blend = (1 - _OPACITY) * image + _OPACITY * colorize(label_map, classes)
    legend = _draw_legend(label_map, classes, row_height=max(16, min(36, image.shape[0] // 16)))
    height = max(image.shape[0], legend.height)
    sheet = Image.new("RGB", (image.shape[1] + legend.width, height), "white")
    sheet.paste(Image.fromarray(blend.astype("uint8")), (0, 0))
    sheet.paste(legend, (image.shape[1], 0))
    return sheet


def draw_bar_chart(
    names: Sequence[str],
    values: Sequence[float],
    title: str,
    label: str,
    colors: Sequence[Color] | None = None,
) -> Image.Image:
    """Draws a horizontal bar for each name, the first at the top.

    Args:
        names: What the bars stand for.
        values: Their lengths; NaN for none.
        title: Stands above the chart.
        label: What the values are, with their unit.
        colors: RGB (0 to 255) of each bar; None for one colour for all.
    """
    # Without pyplot, which would choose a window system and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.22 * len(names)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    fill = None if colors is None else np.array(colors) / 255
    rows = range(len(names))
    axes.barh(rows, values, color=fill, edgecolor="0.4", linewidth=0.5)
    axes.set_yticks(rows, labels=names, fontsize=8, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.set_title(title)
    axes.grid(axis="x", alpha=0.4)
    axes.set_axisbelow(True)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _draw_legend(label_map: np.ndarray, classes: Classes, row_height: int) -> Image.Image:
    inside = label_map[(label_map >= 0) & (label_map < len(classes))]
    counts = np.bincount(inside.ravel(), minlength=len(classes))
    order = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
    rows = [
        (
            classes.colors[index],
            f"{classes.names[index]}  {100 * counts[index] / label_map.size:.1f}%",
        )
        for index in order[:_MOST_IN_LEGEND]
    ]
    font = ImageFont.load_default(size=row_height * 0.6)
    width = max((font.getlength(text) for _, text in rows), default=0)
    legend = Image.new(
        "RGB", (int(width + 2.2 * row_height), row_height * (len(rows) + 1)), "white"
    )
    draw = ImageDraw.Draw(legend)
    for index, (color, text) in enumerate(rows):
        top = row_height * (index + 0.5)
        swatch = (
            row_height * 0.5,
            top + row_height * 0.15,
            row_height * 1.2,
            top + row_height * 0.85,
        )
        draw.rectangle(swatch, fill=color, outline="black")
        middle = top + row_height * 0.5
        draw.text((row_height * 1.5, middle), text, fill="black", font=font, anchor="lm")
    return legend
