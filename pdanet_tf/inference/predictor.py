"""Inference on images of any size."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, overload

import keras
import numpy as np
from PIL import Image

from pdanet_tf.base.arrays import check_pixels
from pdanet_tf.base.choices import RUNTIMES, check_choice
from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.readers import resize_image
from pdanet_tf.inference.crf import CRFParameters, dense_crf, import_densecrf
from pdanet_tf.inference.graphs import compile_network
from pdanet_tf.inference.pixels import ImageLike, read_pixels
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.segmenters import as_pixel_model, is_segmenter, logits_function
from pdanet_tf.inference.settings import load_model
from pdanet_tf.inference.stored_windows import LogitStore, StoredView
from pdanet_tf.inference.windows import Tile, View, WindowedImage, compute_together, shift
from pdanet_tf.models.inspection import (
    check_channels,
    count_classes,
    default_pixel_format,
    split_pixel_model,
)
from pdanet_tf.ops.backend import require_tensorflow
from pdanet_tf.runtimes.network import convert_network

# Logits are interpolated, and classes decided, in parts that fit into the processor's cache.
VALUES_PER_STRIP = 2**21  # logits or probabilities that are computed at once: 8 MiB
_COLUMNS = 128  # of a tile; few columns depend on few cells, and their matrices are small
# Images that are computed together have this many pixels at most. Measured on two cores: 64 x 64
# pixels take 0.4 of their time alone, 184 x 248 pixels 0.84, 304 x 400 pixels 0.96.
_PIXELS_TOGETHER = 2**18


class Predictor:
    """A model that segments images of any size.

    Create it once and use it for many images: the model is loaded once, and its graphs are traced
    at the first image. Several threads may share one predictor.

    Args:
        model: A model from pixels `(batch, height, width, channels)` to logits, or to a
            dict with "logits"; or a `.keras` file, a published checkpoint or an architecture, see
            `pdanet_tf.inference.settings.load_model`. Logits of models that `build_model` built are
            upsampled once, from the size of the features to that of the result. Or a segmenter of
            KerasHub or KerasCV, with its preprocessor, see
            `pdanet_tf.inference.segmenters.as_pixel_model`.
        protocol: How images are presented to the model; by default the protocol that belongs to the
            model's weights, else the image's own size, at most 1000 pixels long.
        crf: Parameters of the CRF that refines the probabilities (extra `crf`); None for no
            refinement.
        classes: Names and colours of the classes; by default those that belong to the model's
            weights, else numbers.
        weights: Weights for the architecture that `model` names, see
            `pdanet_tf.inference.settings.load_model`.
        pixel_format: Number of channels of the images, and type of their values; by default what
            belongs to the model's weights, else RGB with 8 bits for a model of three channels, and
            any type for others.
        runtime: What runs the network: "onnxruntime" (extra `onnx`) or "openvino" (extra
            `openvino`), to which it is converted here, which takes seconds; "tensorflow"; or None
            for Keras' backend. Everything else is the same in every runtime.

    Attributes:
        model: The model.
        pixel_format: Number of channels of its images, and type of their values.
        protocol: How images are presented to it.
        crf: Parameters of the CRF, or None.
        classes: Names and colours of its classes.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If `crf` is given and pydensecrf2 is not installed, or the runtime is not
            installed.
        RuntimeError: If `runtime` is given and Keras runs on another backend than TensorFlow.
        ValueError: If the file does not hold a model, the number of classes or of channels is
            wrong, a segmenter returns neither logits nor the probabilities of a softmax, the model
            was built with `include_preprocessing=False`, a CRF is asked for
            images that are not RGB with 8 bits, or the runtime is unknown or does not compute in
            the model's precision.

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
        weights: str | os.PathLike[str] | None = None,
        pixel_format: PixelFormat | None = None,
        runtime: str | None = None,
    ) -> None:
        if runtime is not None:
            check_choice("runtime", runtime, RUNTIMES)
            require_tensorflow(f"The runtime {runtime}")
        self.model, settings = load_model(model, weights)
        is_foreign = is_segmenter(self.model)
        if is_foreign:
            if runtime is not None:
                raise ValueError(
                    "A segmenter of KerasHub or KerasCV runs on Keras' backend only. Received: "
                    f"runtime={runtime!r}"
                )
            self.model = as_pixel_model(self.model)
        if settings is not None:
            classes, protocol = classes or settings.classes, protocol or settings.protocol
            pixel_format = pixel_format or settings.pixel_format
        self.pixel_format = pixel_format or default_pixel_format(self.model)
        check_channels(self.model, self.pixel_format)
        _check_crf(crf, self.pixel_format)
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
            import_densecrf()  # if it is missing, the error comes before the first image
        if is_foreign:
            network, self._grid = self.model, None
        else:
            network, self._grid = split_pixel_model(self.model)
        self._logits, self._interpolate, self._probabilities = compile_network(network)
        if is_foreign:
            self._logits = logits_function(network)
        if runtime not in (None, "tensorflow"):
            self._logits = convert_network(network, runtime)

    @overload
    def predict(self, images: str | os.PathLike[str] | Image.Image) -> Prediction: ...
    @overload
    def predict(self, images: list[ImageLike] | tuple[ImageLike, ...]) -> list[Prediction]: ...
    @overload
    def predict(self, images: np.ndarray) -> Prediction | list[Prediction]: ...
    def predict(self, images: Any) -> Any:
        """Segments one image, or several one after the other.

        Args:
            images: A path or a Pillow image, both rotated as their EXIF orientation says; an array
                `(height, width, 3)`, uint8, RGB; a list or tuple of these; or an array
                `(batch, height, width, 3)`. A model of other images takes files and arrays of its
                channels and its type of values; in files of TIFF and .npy, they are not rotated.

        Returns:
            A prediction at the image's own size; for several images a list of them.

        Raises:
            DataError: If a file is missing, truncated or not an image.
            ValueError: If an array has another shape or dtype.
        """
        if isinstance(images, list | tuple) or (
            isinstance(images, np.ndarray) and images.ndim == 4
        ):
            return [self.predict(image) for image in images]
        pixels = read_pixels(images, self.pixel_format)
        return Prediction(self.label_map(pixels), pixels, self.classes)

    def probabilities(self, image: ImageLike, size: tuple[int, int] | None = None) -> np.ndarray:
        """Returns the probability of every class for every pixel.

        Args:
            image: One image, as `predict` takes it.
            size: (height, width) of the result; the image's by default.

        Returns:
            `(height, width, num_classes)`, float32.

        Raises:
            DataError: If a file is missing, truncated or not an image.
            ValueError: If an array has another shape or dtype.
        """
        image = read_pixels(image, self.pixel_format)
        views, size = self._views(image), size or image.shape[:2]
        probabilities = np.empty((*size, self._num_classes), "float32")
        for tile in self._tiles(size):
            probabilities[tile] = self._mean(views, tile, size)
        if self.crf is None:
            return probabilities
        return dense_crf(resize_image(image, size), probabilities, self.crf)

    def label_map(self, image: ImageLike, size: tuple[int, int] | None = None) -> np.ndarray:
        """Returns the most probable class of every pixel, `(height, width)`, int32.

        The probabilities of the whole image are never in memory at once, unless a CRF refines them.
        Arguments and errors are those of `probabilities`.
        """
        if self.crf is not None:
            return self.probabilities(image, size).argmax(-1).astype("int32")
        image = read_pixels(image, self.pixel_format)
        return self._label_map(self._views(image), size or image.shape[:2])

    def confident_label_map(
        self, image: ImageLike, size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the label map, as `label_map` does, and the probability of each pixel's class.

        The probabilities of the whole image are never in memory at once, unless a CRF refines them.
        Arguments and errors are those of `probabilities`.

        Returns:
            The label map, `(height, width)`, int32, and the probabilities (0 to 1),
            `(height, width)`, float32.
        """
        if self.crf is not None:
            probabilities = self.probabilities(image, size)
            return probabilities.argmax(-1).astype("int32"), probabilities.max(-1)
        image = read_pixels(image, self.pixel_format)
        views, size = self._views(image), size or image.shape[:2]
        labels, confidence = np.empty(size, "int32"), np.empty(size, "float32")
        for tile in self._tiles(size):
            scores, are_logits = self._scores(views, tile, size)
            labels[tile] = scores.argmax(-1)
            highest = scores.max(-1)
            if are_logits:  # the largest term of the softmax
                highest = 1 / np.exp(scores - highest[..., None]).sum(-1)
            confidence[tile] = highest
        return labels, confidence

    def label_maps(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the label maps of several images, `(height, width)`, int32, in their order.

        Small images of one size are computed together, which takes less time and gives the same
        label maps.

        Args:
            images: Images as arrays of any sizes, see `predict`.

        Raises:
            DataError: If the protocol enlarges an image beyond the limit of pixels.
            ValueError: If an array has another shape or dtype.
        """
        if self.crf is not None:
            return [self.label_map(image) for image in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            check_pixels(image, self.pixel_format)
            groups.setdefault(image.shape, []).append(index)
        found: dict[int, np.ndarray] = {}
        for shape, indices in groups.items():
            pixels = sum(math.prod(size) for size in self.protocol.sizes((shape[0], shape[1])))
            step = max(1, _PIXELS_TOGETHER // pixels)
            for start in range(0, len(indices), step):
                batch = indices[start : start + step]
                views = [self._views(images[index]) for index in batch]
                for views_of_size in zip(*views, strict=True):
                    compute_together(views_of_size)
                for index, views_of_image in zip(batch, views, strict=True):
                    found[index] = self._label_map(views_of_image, (shape[0], shape[1]))
        return [found[index] for index in range(len(images))]

    def _label_map(self, views: Sequence[View], size: tuple[int, int]) -> np.ndarray:
        labels = np.empty(size, "int32")
        for tile in self._tiles(size):
            labels[tile] = self._most_probable(views, tile, size)
        return labels

    def label_blocks(
        self,
        image: WindowedImage,
        protocol: Protocol,
        size: tuple[int, int],
        blocks: Iterable[Tile],
        folder: Path,
    ) -> Iterator[np.ndarray]:
        """Yields parts of the label map of an image that does not fit into memory.

        A few windows are in memory at the same time, whatever the size of the image; the logits of
        the others that are still required are in a temporary file.

        Args:
            image: The image at its working size.
            protocol: The windows, and whether they are also mirrored.
            size: (height, width) of the label map.
            blocks: The rows and columns of each part, from the top to the bottom.
            folder: An existing folder for the temporary file.

        Yields:
            The most probable class of every pixel of a block, `(rows, columns)`, int32.

        Raises:
            DataError: If a window cannot be read.
        """
        with TemporaryFile(dir=folder) as file:
            view = StoredView(
                image, protocol, self._num_classes, self._logits, self._grid, LogitStore(file)
            )
            for rows, columns in blocks:
                view.release_above(rows.start, size)
                labels = np.empty((rows.stop - rows.start, columns.stop - columns.start), "int32")
                for part in self._tiles(labels.shape):
                    tile = shift(part[0], -rows.start), shift(part[1], -columns.start)
                    labels[part] = self._most_probable([view], tile, size)
                yield labels

    def _most_probable(
        self, views: Sequence[View], tile: Tile, size: tuple[int, int]
    ) -> np.ndarray:
        """Returns the most probable class of each pixel of a tile."""
        # The class of the largest logit is the most probable one.
        return self._scores(views, tile, size)[0].argmax(-1)

    def _scores(
        self, views: Sequence[View], tile: Tile, size: tuple[int, int]
    ) -> tuple[np.ndarray, bool]:
        """Returns the logits or the probabilities of a tile, and whether they are logits."""
        if len(views) == 1 and views[0].is_single:
            return views[0].logits(tile, size, self._interpolate), True
        return self._mean(views, tile, size), False

    def _views(self, image: np.ndarray) -> list[View]:
        return [
            View(
                resize_image(image, working_size),
                self.protocol,
                self._num_classes,
                self._logits,
                self._grid,
            )
            for working_size in self.protocol.sizes(image.shape[:2])
        ]

    def _tiles(self, size: tuple[int, int]) -> list[Tile]:
        """Divides a result into tiles, from top to bottom, then from left to right."""
        height, width = size
        step = max(1, VALUES_PER_STRIP // (min(width, _COLUMNS) * self._num_classes))
        return [
            (slice(row, min(row + step, height)), slice(column, min(column + _COLUMNS, width)))
            for row in range(0, height, step)
            for column in range(0, width, _COLUMNS)
        ]

    def _mean(self, views: Sequence[View], tile: Tile, size: tuple[int, int]) -> np.ndarray:
        """Returns the probabilities of a tile, averaged over the views."""
        first, *others = (view.probabilities(tile, size, self._probabilities) for view in views)
        for probabilities in others:
            first += probabilities
        return first / len(views)


def _check_crf(crf: CRFParameters | None, pixel_format: PixelFormat) -> None:
    if crf is not None and not pixel_format.is_rgb:
        raise ValueError(
            "The CRF compares colours, so it requires RGB images with 8 bits. Received: images of "
            f"{pixel_format}. Leave the CRF out"
        )
