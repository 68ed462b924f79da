"""Bar charts and line charts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW_POINTS = 30  # up to here each point of a line has a mark


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
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.22 * len(names)), layout="constrained")
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
    return render(figure)


@dataclass(frozen=True)
class LineChart:
    """The content of a line chart.

    Attributes:
        title: Title above the chart.
        lines: The values of each line by its name; NaN leaves a gap.
    """

    title: str
    lines: Mapping[str, Sequence[float]]


def line_charts(charts: Sequence[LineChart], positions: Sequence[float], label: str) -> "Figure":
    """Draws line charts in two columns.

    Args:
        charts: The charts, from left to right and from top to bottom.
        positions: Horizontal position of each value of a line, the same in all charts.
        label: Label of the horizontal axes.

    Returns:
        The figure, with one axes for each chart; `render` makes an image of it.
    """
    from matplotlib.figure import Figure

    rows = math.ceil(len(charts) / 2)
    figure = Figure(figsize=(11, 4 * rows))
    # "constrained" would take twice the time.
    figure.subplots_adjust(0.07, 0.5 / (4 * rows), 0.98, 1 - 0.4 / (4 * rows), 0.18, 0.3)
    mark = "." if len(positions) <= _FEW_POINTS else ""
    for index, chart in enumerate(charts):
        axes = figure.add_subplot(rows, 2, index + 1)
        for name, values in chart.lines.items():
            axes.plot(positions, values, marker=mark, linewidth=1.2, label=name)
        axes.set_title(chart.title)
        axes.set_xlabel(label)
        axes.locator_params("x", integer=True)
        axes.ticklabel_format(axis="y", scilimits=(-2, 4))
        axes.grid(alpha=0.4)
        if len(chart.lines) > 1:
            axes.legend(fontsize=8, ncols=math.ceil(len(chart.lines) / 4))
    return figure


def render(figure: "Figure") -> Image.Image:
    """Returns a figure as an RGB image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
