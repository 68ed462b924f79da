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
