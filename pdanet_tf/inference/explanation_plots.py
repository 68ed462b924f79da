"""Plots of the attention and of other maps over an image."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pdanet_tf.charts import render
from pdanet_tf.inference.attention_maps import LevelAttention
from pdanet_tf.inference.display import to_rgb

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OPACITY = 0.65
_COLORS = "viridis"  # grows evenly brighter, also for readers who do not see all colours
_COLUMNS = 2


def draw_map(
    image: np.ndarray,
    values: np.ndarray,
    title: str,
    highest: float | None = None,
    at: tuple[int, int] | None = None,
) -> Image.Image:
    """Draws a map over an image, and a scale of its colours.

    Args:
        image: `(height, width, channels)`.
        values: `(rows, columns)`, not negative; stretched over the image.
        title: Title above the plot.
        highest: The value of the brightest colour; None for the highest value.
        at: Row and column in the image that are marked.

    Returns:
        An RGB image.
    """
    figure = _figure(8, 6)
    _draw(figure, figure.add_subplot(), image, values, title, highest, at)
    return render(figure)


def draw_attention(
    image: np.ndarray, levels: Mapping[str, LevelAttention], at: tuple[int, int]
) -> Image.Image:
    """Draws the position attention of each level for a position, which is marked.

    Args:
        image: `(height, width, channels)`.
        levels: The attention of each level by name.
        at: Row and column in the image.

    Returns:
        An RGB image.
    """
    rows = -(-len(levels) // _COLUMNS)
    figure = _figure(11, 4.2 * rows)
    for number, (name, level) in enumerate(levels.items(), 1):
        title = f"level {name}, gamma {level.position_gamma:.3g}"
        axes = figure.add_subplot(rows, min(len(levels), _COLUMNS), number)
        _draw(figure, axes, image, level.position, title, None, at)
    return render(figure)


def draw_channels(levels: Mapping[str, LevelAttention]) -> Image.Image:
    """Draws the channel attention of each level: rows attend to columns.

    Args:
        levels: The attention of each level by name.

    Returns:
        An RGB image.
    """
    rows = -(-len(levels) // _COLUMNS)
    figure = _figure(11, 4.6 * rows)
    for number, (name, level) in enumerate(levels.items(), 1):
        axes = figure.add_subplot(rows, min(len(levels), _COLUMNS), number)
        shown = axes.imshow(level.channel, cmap=_COLORS, vmin=0, interpolation="nearest")
        axes.set_title(f"level {name}, gamma {level.channel_gamma:.3g}", parse_math=False)
        axes.set_xlabel("channel attended to")
        axes.set_ylabel("channel")
        figure.colorbar(shown, ax=axes)
    return render(figure)


def _figure(width: float, height: float) -> "Figure":
    # pyplot would choose a window system and keep every figure in memory.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _draw(
    figure: "Figure",
    axes: Any,
    image: np.ndarray,
    values: np.ndarray,
    title: str,
    highest: float | None,
    at: tuple[int, int] | None,
) -> None:
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(to_rgb(image), extent=extent)
    shown = axes.imshow(
        values,
        cmap=_COLORS,
        alpha=_OPACITY,
        vmin=0,
        vmax=highest,
        extent=extent,
        interpolation="nearest",
    )
    if at is not None:
        axes.plot([at[1]], [at[0]], marker="x", color="red", markersize=9, markeredgewidth=2)
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.set_axis_off()
    figure.colorbar(shown, ax=axes)
