"""Bar charts."""

from collections.abc import Sequence

import numpy as np
from PIL import Image


def draw_bar_chart(
    names: Sequence[str],
    values: Sequence[float],
    title: str,
    label: str,
    colors: Sequence[tuple[int, int, int]] | None = None,
) -> Image.Image:
    """Draws a horizontal bar chart, the first bar at the top.

    Args:
        names: Name of each bar.
        values: Length of each bar; NaN draws none.
        title: Title above the chart.
        label: Label of the axis of values, with the unit.
        colors: RGB colour (0 to 255) of each bar; None for one colour for all bars.

    Returns:
        The chart, an RGB image.
    """
    # pyplot would choose a window system and keep every figure in memory.
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
