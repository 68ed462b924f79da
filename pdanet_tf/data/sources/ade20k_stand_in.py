"""A drawn substitute for ADE20K, for tests of load and speed: same layout, sizes and classes.

Reading, scaling and training have the same load as with the benchmark's archive. The images are
not scenes; for images that a model can learn from see `pdanet_tf.data.sources.synthetic`.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from pdanet_tf.base.progress import track
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.sources.ade20k import ADE20K_CLASSES
from pdanet_tf.files import whole_folder


class _Split(NamedTuple):
    folder: str
    prefix: str  # of the file names
    column: int  # in the table of sizes


_SPLITS = (_Split("training", "ADE_train", 2), _Split("validation", "ADE_val", 3))
_OTHER_SHARE = 0.0725  # share of unlabelled pixels, from the official objectInfo150.txt
_CATEGORIES = ("bathroom", "bedroom", "street", "living_room", "kitchen", "skyscraper", "misc")
_TILE = 1024  # side of the square of noise from which all textures are cut
_NOTE = """\
Drawn by pdanet_tf.data.write_stand_in from the seed {seed}, for tests of load and speed.
This is not ADE20K: it has the same layout, sizes and classes, but different images.
"""


def write_stand_in(
    root: PathLike,
    num_training: int = 2021,
    num_validation: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Draws a folder like an extracted `ADEChallengeData2016`; the default is a tenth of it.

    The sizes of the images are distributed as in ADE20K; 20210 training and 2000 validation images
    have exactly its sizes. An image and its annotation take 0.18 bytes per pixel, as in the archive
    of 967 MB. The regions have the classes of ADE20K, a few frequent and many rare ones.

    Args:
        root: The new folder, which must not exist. It appears when it is complete.
        num_training: Number of images in the training split.
        num_validation: Number of images in the validation split.
        seed: The same seed and numbers of images give the same bytes.
        progress: Whether to show a progress bar.

    Returns:
        The folder: `images` and `annotations`, each with `training` and `validation`. Annotations
        contain 0 for "other" and the classes as 1 to 150. It also contains `sceneCategories.txt`,
        `objectInfo150.txt` (frequencies of the classes in the drawn images) and a `README.txt`
        that explains the folder.

    Raises:
        FileExistsError: If `root` already exists.
        ValueError: If a number is out of range.

    Example:
        ```python
        root = write_stand_in("stand_in", num_training=100, num_validation=10)
        dataset = load_dataset("ade20k", "train", root)
        ```
    """
    for name, value, lowest in (
        ("num_training", num_training, 1),
        ("num_validation", num_validation, 1),
        ("seed", seed, 0),
    ):
        if value < lowest:
            raise ValueError(f"{name} must be at least {lowest}. Received: {name}={value}")
    with whole_folder(Path(root)) as folder:
        _write(folder, (num_training, num_validation), seed, progress)
    return Path(root)


def _write(folder: Path, counts: tuple[int, int], seed: int, progress: bool) -> None:
    table, noise = _load_sizes(), _draw_noise(seed)
    scenes: list[_Scene] = []
    for split, count in zip(_SPLITS, counts, strict=True):
        for kind in ("images", "annotations"):
            (folder / kind / split.folder).mkdir(parents=True)
        sizes = _draw_sizes(table, split.column, count, _generator(seed, split))
        scenes += [_Scene(split, number, size, seed) for number, size in enumerate(sizes, 1)]
    # Threads suffice: most of the time is spent in Pillow and NumPy, which release Python's lock.
    with _thread_pool() as pool:
        pixels = track(
            pool.map(lambda scene: scene.write(folder, noise), scenes),
            "Drawing",
            len(scenes),
            progress,
        )
        object_info = _object_info(scenes, np.stack(list(pixels)))
    for name, text in (
        ("objectInfo150.txt", object_info),
        ("sceneCategories.txt", "".join(f"{scene.name} {scene.category}\n" for scene in scenes)),
        ("README.txt", _NOTE.format(seed=seed)),
    ):
        (folder / name).write_text(text, "utf-8")


def _generator(seed: int, split: _Split, number: int = 0) -> np.random.Generator:
    """Returns the random generator of an image (from 1), or of the sizes of a split (0)."""
    return np.random.default_rng((seed, split.column, number))


@contextmanager
def _thread_pool() -> Iterator[ThreadPoolExecutor]:
    """Yields a thread pool that cancels its waiting tasks if the block raises an error."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _load_sizes() -> np.ndarray:
    """Returns how often each image size occurs in ADE20K.

    Returns:
        Rows of height, width, number of training images, number of validation images.
    """
    text = resources.files("pdanet_tf.data.sources").joinpath("ade20k_sizes.csv").read_text("utf-8")
    return np.loadtxt(text.splitlines(), dtype=int, delimiter=",", skiprows=1)


def _draw_sizes(
    table: np.ndarray, column: int, count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Returns `count` sizes (height, width) at equal distances in the table, shuffled."""
    ends = np.cumsum(table[:, column])
    places = (np.arange(count) + rng.random()) / count * ends[-1]
    rows = table[np.searchsorted(ends, places, side="right")]
    return [(int(height), int(width)) for height, width in rng.permutation(rows[:, :2])]


def _draw_noise(seed: int) -> np.ndarray:
    """Returns periodic noise with the spectrum of natural images, `(_TILE, _TILE)`, std 1.

    Its amplitude falls as 1 / frequency (Field 1987, "Relations between the statistics of natural
    images and the response properties of cortical cells").
    """
    white = np.fft.rfft2(np.random.default_rng(seed).standard_normal((_TILE, _TILE)))
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE))
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(white / frequency)
    return (noise / noise.std()).astype("float32")


def _class_shares() -> np.ndarray:
    """Returns the share of "other" and of each of the 150 classes in the pixels, `(151,)`.

    The official list is sorted by share. A power of the rank approximates its shares with a mean
    error of 9 %.
    """
    shares = (np.arange(len(ADE20K_CLASSES)) + 4.75) ** -1.8
    return np.concatenate([[_OTHER_SHARE], shares * (1 - _OTHER_SHARE) / shares.sum()])


_SHARES = _class_shares()
_COLORS = np.array([(128, 128, 128), *ADE20K_CLASSES.colors])


@dataclass(frozen=True)
class _Scene:
    """One image with its annotation, which `write` draws."""

    split: _Split
    number: int  # from 1
    size: tuple[int, int]  # height and width
    seed: int

    @property
    def name(self) -> str:
        return f"{self.split.prefix}_{self.number:08d}"

    @property
    def category(self) -> str:
        """The category of the scene, which does not depend on the drawn image."""
        return _CATEGORIES[self.number % len(_CATEGORIES)]

    def write(self, folder: Path, noise: np.ndarray) -> np.ndarray:
        """Writes both files; returns the pixels of "other" and of each class, `(151,)`."""
        rng = _generator(self.seed, self.split, self.number)
        regions = _draw_regions(self.size, rng)
        # About 9 of these are visible in an image, as in ADE20K; the others are hidden.
        present = rng.choice(len(_SHARES), 2 + rng.poisson(13), p=_SHARES)
        classes = rng.choice(present, 256).astype("uint8")
        annotation = regions.point(classes.tolist())
        image = _paint(regions, classes, noise, rng)
        image.save(folder / "images" / self.split.folder / f"{self.name}.jpg", quality=75)
        annotation.save(folder / "annotations" / self.split.folder / f"{self.name}.png")
        return np.bincount(classes, regions.histogram(), len(_SHARES)).astype(int)


def _draw_regions(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Returns an image of mode "L" that contains the number of the region at every pixel."""
    height, width = size
    regions = Image.new("L", (width, height))
    draw = ImageDraw.Draw(regions)
    # Ground and walls: everything below a jagged horizon.
    bands = int(rng.integers(1, 4))
    for number, horizon in enumerate(np.sort(rng.uniform(0.2, 0.9, bands)), start=1):
        x = np.linspace(0, width, 12)
        y = height * (horizon + rng.normal(0, 0.02, 12))
        edge = np.stack([x, y], axis=1)
        draw.polygon([*map(tuple, edge), (width, height), (0, height)], fill=number)
    # Things: many small ones, a few large.
    count = min(255 - bands, round(rng.lognormal(3.0, 0.6)))
    for number in range(bands + 1, bands + 1 + count):
        corners = int(rng.integers(5, 40))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = min(size) * 0.25 * rng.beta(0.7, 2.5) * rng.uniform(0.6, 1.2, corners)
        x = width * rng.random() + radius * np.cos(angles) * rng.uniform(0.5, 2)
        y = height * rng.random() + radius * np.sin(angles)
        draw.polygon([*map(tuple, np.stack([x, y], axis=1))], fill=number)
    return regions


def _paint(
    regions: Image.Image, classes: np.ndarray, noise: np.ndarray, rng: np.random.Generator
) -> Image.Image:
    """Paints every region with a colour near that of its class, and a smooth or rough texture."""
    # The official colours are far more vivid than those of natural images.
    colors = 80 + 0.4 * _COLORS[classes] + rng.normal(0, 15, (256, 3))
    flat = regions.copy()
    flat.putpalette(np.clip(colors, 0, 255).astype("uint8").tobytes())
    rows, columns = (
        np.arange(side) + start
        for side, start in zip(regions.size[::-1], rng.integers(0, _TILE, 2), strict=True)
    )
    texture = noise.take(rows, axis=0, mode="wrap").take(columns, axis=1, mode="wrap")
    texture *= rng.gamma(1.5, 9, 256).astype("float32")[np.asarray(regions)]
    image = np.asarray(flat.convert("RGB")) + texture[..., None]
    return Image.fromarray(np.clip(image, 0, 255).astype("uint8"))


def _object_info(scenes: list[_Scene], pixels: np.ndarray) -> str:
    """Returns the frequencies of the classes in the format of the official table.

    Args:
        scenes: The drawn scenes.
        pixels: `(scenes, 151)`, number of pixels of "other" and of each class.
    """
    share = pixels.sum(axis=0) / pixels.sum()
    training, validation = (
        (pixels[[scene.split is split for scene in scenes]] > 0).sum(axis=0) for split in _SPLITS
    )
    rows = ["Idx\tRatio\tTrain\tVal\tName"]
    for number, name in enumerate(ADE20K_CLASSES.names, start=1):
        figures = f"{share[number]:.4f}\t{training[number]}\t{validation[number]}"
        rows.append(f"{number}\t{figures}\t{name}")
    return "\n".join(rows) + "\n"
