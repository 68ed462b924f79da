"""Draws the figures of docs/paper.md.

    python -m docs.figures docs/figures

The drawings show the network as this package builds it; where the paper and its published code
differ, docs/paper.md says so.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

SCALES = (1, 2, 3, 6)
_BLUE, _GREEN, _RED, _GREY = "#cfe2f3", "#d9ead3", "#f4cccc", "#eeeeee"
# Text stays text, and two runs write the same file.
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "pdanet_tf", "font.size": 9}


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Returns a figure whose axes count in units of which 1 is about a centimetre."""
    figure = Figure((width / 2.2, height / 2.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return figure, axes


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, text: str, color: str
) -> None:
    style = "round,pad=0,rounding_size=0.12"
    patch = FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=color, edgecolor="#555")
    axes.add_patch(patch)
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center")


def _arrow(axes: Axes, *points: tuple[float, float]) -> None:
    *before, start, end = points
    path = [*before, start]
    if before:
        axes.plot(*zip(*path, strict=True), color="#555", lw=1)
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#555", "lw": 1})


def draw_network() -> Figure:
    """Draws PDANet from the image to the label map."""
    figure, axes = _canvas(22.6, 8.2)
    middle = 4.4
    _box(axes, 0.2, middle - 0.5, 1.7, 1, "image\nH x W x 3", _GREY)
    _box(axes, 2.5, middle - 0.9, 2.4, 1.8, "dilated\nResNet18,\nstride 8", _BLUE)
    _box(axes, 5.6, middle - 0.7, 2, 1.4, "C5\nH/8 x W/8\n512", _GREY)
    _arrow(axes, (1.9, middle), (2.5, middle))
    _arrow(axes, (4.9, middle), (5.6, middle))
    _arrow(axes, (7.6, middle), (18.7, middle))
    for row, scale in enumerate(SCALES):
        y = 6.9 - 2 * row
        _box(axes, 8.4, y, 1.7, 1, f"pool to\n{scale} x {scale}", _GREY)
        _box(axes, 10.7, y, 2.5, 1, "dual attention\n512 to 512", _RED)
        _box(axes, 13.8, y, 1.9, 1, "batch norm\nReLU", _BLUE)
        _box(axes, 16.3, y, 1.7, 1, "upsample", _GREY)
        _arrow(axes, (7.6, middle), (8, middle), (8, y + 0.5), (8.4, y + 0.5))
        for start, end in ((10.1, 10.7), (13.2, 13.8), (15.7, 16.3)):
            _arrow(axes, (start, y + 0.5), (end, y + 0.5))
        _arrow(axes, (18, y + 0.5), (18.3, y + 0.5), (18.3, middle), (18.7, middle))
    _box(axes, 18.7, middle - 0.9, 1.5, 1.8, "concat\n2560;\n3 x 3 to\n512", _GREEN)
    _box(axes, 20.6, middle - 0.9, 1.8, 1.8, "1 x 1 to\nclasses,\nupsample", _GREEN)
    _arrow(axes, (20.2, middle), (20.6, middle))
    return figure


def draw_dual_attention() -> Figure:
    """Draws the dual attention module, which every level of the pyramid has."""
    figure, axes = _canvas(18, 5)
    _box(axes, 0.2, 2, 1.8, 1, "features\nC channels", _GREY)
    for y, name in ((3.6, "position"), (0.4, "channel")):
        _box(axes, 2.9, y, 2.9, 1, "3 x 3 to C/4\nbatch norm, ReLU", _BLUE)
        _box(axes, 6.4, y, 2.4, 1, f"{name}\nattention", _RED)
        _box(axes, 9.4, y, 2.9, 1, "3 x 3, C/4\nbatch norm, ReLU", _BLUE)
        _arrow(axes, (2, 2.5), (2.5, 2.5), (2.5, y + 0.5), (2.9, y + 0.5))
        _arrow(axes, (5.8, y + 0.5), (6.4, y + 0.5))
        _arrow(axes, (8.8, y + 0.5), (9.4, y + 0.5))
        _arrow(axes, (12.3, y + 0.5), (12.8, y + 0.5), (12.8, 2.5), (13.2, 2.5))
    _box(axes, 13.2, 2, 1, 1, "sum", _GREEN)
    _box(axes, 14.9, 2, 2.8, 1, "spatial dropout,\n1 x 1 with bias", _GREEN)
    _arrow(axes, (14.2, 2.5), (14.9, 2.5))
    return figure


def draw_attentions() -> Figure:
    """Draws position attention above channel attention; N is the number of positions."""
    figure, axes = _canvas(18, 8.4)
    _box(axes, 0.2, 5.7, 1.6, 1, "A\nN x C", _GREY)
    for y, text in ((7.2, "query: 1 x 1\nN x C/8"), (5.7, "key: 1 x 1\nN x C/8")):
        _box(axes, 3, y, 2.6, 1, text, _BLUE)
        _arrow(axes, (1.8, 6.2), (2.4, 6.2), (2.4, y + 0.5), (3, y + 0.5))
        _arrow(axes, (5.6, y + 0.5), (6.1, y + 0.5), (6.1, 6.95), (6.5, 6.95))
    _box(axes, 6.5, 6.4, 3.2, 1.1, "softmax over keys\nquery key^T:  N x N", _RED)
    _box(axes, 3, 4.3, 2.6, 1, "value: 1 x 1\nN x C", _BLUE)
    _arrow(axes, (1.8, 6.2), (2.4, 6.2), (2.4, 4.8), (3, 4.8))
    _box(axes, 11, 5.4, 2.4, 1.1, "attention value\nN x C", _RED)
    _arrow(axes, (9.7, 6.95), (10.3, 6.95), (10.3, 6.1), (11, 6.1))
    _arrow(axes, (5.6, 4.8), (10.3, 4.8), (10.3, 5.8), (11, 5.8))
    _box(axes, 14.1, 5.4, 3.7, 1.1, "gamma * attended + A\nposition", _GREEN)
    _arrow(axes, (13.4, 5.95), (14.1, 5.95))
    _box(axes, 0.2, 1.4, 1.6, 1, "A\nN x C", _GREY)
    _box(axes, 3, 2.3, 2.6, 1, "energy\nA^T A:  C x C", _BLUE)
    _arrow(axes, (1.8, 1.9), (2.4, 1.9), (2.4, 2.8), (3, 2.8))
    _box(axes, 6.5, 2.25, 3.3, 1.1, "softmax of\nrow maximum - energy", _RED)
    _arrow(axes, (5.6, 2.8), (6.5, 2.8))
    _box(axes, 11, 1.35, 2.4, 1.1, "A attention^T\nN x C", _RED)
    _arrow(axes, (9.8, 2.8), (10.3, 2.8), (10.3, 2.1), (11, 2.1))
    _arrow(axes, (1.8, 1.9), (2.4, 1.9), (2.4, 1.2), (10.3, 1.2), (10.3, 1.7), (11, 1.7))
    _box(axes, 14.1, 1.35, 3.7, 1.1, "gamma * attended + A\nchannel", _GREEN)
    _arrow(axes, (13.4, 1.9), (14.1, 1.9))
    return figure


def draw_positions(sides: Sequence[int] = (304, 400)) -> Figure:
    """Draws how many pairs of positions attention compares, against the size of the image."""
    figure = Figure((6.4, 3.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    shares = np.linspace(0.5, 4, 36)
    height, width = sides
    positions = np.ceil(height * shares / 8) * np.ceil(width * shares / 8)
    pyramid = sum(scale**4 for scale in SCALES)  # n x n bins are n**4 pairs
    axes.semilogy(height * shares, positions**2, label="DANet: all positions at stride 8")
    axes.axhline(pyramid, color="C3", label=f"PDANet: {pyramid:,} pairs at every size")
    axes.set(
        xlabel=f"height of the image in pixels ({height}:{width})", ylabel="pairs of positions"
    )
    axes.legend(loc="center right")
    axes.grid(alpha=0.3)
    return figure


def draw_figures(folder: Path) -> None:
    """Writes all figures as SVG files."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_SETTINGS):
        for name, figure in {
            "network": draw_network(),
            "dual_attention": draw_dual_attention(),
            "attentions": draw_attentions(),
            "positions": draw_positions(),
        }.items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    draw_figures(Path(sys.argv[1]))
