"""Draws the annotation of an image as a label map."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pdanet_tf.base.fields import with_nearest
from pdanet_tf.data.importing.source import Shape, SourceImage
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import EncodedFile, image_size, is_sideways, open_image
from pdanet_tf.data.validation.image import size_problem

VOID = 255  # of unlabelled pixels in the files that are written
_CLASS_ADVICE = "Add the name to class_names, or to ignore; or correct it in the annotation"
_CROWD_ADVICE = (
    "Its pixels became unlabelled. CVAT and Datumaro mark every mask as a crowd: if it is an "
    "object, set ignore_crowds=False"
)
_FARTHEST = 1  # pixels by which a shape may leave the image without a warning


@dataclass(frozen=True)
class Rendering:
    """How shapes become label maps.

    Attributes:
        values: The value of each class by name; ignored names have `VOID`.
        fill: The value of pixels that belong to no shape.
        larger_first: Whether larger shapes are drawn first, rather than in the order of the file.
        ignore_crowds: Whether crowds become `VOID`, below all other shapes; otherwise they are
            drawn as any shape.
    """

    values: Mapping[str, int]
    fill: int
    larger_first: bool
    ignore_crowds: bool

    def draw(self, image: SourceImage, names: list[str]) -> tuple[np.ndarray, list[Problem]]:
        """Draws one annotation.

        Args:
            image: The image and its annotation.
            names: Names of the classes in the source.

        Returns:
            The label map, `(height, width)`, uint8; and what is wrong with single records.

        Raises:
            DataError: If the image cannot be read, or has another size than its annotation.
        """
        size = image_size(image.file)
        if image.size not in (None, size):
            sideways = is_sideways(image.file)
            file = str(image.file)
            raise DataError(size_problem(file, size, image.size or (0, 0), sideways))
        if image.decode is None:
            return self._draw_shapes(image, size)
        indices, problems = image.decode(size)
        if indices.shape != size:
            raise DataError(problems[-1])
        values = [self.values[name] for name in names]
        # The last value is that of UNLABELLED, the index -1.
        return np.array([*values, self.fill], "uint8")[indices], problems

    def _draw_shapes(
        self, image: SourceImage, size: tuple[int, int]
    ) -> tuple[np.ndarray, list[Problem]]:
        label = np.full(size, self.fill, "uint8")
        problems: list[Problem] = []
        drawn = []
        for shape in image.shapes:
            place = f"{image.annotation}: {shape.record}"
            if shape.label not in self.values:
                text = f"has the unknown class {with_nearest([shape.label], self.values)}"
                problems.append(Problem(place, "unknown class", text, _CLASS_ADVICE))
                continue
            masks = [region.mask(size) for region in shape.regions]
            area = sum(int(mask.pixels.sum()) for mask in masks)
            problems += _outside(place, shape, size, area)
            value = self.values[shape.label]
            is_crowd = shape.crowd and self.ignore_crowds
            if is_crowd:
                text = f"is a crowd (iscrowd) of the class {shape.label!r}"
                problems.append(Problem(place, "ignored crowds", text, _CROWD_ADVICE, "note"))
            key = (not is_crowd, shape.order, -area if self.larger_first else 0)
            drawn.append((key, masks, VOID if is_crowd else value))
        for _, masks, value in sorted(drawn, key=lambda each: each[0]):
            for mask in masks:
                mask.paint(label, value)
        return label, problems


def _outside(place: str, shape: Shape, size: tuple[int, int], area: int) -> list[Problem]:
    """Returns the problem of a shape that leaves the image, or has no pixel in it."""
    tops, lefts, bottoms, rights = zip(*(region.bounds() for region in shape.regions), strict=True)
    top, left, bottom, right = min(tops), min(lefts), max(bottoms), max(rights)
    spelled = f"from ({top:g}, {left:g}) to ({bottom:g}, {right:g}) (row, column)"
    sides = f"the image has {size[0]} rows and {size[1]} columns"
    if bottom <= 0 or right <= 0 or top >= size[0] or left >= size[1]:
        text = f"is outside the image: it reaches {spelled}, {sides}"
        advice = "Correct it, or set skip_bad=True to leave such records out"
        return [Problem(place, "outside the image", text, advice)]
    outside = max(-top, -left, bottom - size[0], right - size[1])
    if outside > _FARTHEST:
        text = f"leaves the image: it reaches {spelled}, {sides}"
        advice = "The part outside was cut off; check that the image was not resized"
        return [Problem(place, "partly outside", text, advice, "warning")]
    if not area:
        text = f"contains the centre of no pixel: it reaches {spelled}"
        return [Problem(place, "no pixels", text, "It was left out", "warning")]
    return []


def image_ending(image: SourceImage) -> str:
    """Returns the extension of the file to write, such as ".jpg"."""
    if not isinstance(image.file, EncodedFile):
        return Path(image.file).suffix.lower()
    with open_image(image.file) as opened:
        return {"JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp"}.get(opened.format or "", ".png")
