"""Scenes drawn from a seed, for examples and tests: nothing to download, but learnable."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.palette import Color

SYNTHETIC_CLASSES = Classes(
    names=("sky", "meadow", "house", "roof", "tree", "sun", "pond", "fence"),
    colors=(
        (120, 170, 230),
        (110, 180, 90),
        (200, 150, 110),
        (170, 60, 50),
        (30, 110, 50),
        (250, 200, 40),
        (40, 80, 160),
        (120, 90, 60),
    ),
)
_SKY, _MEADOW, _HOUSE, _ROOF, _TREE, _SUN, _POND, _FENCE = range(8)
_SPLITS = {"train": (0, 512), "validation": (1, 32)}  # (part of the seed, number of scenes)

# Draws one shape; "ink" maps its class to a fill: a colour in the image, itself in the label map.
_Shape = Callable[[ImageDraw.ImageDraw, Callable[[int], int | Color]], None]


class SyntheticDataset(SegmentationDataset):
    """Landscapes of textured shapes; the same seed gives the same scenes.

    Houses stand behind trees, the pond lies in the meadow, and light and colours vary, so that a
    model has to learn shapes and positions, not only colours.

    Args:
        split: "train" (512 scenes) or "validation" (32 other scenes).
        size: (height, width) of the scenes.
        seed: Seed of all scenes.

    Raises:
        ValueError: If there is no such split.
    """

    def __init__(self, split: str, size: tuple[int, int] = (144, 192), seed: int = 0) -> None:
        super().__init__(SYNTHETIC_CLASSES)
        if split not in _SPLITS:
            raise ValueError(f"split must be one of {tuple(_SPLITS)}. Received: split={split!r}")
        self.split = split
        self.scene_size = size
        self.seed = seed

    def __len__(self) -> int:
        return _SPLITS[self.split][1]

    def name(self, index: int) -> str:
        """Returns the name of a scene."""
        return f"{self.split}_{index:04d}"

    def size(self, index: int) -> tuple[int, int]:
        """Returns the (height, width) of a scene, which is the same for all scenes."""
        return self.scene_size

    def check(self) -> None:
        """Does nothing, because there are no files."""

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws a scene and its label map; see `SegmentationDataset.read`."""
        rng = np.random.default_rng((self.seed, _SPLITS[self.split][0], index))
        label_image = Image.new("L", self.scene_size[::-1], _SKY)
        color_image = Image.new("RGB", self.scene_size[::-1])
        palette = [_vary(color, rng) for color in self.classes.colors]
        color_image.paste(palette[_SKY], (0, 0, *self.scene_size[::-1]))
        label_draw, color_draw = ImageDraw.Draw(label_image), ImageDraw.Draw(color_image)
        for shape in _scene(self.scene_size, rng):
            shape(label_draw, lambda number: number)
            shape(color_draw, palette.__getitem__)
        label = np.asarray(label_image).astype("int32")
        return _texture(np.asarray(color_image), label, rng), label


def _vary(color: Color, rng: np.random.Generator) -> Color:
    red, green, blue = np.clip(np.array(color) + rng.normal(0, 22, 3), 0, 255).astype(int)
    return (int(red), int(green), int(blue))


def _scene(size: tuple[int, int], rng: np.random.Generator) -> list[_Shape]:
    """Returns the shapes of one scene, from back to front."""
    height, width = size
    horizon = int(height * rng.uniform(0.35, 0.6))
    shapes = [_ellipse(_SUN, rng.uniform(0, width), rng.uniform(0, horizon * 0.6), height * 0.07)]
    shapes.append(_box(_MEADOW, 0, horizon, width, height))
    if rng.random() < 0.6:
        x, y = rng.uniform(0, width), rng.uniform(horizon + height * 0.2, height)
        shapes.append(_ellipse(_POND, x, y, height * rng.uniform(0.06, 0.12), flatness=2.2))
    for _ in range(rng.integers(1, 4)):
        side = height * rng.uniform(0.18, 0.34)
        foot = horizon + rng.uniform(0.02, 0.2) * height
        shapes += _house(rng.uniform(0, width - side), foot, side)
    for _ in range(rng.integers(1, 6)):
        radius = height * rng.uniform(0.06, 0.13)
        foot = horizon + rng.uniform(0.02, 0.3) * height
        shapes.append(_ellipse(_TREE, rng.uniform(0, width), foot - radius, radius, flatness=0.8))
    if rng.random() < 0.5:
        shapes += _fence(size, height * rng.uniform(0.8, 0.95), height * 0.08)
    return shapes


def _box(number: int, left: float, top: float, right: float, bottom: float) -> _Shape:
    return lambda draw, ink: draw.rectangle((left, top, right, bottom), fill=ink(number))


def _ellipse(number: int, x: float, y: float, radius: float, flatness: float = 1.0) -> _Shape:
    box = (x - radius * flatness, y - radius, x + radius * flatness, y + radius)
    return lambda draw, ink: draw.ellipse(box, fill=ink(number))


def _house(left: float, foot: float, side: float) -> list[_Shape]:
    eaves = foot - side * 0.6
    gable = [(left - side * 0.1, eaves), (left + side * 0.5, foot - side * 1.05)]
    gable.append((left + side * 1.1, eaves))
    return [
        _box(_HOUSE, left, eaves, left + side, foot),
        lambda draw, ink: draw.polygon(gable, fill=ink(_ROOF)),
    ]


def _fence(size: tuple[int, int], top: float, tall: float) -> list[_Shape]:
    width = size[1]
    bars = [_box(_FENCE, 0, top + tall * s, width, top + tall * (s + 0.2)) for s in (0.15, 0.65)]
    posts = range(0, width, max(4, width // 16))
    return bars + [_box(_FENCE, x, top, x + width * 0.015, top + tall) for x in posts]


def _texture(image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds texture to the surfaces: bricks, tiles, ripples, a sky gradient, noise, brightness."""
    rows, columns = np.indices(label.shape)
    strength = np.select(
        [label == _HOUSE, label == _ROOF, label == _POND, label == _SKY],
        [
            18.0 * ((rows % 6 < 1) | ((columns + rows // 6 % 2 * 5) % 10 < 1)),
            22.0 * (rows % 4 < 1),
            14.0 * np.sin(rows * 1.3 + np.sin(columns * 0.2)),
            25.0 * (rows / label.shape[0] - 0.5),
        ],
        default=0.0,
    )
    spread = np.select([label == _TREE, label == _MEADOW, label == _SKY], [26.0, 14.0, 3.0], 7.0)
    noise = rng.normal(0, 1, (*label.shape, 1)) * spread[..., None]
    light = rng.uniform(0.75, 1.15)
    return np.clip((image + strength[..., None] + noise) * light, 0, 255).astype("uint8")
