"""Python functions that TensorFlow's threads call, which must not be cut off at exit."""

import atexit
import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from PIL import Image

from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.examination import Examination
from pdanet_tf.data.problems import DataError

_Result = TypeVar("_Result")
_PAUSE = 0.1  # seconds without a call, after which none is expected
_LONGEST_WAIT = 10.0


class _Calls:
    """Counts calls, and can wait for a pause.

    When Python ends, a thread of TensorFlow that asks for Python's lock never gets it, and an
    iterator that is still held waits for that thread for ever. Pipelines read ahead only so far:
    a moment after the last batch was taken nobody asks any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._latest = time.monotonic()

    def counted(self, function: Callable[..., _Result]) -> Callable[..., _Result]:
        """Returns the function with its calls counted."""

        @functools.wraps(function)
        def call(*arguments: object) -> _Result:
            self._note(1)
            try:
                return function(*arguments)
            finally:
                self._note(-1)

        return call

    def _note(self, change: int) -> None:
        with self._lock:
            self._running += change
            self._latest = time.monotonic()

    def wait_for_pause(self) -> None:
        """Returns when no call runs and none has for a while, or when that takes too long."""
        deadline = time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < deadline:
            if not self._running and time.monotonic() - self._latest > _PAUSE:
                return
            time.sleep(_PAUSE / 4)


_calls = _Calls()


counted = _calls.counted


atexit.register(_calls.wait_for_pause)


class WatchedDataset(SegmentationDataset):
    """Another data set, with its errors kept.

    What a data set raises inside of tf.data ends in an error of TensorFlow's, which tells of
    graph nodes and prints a traceback. `errors` raises the first one itself.

    Args:
        dataset: The other data set.
    """

    def __init__(self, dataset: SegmentationDataset) -> None:
        super().__init__(dataset.classes)
        self.void_label = dataset.void_label
        self.label_offset = dataset.label_offset
        self._dataset = dataset
        self._error: DataError | None = None

    def __len__(self) -> int:
        return len(self._dataset)

    def name(self, index: int) -> str:
        """Returns the name of an image."""
        return self._dataset.name(index)

    def size(self, index: int) -> tuple[int, int]:
        """Returns the (height, width) of an image."""
        return self._dataset.size(index)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its labels; keeps the first error."""
        with self._kept():
            return self._dataset.read(index)

    def read_picture(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Returns an image as one of Pillow's, and its labels; keeps the first error."""
        with self._kept():
            return self._dataset.read_picture(index)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            self._error = self._error or error
            raise

    def examine(self, index: int) -> Examination:
        """Reads an image with its labels, and tells what is wrong with them."""
        return self._dataset.examine(index)

    def check(self) -> None:
        """Raises `DataError` if something is wrong with the files."""
        self._dataset.check()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises the error that reading met, in place of what TensorFlow has made of it."""
        try:
            yield
        except Exception as error:
            if self._error is not None:
                raise self._error from error
            raise
