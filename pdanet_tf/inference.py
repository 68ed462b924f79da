"""From an image to probabilities, a label map, and a picture of it."""

import dataclasses
import functools
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import keras
import numpy as np
from keras import ops
from PIL import Image

from pdanet_tf.crf import CRFParameters, dense_crf, import_densecrf
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.readers import convert_picture, read_image, resize_image
from pdanet_tf.fields import check_fields, from_mapping
from pdanet_tf.files import one_line, read_json, write_atomically
from pdanet_tf.layers.grid import CellGrid
from pdanet_tf.layers.resizing import sampling_matrix
from pdanet_tf.models import build_model
from pdanet_tf.models.segmentation import (
    NORMALIZED_IMAGE,
    find_logits,
    split_upsampling,
)
from pdanet_tf.models.weights import load_keras_file
from pdanet_tf.published import CHECKPOINTS
from pdanet_tf.visualization import draw_overlay
from pdanet_tf.wording import quantity

SETTINGS_FILE = "inference.json"
VALUES_PER_STRIP = 2**24  # probabilities that are held at once: 64 MiB
_KEPT = 4  # models that `predict` keeps
ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray


@dataclass(frozen=True)
class Protocol:
    """How a model sees an image: at which sizes, whole or in windows, mirrored or not.

    The image is resized to every short edge, its long edge being at most `max_size`, with both
    sides rounded up to a multiple of 8; the probabilities are averaged over the sizes. This is
    the protocol of the reference, which uses 450, or 300, 375, 450, 525 and 600.

    Attributes:
        short_edges: Short edges in pixels, or None for the image's own size.
        max_size: Longest edge in pixels.
        flip: Whether the model also sees every image mirrored from left to right; the
            probabilities are averaged.
        crop_size: (height, width) of the windows that slide over the resized image, multiples of
            8, for models trained on crops; the probabilities of overlapping windows are averaged.
            None to see the image whole.
        stride: (rows, columns) from one window to the next; two thirds of a window by default.

    Raises:
        ValueError: If a value has another type or is out of range.
    """

    short_edges: tuple[int, ...] | None = None
    max_size: int = 1000
    flip: bool = False
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        edges = self.short_edges
        if (edges is not None and (not edges or min(edges) < 1)) or self.max_size < 1:
            raise ValueError(
                "short_edges and max_size must be at least 1. "
                f"Received: short_edges={edges}, max_size={self.max_size}"
            )
        crop, stride = self.crop_size, self.stride
        if crop is not None and (min(crop) < 8 or any(side % 8 for side in crop)):
            raise ValueError(f"crop_size must be multiples of 8. Received: crop_size={crop}")
        if stride is not None and crop is None:
            raise ValueError(f"stride goes with crop_size. Received: stride={stride}")
        if stride is not None and not all(
            1 <= step <= side for step, side in zip(stride, crop or (), strict=True)
        ):
            raise ValueError(
                "stride must be at least 1 and at most crop_size, so that windows leave no gap. "
                f"Received: stride={stride}, crop_size={crop}"
            )

    def sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Returns every (height, width) at which an image of a given size is seen."""
        return [self._size(size, edge) for edge in self.short_edges or (min(size),)]

    def _size(self, size: tuple[int, int], short_edge: int) -> tuple[int, int]:
        scale = min(short_edge / min(size), self.max_size / max(size))
        height, width = (max(8, -(-int(side * scale) // 8) * 8) for side in size)
        return height, width

    def windows(self, size: tuple[int, int]) -> list[tuple[slice, slice]]:
        """Returns the windows (rows, columns) of an image that was resized to `size`.

        They go from top to bottom and from left to right; the last of a row or column ends
        where the image does.
        """
        crops = self.crop_size or size
        steps = self.stride or tuple(max(1, 2 * side // 3) for side in crops)
        rows, columns = (
            _slices(side, min(crop, side), step)
            for side, crop, step in zip(size, crops, steps, strict=True)
        )
        return list(itertools.product(rows, columns))


def _slices(side: int, crop: int, step: int) -> list[slice]:
    starts = [*range(0, side - crop, step), side - crop]
    return [slice(start, start + crop) for start in starts]


class Predictor:
    """A model with all that is needed to segment images of any size with it.

    It is made once and used for many images: the model is loaded and its graphs are traced at the
    first. Several threads may use one predictor.

    Args:
        model: A model from RGB pixels (0 to 255) `(batch, height, width, 3)` to logits, or to a
            dict with "logits"; a `.keras` file of one; or the name of a published checkpoint, see
            `load_model`. Logits of models of `build_model` are upsampled once, from the backbone's
            size straight to the wanted one.
        protocol: How the model sees an image; by default what stands beside the model's file, else
            the image's own size, at most 1000 pixels long.
        crf: Parameters of the CRF that refines the probabilities (extra `crf`); None for none.
        classes: Names and colours of the classes; by default those beside the model's file, else
            the numbers.

    Attributes:
        model: The model.
        protocol: How it sees an image.
        crf: Parameters of the CRF, or None.
        classes: Names and colours of its classes.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If `crf` is given and pydensecrf2 is not installed.
        ValueError: If the file is no model, the number of classes is wrong, or the model was built
            with `include_preprocessing=False`.

    Example:
        ```python
        predictor = pdanet_tf.Predictor("runs/first/best.keras")
        prediction = predictor.predict("photo.jpg")
        prediction.overlay.save("overlay.png")
        for prediction in predictor.predict(["a.jpg", "b.jpg"]):
            print(prediction.areas())
        ```
    """

    def __init__(
        self,
        model: keras.Model | str | os.PathLike[str],
        protocol: Protocol | None = None,
        crf: CRFParameters | None = None,
        classes: Classes | None = None,
    ) -> None:
        self.model, settings = load_model(model)
        if settings is not None:
            classes, protocol = classes or settings.classes, protocol or settings.protocol
        self._num_classes = count_classes(self.model)
        self.protocol = protocol or Protocol()
        self.classes = classes or Classes.numbered(self._num_classes)
        self.crf = crf
        if len(self.classes) != self._num_classes:
            raise ValueError(
                f"The model has {quantity(self._num_classes, 'class', 'classes')}. "
                f"Received: {quantity(len(self.classes), 'class', 'classes')}"
            )
        if crf is not None:
            import_densecrf()  # raises now, and not after the first image
        network, self._grid = split_pixel_model(self.model)
        self._logits, self._interpolate, self._probabilities = _compile(network)

    @overload
    def predict(self, images: ImageLike) -> "Prediction": ...
    @overload
    def predict(self, images: list[ImageLike] | tuple[ImageLike, ...]) -> "list[Prediction]": ...
    def predict(self, images: Any) -> Any:
        """Segments an image, or several one after another.

        Args:
            images: A file, turned upright as its EXIF orientation says; one of Pillow's images,
                likewise; or an array `(height, width, 3)`, uint8, RGB. Or a sequence of them, or an
                array `(batch, height, width, 3)`.

        Returns:
            A prediction at the image's own size; for several a list of them.

        Raises:
            DataError: If a file is missing, truncated or no image.
            ValueError: If an array has another shape or dtype.
        """
        if isinstance(images, list | tuple) or (
            isinstance(images, np.ndarray) and images.ndim == 4
        ):
            return [self.predict(image) for image in images]
        pixels = read_pixels(images)
        return Prediction(self.label_map(pixels), pixels, self.classes)

    def probabilities(self, image: ImageLike, size: tuple[int, int] | None = None) -> np.ndarray:
        """Returns the probability of every class for every pixel.

        Args:
            image: One image, as `predict` takes it.
            size: (height, width) of the result; the image's by default.

        Returns:
            `(height, width, num_classes)`, float32.

        Raises:
            DataError: If a file is missing, truncated or no image.
            ValueError: If an array has another shape or dtype.
        """
        image = read_pixels(image)
        views, size = self._views(image), size or image.shape[:2]
        strips = [self._mean(views, rows, size) for rows in self._strips(size)]
        probabilities = np.concatenate(strips)
        if self.crf is None:
            return probabilities
        return dense_crf(resize_image(image, size), probabilities, self.crf)

    def label_map(self, image: ImageLike, size: tuple[int, int] | None = None) -> np.ndarray:
        """Returns the most probable class of every pixel, `(height, width)`, int32.

        The probabilities of the whole image are never held at once, unless a CRF refines them.
        Arguments and errors are those of `probabilities`.
        """
        if self.crf is not None:
            return self.probabilities(image, size).argmax(-1).astype("int32")
        image = read_pixels(image)
        views, size = self._views(image), size or image.shape[:2]
        if len(views) == 1 and views[0].is_single:
            # The most probable class is that of the largest logit.
            view = views[0]
            scores = (view.logits(rows, size, self._interpolate) for rows in self._strips(size))
        else:
            scores = (self._mean(views, rows, size) for rows in self._strips(size))
        return np.concatenate([strip.argmax(-1) for strip in scores]).astype("int32")

    def _views(self, image: np.ndarray) -> list["_View"]:
        return [
            _View(
                resize_image(image, working_size),
                self.protocol,
                self._num_classes,
                self._logits,
                self._grid,
            )
            for working_size in self.protocol.sizes(image.shape[:2])
        ]

    def _strips(self, size: tuple[int, int]) -> list[slice]:
        """Cuts the rows of a result into strips, from top to bottom."""
        height, width = size
        step = max(1, VALUES_PER_STRIP // (width * self._num_classes))
        return [slice(start, min(start + step, height)) for start in range(0, height, step)]

    def _mean(self, views: Sequence["_View"], rows: slice, size: tuple[int, int]) -> np.ndarray:
        """Returns the probabilities of a strip, averaged over the views."""
        total = np.zeros((rows.stop - rows.start, size[1], self._num_classes), "float32")
        for view in views:
            total += view.probabilities(rows, size, self._probabilities)
        return total / len(views)


class _View:
    """An image at one size, seen through windows.

    Windows side by side, and their mirror images, are computed at once, when their rows are needed.

    Args:
        image: The resized image, `(height, width, 3)`, uint8.
        protocol: Tells the windows.
        num_classes: Number of classes.
        compute_logits: From pixels `(batch, height, width, 3)` to logits.
        grid: Where the logits lie in a window; None stretches them over it.
    """

    def __init__(
        self,
        image: np.ndarray,
        protocol: Protocol,
        num_classes: int,
        compute_logits: Callable[..., Any],
        grid: CellGrid | None,
    ) -> None:
        self.image = image
        self.grid = grid
        windows = protocol.windows((image.shape[0], image.shape[1]))
        self.bands = [list(band) for _, band in itertools.groupby(windows, lambda pair: pair[0])]
        self.flip = protocol.flip
        self.num_classes = num_classes
        self.compute_logits = compute_logits
        self._logits: dict[int, Any] = {}

    @property
    def is_single(self) -> bool:
        """Whether every pixel is seen once."""
        return sum(map(len, self.bands)) == 1 and not self.flip

    def logits(
        self, rows: slice, size: tuple[int, int], interpolate: Callable[..., Any]
    ) -> np.ndarray:
        """Returns the logits of a strip of an image that is seen once; see `probabilities`."""
        ((_, *part),) = self._parts(rows, size)
        return ops.convert_to_numpy(interpolate(*part))[0]

    def probabilities(
        self, rows: slice, size: tuple[int, int], compute_probabilities: Callable[..., Any]
    ) -> np.ndarray:
        """Returns the mean over windows, and over their mirror images, of a strip.

        Args:
            rows: The strip's rows.
            size: (height, width) of the whole result.
            compute_probabilities: From logits and the matrices that interpolate rows and columns
                to probabilities.

        Returns:
            `(rows, width, num_classes)`, float32.
        """
        strip = (rows.stop - rows.start, size[1])
        total = np.zeros((*strip, self.num_classes), "float32")
        counts = np.zeros((*strip, 1), "float32")
        for place, *part in self._parts(rows, size):
            total[place] += ops.convert_to_numpy(compute_probabilities(*part))[0]
            counts[place] += 1
        total /= counts
        return total

    def _parts(
        self, rows: slice, size: tuple[int, int]
    ) -> Iterator[tuple[tuple[slice, slice], Any, Any, Any]]:
        """Yields what is seen of a strip: where, logits, and the matrices that interpolate them."""
        height, width = self.image.shape[:2]
        for index, band in enumerate(self.bands):
            vertical = _Span.of(band[0][0], height, size[0]).within(rows)
            if vertical.outputs.start == vertical.outputs.stop:
                self._logits.pop(index, None)
                continue
            logits = self._band_logits(index)
            down = vertical.matrix(logits.shape[1], self.grid)
            for number, (_, columns) in enumerate(band):
                horizontal = _Span.of(columns, width, size[1])
                place = vertical.shifted(rows.start), horizontal.outputs
                across = horizontal.matrix(logits.shape[2], self.grid)
                yield place, logits[number][None], down, across
                if self.flip:
                    across = horizontal.mirrored().matrix(logits.shape[2], self.grid)
                    yield place, logits[len(band) + number][None], down, across

    def _band_logits(self, index: int) -> Any:
        """Returns the logits of windows side by side, then those of their mirror images."""
        if index not in self._logits:
            windows = [self.image[window] for window in self.bands[index]]
            if self.flip:
                windows += [window[:, ::-1] for window in windows]
            self._logits[index] = self.compute_logits(np.stack(windows).astype("float32"))
        return self._logits[index]


@dataclass(frozen=True)
class _Span:
    """Along one axis: which outputs a window covers, and where in it they lie.

    Attributes:
        window: Length of the window in pixels.
        outputs: The outputs whose centres lie in the window.
        centres: Of each, the distance from the window's edge, in units of 1 / (2 * unit) pixels.
        unit: Number of outputs along the whole axis.
    """

    window: int
    outputs: slice
    centres: np.ndarray
    unit: int

    @classmethod
    def of(cls, window: slice, length: int, num_outputs: int) -> "_Span":
        """Returns the span of a window of a line of `length` pixels and so many outputs."""
        centres = (2 * np.arange(num_outputs, dtype="int64") + 1) * length
        edges = (2 * num_outputs * window.start, 2 * num_outputs * window.stop)
        start, stop = np.searchsorted(centres, edges)
        outputs = slice(int(start), int(stop))
        return cls(window.stop - window.start, outputs, centres[outputs] - edges[0], num_outputs)

    def within(self, outputs: slice) -> "_Span":
        """Returns the part of the span that lies in a range of outputs."""
        start = max(self.outputs.start, outputs.start)
        stop = max(start, min(self.outputs.stop, outputs.stop))
        inside = slice(start - self.outputs.start, stop - self.outputs.start)
        return dataclasses.replace(self, outputs=slice(start, stop), centres=self.centres[inside])

    def mirrored(self) -> "_Span":
        """Returns the same outputs, seen in the mirror image of the window."""
        return dataclasses.replace(self, centres=2 * self.unit * self.window - self.centres)

    def shifted(self, origin: int) -> slice:
        """Returns the outputs counted from another origin."""
        return slice(self.outputs.start - origin, self.outputs.stop - origin)

    def matrix(self, size: int, grid: CellGrid | None) -> Any:
        """Returns the (outputs, size) matrix that interpolates `size` cells of the window.

        `grid` tells where the cells lie in the window; None stretches them over it.
        """
        centres = self.centres
        if grid is None:
            common = math.gcd(size, self.window)
            centres = centres * (size // common)
            stride = self.window // common
            grid = CellGrid(stride, (stride - 1) / 2)
        return sampling_matrix(centres.astype("int32"), self.unit, size, grid, "float32")


def read_pixels(image: ImageLike) -> np.ndarray:
    """Returns an image as `(height, width, 3)`, uint8, RGB.

    Args:
        image: As `Predictor.predict` takes it.

    Raises:
        DataError: If a file is missing, truncated or no image.
        ValueError: If an array has another shape or dtype.
    """
    if isinstance(image, Image.Image):
        return np.asarray(convert_picture(image, honour_orientation=True))
    if not isinstance(image, np.ndarray):
        return read_image(image, honour_orientation=True)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            "An image must have the shape (height, width, 3), with the channels red, green and "
            f"blue, and dtype uint8. Received: shape={image.shape}, dtype={image.dtype}"
        )
    return image


def split_pixel_model(model: keras.Model) -> tuple[keras.Model, CellGrid | None]:
    """Splits a model of pixels as `split_upsampling` does.

    Raises:
        ValueError: If the model was built with `include_preprocessing=False`, or is not one from
            images to logits.
    """
    find_logits(model, repr(model.name))
    if model.inputs[0].name == NORMALIZED_IMAGE:
        raise ValueError(
            f"The model {model.name!r} takes normalised images, not pixels: build it with "
            "include_preprocessing=True (the weights are the same)."
        )
    return split_upsampling(model)


def _compile(
    model: keras.Model,
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Returns a function to logits, one that interpolates these, and one to probabilities of it.

    The latter two take logits, and the matrices that interpolate rows and columns.
    """

    def compute_logits(images: Any) -> Any:
        outputs = model(images, training=False)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        return ops.cast(logits, "float32")  # from float64

    def interpolate(logits: Any, vertical: Any, horizontal: Any) -> Any:
        batch, height, width, channels = ops.shape(logits)
        x = ops.reshape(ops.cast(logits, "float32"), (batch, height, width * channels))
        x = ops.reshape(ops.matmul(vertical, x), (batch, -1, width, channels))
        return ops.matmul(horizontal, x)

    def compute_probabilities(logits: Any, vertical: Any, horizontal: Any) -> Any:
        x = interpolate(logits, vertical, horizontal)
        # `softmax` warns of a single class.
        return ops.softmax(x, axis=-1) if x.shape[-1] > 1 else ops.ones_like(x)

    if keras.backend.backend() != "tensorflow":
        return compute_logits, interpolate, compute_probabilities
    import tensorflow as tf

    # One graph each for images of every size.
    images = tf.TensorSpec((None, None, None, 3), "float32")
    logits = tf.TensorSpec((None, None, None, count_classes(model)), "float32")
    matrix = tf.TensorSpec((None, None), "float32")
    return (
        _graph(compute_logits, images),
        _graph(interpolate, logits, matrix, matrix),
        _graph(compute_probabilities, logits, matrix, matrix),
    )


def _graph(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
    """Returns a function in one graph of TensorFlow's, which is traced at the first call.

    `tf.function` itself would warn of retracing from the third predictor on: it takes the functions
    of all predictors for one.
    """
    import tensorflow as tf

    @functools.cache
    def trace() -> Any:
        return tf.function(function, input_signature=signature).get_concrete_function()

    def call(*tensors: Any) -> Any:
        return trace()(
            *(tf.convert_to_tensor(x, s.dtype) for x, s in zip(tensors, signature, strict=True))
        )

    return call


@dataclass(frozen=True)
class InferenceSettings:
    """What has to be known beside a model's weights in order to use it.

    Training writes it as `inference.json` beside its checkpoints.

    Attributes:
        classes: Names and colours of the classes.
        protocol: How the model sees an image.
    """

    classes: Classes
    protocol: Protocol

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `inference.json` into a folder."""
        content = {
            "classes": [
                {"name": name, "color": color}
                for name, color in zip(self.classes.names, self.classes.colors, strict=True)
            ],
            **dataclasses.asdict(self.protocol),
        }
        write_atomically(Path(folder) / SETTINGS_FILE, json.dumps(content, indent=2))

    @classmethod
    def beside(cls, model_file: str | os.PathLike[str]) -> "InferenceSettings | None":
        """Reads the `inference.json` in the folder of a model's file; None if there is none.

        A published checkpoint has the classes of its data set, and the reference's protocol.

        Raises:
            ValueError: If the file holds anything else; the message names it.
        """
        if str(model_file) in CHECKPOINTS:
            return cls(CHECKPOINTS[str(model_file)].classes, Protocol(short_edges=(450,)))
        path = Path(model_file).parent / SETTINGS_FILE
        if not path.is_file():
            return None
        content = read_json(path)
        try:
            entries = content.pop("classes", None)
            if not isinstance(entries, list) or not all(
                isinstance(entry, dict) and entry.keys() == {"name", "color"} for entry in entries
            ):
                raise ValueError('"classes" must be a list of objects with "name" and "color"')
            columns = {
                field: [entry[key] for entry in entries]
                for field, key in (("names", "name"), ("colors", "color"))
            }
            return cls(from_mapping(Classes, columns), from_mapping(Protocol, content))
        except ValueError as error:
            raise ValueError(
                f"{path}: not what training writes beside a model: {one_line(error)}"
            ) from error


def load_model(
    model: keras.Model | str | os.PathLike[str],
) -> tuple[keras.Model, InferenceSettings | None]:
    """Loads a `.keras` file or a published checkpoint with its settings.

    Args:
        model: A `.keras` file; the name of a published checkpoint, one of
            `pdanet_tf.published.CHECKPOINTS`, which is downloaded where it is not in the cache
            (extra `torch`); or a model, which is returned as it is.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If a published checkpoint is named and PyTorch is not installed.
        OSError: If it cannot be downloaded.
        ValueError: If the file is no model from images to logits.
    """
    if isinstance(model, keras.Model):
        return model, None
    published = CHECKPOINTS.get(str(model))
    if published is None:
        loaded, settings = load_keras_file(model), InferenceSettings.beside(model)
        find_logits(loaded, str(model))
        if settings is not None and len(settings.classes) != count_classes(loaded):
            raise ValueError(
                f"{Path(model).parent / SETTINGS_FILE}: expected the {count_classes(loaded)} "
                f"classes of {Path(model).name}, found {len(settings.classes)}"
            )
        return loaded, settings
    loaded = build_model(
        published.model,
        published.num_classes,
        normalization=published.normalization,
        weights=str(model),
    )
    return loaded, InferenceSettings.beside(model)


@dataclass(frozen=True)
class Prediction:
    """What a model sees in a picture.

    Attributes:
        label_map: The class of every pixel, `(height, width)`, int32.
        image: The picture itself, `(height, width, 3)`, uint8, RGB, upright.
        classes: Names and colours.
    """

    label_map: np.ndarray
    image: np.ndarray
    classes: Classes

    @functools.cached_property
    def overlay(self) -> Image.Image:
        """The picture with the classes laid over it, and a legend of them by area."""
        return draw_overlay(self.image, self.label_map, self.classes)

    @property
    def label_image(self) -> Image.Image:
        """The label map as a one-channel picture, 8 bits, or 16 for more than 256 classes."""
        return Image.fromarray(
            self.label_map.astype("uint8" if len(self.classes) <= 256 else "uint16")
        )

    @property
    def palette_image(self) -> Image.Image:
        """The label map as a palette image: its indices are the classes, shown in their colours.

        Raises:
            ValueError: If there are more than 256 classes, the most that a palette holds.
        """
        if len(self.classes) > 256:
            raise ValueError(
                f"A palette holds 256 colours. Received: {len(self.classes)} classes; use "
                "label_image"
            )
        image = Image.fromarray(self.label_map.astype("uint8"))
        image.putpalette([value for color in self.classes.colors for value in color])
        return image

    def areas(self) -> dict[str, float]:
        """Returns the share (0 to 1) of each class in the picture, largest first."""
        counts = np.bincount(self.label_map.ravel(), minlength=len(self.classes))
        order = np.argsort(-counts, kind="stable")
        return {
            self.classes.names[index]: float(counts[index] / self.label_map.size)
            for index in order
            if counts[index]
        }


def predict(
    image: ImageLike,
    model: keras.Model | str | os.PathLike[str],
    classes: Classes | None = None,
    protocol: Protocol | None = None,
    crf: CRFParameters | None = None,
) -> Prediction:
    """Segments an image.

    The last few models are kept, so that further calls with them load and trace nothing; a file
    that has changed is loaded again. `Predictor` takes several images, and keeps a model as long as
    you keep it.

    Args:
        image: One image, as `Predictor.predict` takes it.
        model: See `Predictor`.
        classes: See `Predictor`.
        protocol: See `Predictor`.
        crf: See `Predictor`.

    Returns:
        The label map at the image's size; the image with the classes laid over it, and a legend.

    Raises:
        DataError: If the file is missing, truncated or no image.
        FileNotFoundError: If there is no such model file.
        ValueError: If an array has another shape or dtype, or the number of classes is wrong.

    Example:
        ```python
        prediction = pdanet_tf.predict("photo.jpg", "runs/first/best.keras")
        prediction.overlay.save("overlay.png")
        ```
    """
    if not isinstance(model, keras.Model):
        # A file is known by its whole path, a published checkpoint by its name.
        path = Path(model) if str(model) in CHECKPOINTS else Path(model).absolute()
        versions = _version(path), _version(path.parent / SETTINGS_FILE)
        model, settings = _load_unchanged(path, *versions)
        if settings is not None:
            classes, protocol = classes or settings.classes, protocol or settings.protocol
    return _predictor(model, protocol, crf, classes).predict(read_pixels(image))


def count_classes(model: keras.Model) -> int:
    """Returns the number of classes that a model tells apart.

    Raises:
        ValueError: If the model is not one from images to logits.
    """
    return find_logits(model, repr(model.name)).shape[-1]


def _version(path: Path) -> tuple[int, int] | None:
    """Returns what changes when a file is written; None if there is no such file."""
    if not path.is_file():
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=_KEPT)
def _load_unchanged(
    path: Path, *_: tuple[int, int] | None
) -> tuple[keras.Model, InferenceSettings | None]:
    """Loads a model with its settings, once for the given versions of their files."""
    return load_model(path)


@functools.lru_cache(maxsize=_KEPT)
def _predictor(
    model: keras.Model,
    protocol: Protocol | None,
    crf: CRFParameters | None,
    classes: Classes | None,
) -> Predictor:
    """Keeps the graphs of the last models, for those who predict one image after another."""
    return Predictor(model, protocol, crf, classes)
