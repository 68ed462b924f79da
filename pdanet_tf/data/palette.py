"""Colours for classes: bright colours that are far apart, and colours read from text."""

import functools
import re
from collections.abc import Iterable, Sequence

import numpy as np

Color = tuple[int, int, int]

# The first colours: Okabe and Ito 2008, "Color Universal Design", without black.
_FIRST: tuple[Color, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
# From linear RGB to what protanopes, deuteranopes and tritanopes see (Machado et al. 2009,
# severity 1), also in linear RGB.
_COLOR_BLINDNESS = np.array(
    [
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    ]
)
# From linear RGB to Oklab (Ottosson 2020), where distances approximate perceived differences.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_LIGHTNESS = (0.5, 0.95)  # lowest and highest in Oklab; excludes dark colours and white
_LEAST_CHROMA = 0.07  # in Oklab; colours below it look grey
# Weights of a distance in normal vision, and as protanopes, deuteranopes and (rare) tritanopes see
# it. They distinguish fewer colours, so smaller distances have to suffice.
_DISTANCE_WEIGHTS = np.array([1, 2, 2, 3])


def parse_color(value: str | Sequence[int]) -> Color:
    """Reads a colour.

    Args:
        value: `"#ff8000"`, `"255,128,0"`, or three whole numbers from 0 to 255: red, green and
            blue.

    Raises:
        ValueError: If the value is not a colour.
    """
    parts: Sequence[int] = ()
    if not isinstance(value, str):
        parts = tuple(value) if isinstance(value, Iterable) else ()
    elif re.fullmatch("#[0-9a-fA-F]{6}", value):
        parts = tuple(bytes.fromhex(value[1:]))
    elif re.fullmatch(r"\d{1,3}( *, *\d{1,3}){2}", value, re.ASCII):
        parts = tuple(int(part) for part in value.split(","))
    if len(parts) != 3 or not all(
        isinstance(part, int | np.integer) and not isinstance(part, bool) and 0 <= part <= 255
        for part in parts
    ):
        raise ValueError(
            "A colour must be #RRGGBB in hexadecimal digits, or red, green and blue from 0 to 255, "
            f"as in '#ff8000' or '255,128,0'. Received: {value!r}"
        )
    return int(parts[0]), int(parts[1]), int(parts[2])


def bright_colors(count: int) -> tuple[Color, ...]:
    """Returns colours for `count` classes, always the same for the same count.

    A longer list begins with the colours of a shorter one. Each colour is the farthest from the
    colours before it, as people with and without colour blindness see them. The first 2881 colours
    are all different; then they repeat.
    """
    if count <= len(_FIRST):
        return _FIRST[:count]
    colors, appearances = _candidates()
    chosen: list[int] = []
    nearest = np.full(len(colors), np.inf)  # distance to the nearest chosen colour
    for position in range(min(count, len(colors))):
        index = position if position < len(_FIRST) else int(nearest.argmax())
        chosen.append(index)
        distances = np.linalg.norm(appearances - appearances[index], axis=-1) * _DISTANCE_WEIGHTS
        # Rounded, so that ties are broken in the same way on every processor.
        nearest = np.minimum(nearest, distances.min(axis=1).round(6))
    different = [parse_color(colors[index]) for index in chosen]
    return tuple(different[index % len(different)] for index in range(count))


@functools.cache
def _candidates() -> tuple[np.ndarray, np.ndarray]:
    """Returns bright colours, `(count, 3)`, and their appearance (see `_appearance`)."""
    steps = np.arange(0, 256, 17)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, *chroma = _appearance(grid)[:, 0].T
    bright = (lightness > _LIGHTNESS[0]) & (lightness < _LIGHTNESS[1])
    colors = np.concatenate([_FIRST, grid[bright & (np.hypot(*chroma) > _LEAST_CHROMA)]])
    return colors, _appearance(colors)


def _appearance(colors: np.ndarray) -> np.ndarray:
    """Returns colours `(count, 3)` in Oklab as four kinds of vision see them, `(count, 4, 3)`."""
    shares = colors / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    blind = [(linear @ matrix.T).clip(0, 1) for matrix in _COLOR_BLINDNESS]
    return np.cbrt(np.stack([linear, *blind], axis=1) @ _TO_CONES.T) @ _TO_OKLAB.T
