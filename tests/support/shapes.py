"""A small labelled folder, as LabelMe leaves it: `python -m tests.support.shapes FOLDER`.

The images show discs and boxes on a ground of noise. Each has a JSON file of polygons beside it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

_SIZE = (96, 128)  # height, width
_COLORS = {"disc": (200, 60, 50), "box": (60, 90, 200)}


def write_shapes(folder: Path, count: int = 40) -> None:
    """Writes images and LabelMe's JSON files.

    Args:
        folder: The new folder.
        count: Number of images.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    height, width = _SIZE
    for index in range(count):
        ground = rng.integers(60, 190, (height // 8, width // 8, 3)).astype("uint8")
        image = Image.fromarray(ground).resize((width, height), Image.Resampling.BICUBIC)
        shapes = [_shape(rng, label) for label in ("disc", "box", rng.choice(["disc", "box"]))]
        for label, points in shapes:
            color = tuple(int(c) for c in np.array(_COLORS[label]) + rng.integers(-40, 40, 3))
            ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=color)
        name = f"scene_{index:02}"
        image.save(folder / f"{name}.png")
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [
                {"label": label, "points": points, "shape_type": "polygon", "flags": {}}
                for label, points in shapes
            ],
            "imagePath": f"{name}.png",
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        (folder / f"{name}.json").write_text(json.dumps(content))


def _shape(rng: np.random.Generator, label: str) -> tuple[str, list[list[float]]]:
    """Returns a label and the corners of its polygon, inside the image."""
    radius = rng.uniform(12, 22)
    centre = [rng.uniform(radius, side - radius) for side in reversed(_SIZE)]
    angles = np.linspace(0, 2 * np.pi, 25 if label == "disc" else 5)[:-1]
    if label == "box":
        angles = angles + rng.uniform(0, np.pi / 2)
    corners = np.stack([np.cos(angles), np.sin(angles)], -1) * radius + centre
    return label, corners.round(1).tolist()


if __name__ == "__main__":
    write_shapes(Path(sys.argv[1]))
