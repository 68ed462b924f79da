"""Lets tf.data call Python safely.

At exit, Python waits for running calls, and errors keep their own message.

tf.data calls Python from threads of TensorFlow. Without `counted`, the process can hang at exit;
without `ErrorRecordingDataset`, an error about a user's file ends as a traceback of TensorFlow.
"""

import atexit
import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from PIL import Image

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data.bands import BandImage
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.validation.image import ImageReport

_Result = TypeVar("_Result")
_PAUSE = 0.1  # seconds without a call after which no more calls are expected
_LONGEST_WAIT = 10.0  # seconds


class _CallCounter:
    """Counts running calls, and waits until there are none.

    When Python exits, a thread of TensorFlow that requests Python's global lock never gets it, and
    an iterator that still exists waits for that thread forever. Waiting for a pause in the calls
    avoids this: pipelines prefetch a limited number of batches, so the calls stop soon after the
    last batch was taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._latest = time.monotonic()

    def counted(self, function: Callable[..., _Result]) -> Callable[..., _Result]:
        """Returns a function that counts its calls while they run."""

        @functools.wraps(function)
        def call(*arguments: object) -> _Result:
            self._change(1)
            try:
                return function(*arguments)
            finally:
                self._change(-1)

        return call

    def _change(self, change: int) -> None:
        with self._lock:
            self._running += change
            self._latest = time.monotonic()

    def wait_for_pause(self) -> None:
        """Waits until no call has run for 0.1 s, but for 10 s at most."""
        deadline = time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < deadline:
            if not self._running and time.monotonic() - self._latest > _PAUSE:
                return
            time.sleep(_PAUSE / 4)


_counter = _CallCounter()
counted = _counter.counted  # decorates the Python functions that tf.data calls
atexit.register(_counter.wait_for_pause)


class ErrorRecordingDataset(SegmentationDataset):
    """Wraps a data set, and records the first `DataError` while batches are made of it.

    tf.data replaces an error of a Python function by an error of TensorFlow, whose message is
    about graph nodes and contains a traceback. `original_errors` raises the recorded error instead.

    Args:
        dataset: The data set to read from.
    """

    def __init__(self, dataset: SegmentationDataset) -> None:
        super().__init__(dataset.classes)
        self.void_label = dataset.void_label
        self.label_offset = dataset.label_offset
        self.mean = dataset.mean
        self.std = dataset.std
        self._dataset = dataset
        self._error: DataError | None = None

    @property
    def pixel_format(self) -> PixelFormat:
        """Number of channels of the images, and type of their values."""
        return self._dataset.pixel_format

    def __len__(self) -> int:
        return len(self._dataset)

    def name(self, index: int) -> str:
        """Returns the name of an image."""
        return self._dataset.name(index)

    def size(self, index: int) -> tuple[int, int]:
        """Returns the (height, width) of an image."""
        return self._dataset.size(index)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its label map."""
        return self._dataset.read(index)

    def read_pil(self, index: int) -> tuple[Image.Image | BandImage, np.ndarray]:
        """Returns the same as `read`, but the image with the methods of a Pillow image."""
        return self._dataset.read_pil(index)

    def read_label_map(self, index: int) -> np.ndarray:
        """Returns the label map alone."""
        return self._dataset.read_label_map(index)

    def hash_annotation(self, index: int) -> bytes | None:
        """Returns a hash of an annotation; see `SegmentationDataset.hash_annotation`."""
        return self._dataset.hash_annotation(index)

    def recording_errors(self, function: Callable[..., _Result]) -> Callable[..., _Result]:
        """Returns a function that does the same, and records its first `DataError`."""

        @functools.wraps(function)
        def call(*arguments: object) -> _Result:
            try:
                return function(*arguments)
            except DataError as error:
                self._error = self._error or error
                raise

        return call

    def examine(self, index: int) -> ImageReport:
        """Reads an image and its label map, and returns their properties and problems."""
        return self._dataset.examine(index)

    def check(self) -> None:
        """Raises `DataError` if the files have a problem."""
        self._dataset.check()

    @contextmanager
    def original_errors(self) -> Iterator[None]:
        """Raises the recorded error instead of the TensorFlow error that replaced it."""
        try:
            yield
        except Exception as error:
            if self._error is not None:
                # An error of the user's own code keeps its traceback.
                raise self._error from (self._error.__cause__ or error)
            raise
