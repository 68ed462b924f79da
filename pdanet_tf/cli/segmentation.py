"""Segmentation of the images of `pdanet-tf predict`."""

import errno
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.cli.images import Results
from pdanet_tf.data.problems import DataError
from pdanet_tf.inference.pixels import read_pixels
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.inference.predictor import Predictor

_READERS = 1
_WRITERS = 2
_WAITING = 4  # results that wait to be written


def segment_files(
    predictor: Predictor,
    files: Sequence[Path],
    results: Results,
    save: Callable[[Path, Prediction], None],
) -> Iterator[tuple[Path, Prediction | Exception]]:
    """Segments images and saves the results, in the order of the files.

    While the network segments an image, the next ones are read and the results of the last ones
    are written in other threads.

    Args:
        predictor: The model.
        files: The images.
        results: The folder of the results, which is checked before the model runs.
        save: Writes the results of an image.

    Yields:
        Each file with its prediction after its results are written, or with the error if it could
        not be segmented or written.

    Raises:
        OSError: If the disk is full, because the other images would fail as well.
    """

    def read(index: int) -> np.ndarray | Exception:
        try:
            results.check(files[index])
            return read_pixels(files[index], predictor.pixel_format)
        except (DataError, OSError) as error:
            return error

    def segment(image: np.ndarray | Exception) -> Prediction | Exception:
        if isinstance(image, Exception):
            return image
        try:
            return Prediction(predictor.label_map(image), image, predictor.classes)
        except (DataError, OSError) as error:
            return error

    def finish(file: Path, result: Prediction | Exception) -> Prediction | Exception:
        if isinstance(result, Exception):
            return result
        try:
            save(file, result)
        except (DataError, OSError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            return error
        return result

    waiting: deque[tuple[Path, Future[Prediction | Exception]]] = deque()
    images = map_in_threads(read, len(files), _READERS)
    with ThreadPoolExecutor(_WRITERS) as writers:
        for file, image in zip(files, images, strict=True):
            waiting.append((file, writers.submit(finish, file, segment(image))))
            # What is ready is reported at once, and only a few results are in memory.
            while waiting and (waiting[0][1].done() or len(waiting) > _WAITING):
                first, result = waiting.popleft()
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()
