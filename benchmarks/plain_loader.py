"""Both recipes in plain Pillow and NumPy, sample by sample, in one thread.

The baseline of `benchmarks/data.py`. It yields the batches of `pdanet_tf.data.batches.pipeline`:
the same images in the same order, with the same sizes, crops, flips and colour changes.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.data.batches.sampling import shuffled, variation

STRIDE = 8  # labels have 1/8 of the resolution
IGNORED = 255
JITTER = 0.4
# From RGB to luma and the two axes of chroma (NTSC).
YIQ = np.array([(0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])

Files = tuple[Image.Image, Image.Image]
Batch = tuple[np.ndarray, np.ndarray]


def crop_batches(
    root: Path,
    batch_size: int,
    crop_size: tuple[int, int],
    pad_color: Sequence[float],
    seed: int,
) -> Iterator[Batch]:
    """Yields batches of randomly scaled, cropped, flipped and jittered images with labels."""
    samples = enumerate(_shuffled(root, seed))
    while True:
        images, labels = _new_batch(batch_size, crop_size, pad_color)
        for row in range(batch_size):
            position, files = next(samples)
            rng = variation(seed, position)
            factor = rng.uniform(0.5, 2)
            image, label = _scale(files, [round(side * factor) for side in files[0].size])
            box = []
            for side, crop in zip(label.shape, crop_size, strict=True):
                start = int(rng.random() * (max(0, side - crop) + 1))
                box.append(slice(start, start + crop))
            image, label = image[tuple(box)], label[tuple(box)]
            if rng.random() < 0.5:
                image, label = image[:, ::-1], label[:, ::-1]
            height, width = label.shape
            images[row, :height, :width] = _jitter(image.astype("float32"), rng)
            labels[row, :height, :width] = label
        yield images, _reduce(labels)


def paper_batches(
    root: Path,
    batch_size: int,
    short_edges: Sequence[int],
    max_size: int,
    pad_color: Sequence[float],
    seed: int,
) -> Iterator[Batch]:
    """Yields batches of one orientation, scaled to one short edge and padded to a multiple of 8."""
    groups: dict[bool, list[Files]] = {False: [], True: []}
    step = 0
    for files in _shuffled(root, seed):
        portrait = files[0].height > files[0].width
        groups[portrait].append(files)
        if len(groups[portrait]) < batch_size:
            continue
        group, groups[portrait] = groups[portrait], []
        rng = variation(seed, step)
        short_edge, scaled = short_edges[int(rng.integers(len(short_edges)))], []
        step += 1
        for files in group:
            size = files[0].size
            factor = min(short_edge / min(size), max_size / max(size))
            scaled.append(_scale(files, [int(side * factor) for side in size]))
        sides = np.max([label.shape for _, label in scaled], axis=0)
        height, width = (-(-side // STRIDE) * STRIDE for side in sides)
        images, labels = _new_batch(batch_size, (height, width), pad_color)
        for row, (image, label) in enumerate(scaled):
            if rng.random() < 0.5:
                image, label = image[:, ::-1], label[:, ::-1]
            height, width = label.shape
            images[row, :height, :width] = image
            labels[row, :height, :width] = label
        yield images, _reduce(labels)


def _shuffled(root: Path, seed: int) -> Iterator[Files]:
    paths = sorted((root / "images" / "training").glob("*.jpg"))
    for number in itertools.count():
        for index in shuffled(seed, number, len(paths)):
            path = paths[index]
            annotation = root / "annotations" / "training" / f"{path.stem}.png"
            with Image.open(path) as image, Image.open(annotation) as label:
                yield image.convert("RGB"), label.copy()


def _scale(files: Files, size: list[int]) -> Batch:
    """Scales a whole image bilinearly to (width, height), and its labels by nearest neighbour."""
    image, label = files
    numbers = np.asarray(label.resize(size, Image.Resampling.NEAREST))
    # In 8 bits, 0 for "other" becomes 255.
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR)), numbers - np.uint8(1)


def _jitter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Changes brightness, contrast, saturation and hue of a float32 image."""
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3)
    angle = 2 * np.pi * rng.uniform(-JITTER / 4, JITTER / 4)
    cosine, sine = saturation * np.cos(angle), saturation * np.sin(angle)
    turn = np.array([(1, 0, 0), (0, cosine, -sine), (0, sine, cosine)])
    matrix = (brightness * contrast * np.linalg.inv(YIQ) @ turn @ YIQ).astype("float32")
    gray = brightness * (1 - contrast) * (image @ YIQ[0].astype("float32")).mean()
    return np.clip(image @ matrix.T + gray, 0, 255)


def _new_batch(batch_size: int, size: tuple[int, int], pad_color: Sequence[float]) -> Batch:
    images = np.full((batch_size, *size, 3), pad_color, "float32")
    return images, np.full((batch_size, *size), IGNORED, "int32")


def _reduce(labels: np.ndarray) -> np.ndarray:
    return labels[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
