"""Segmentation of the images of `pdanet-tf predict`."""

import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pdanet_tf.base.progress import track_long
from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.files import is_full_disk
from pdanet_tf.inference.failures import failure_of
from pdanet_tf.inference.large_images import Windows, segment_large
from pdanet_tf.inference.manifest import Record, begin_record
from pdanet_tf.inference.pixels import read_pixels
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.results import Results
from pdanet_tf.inference.tiled_labels import check_replaceable

_CORES = os.cpu_count() or 1
_READERS = max(1, _CORES // 4)
_WRITERS = max(2, _CORES // 2)  # writing takes longer than reading
_WAITING = 2 * _WRITERS  # results that wait to be written
_TOGETHER = 8  # images that may be computed together
_BYTES_TOGETHER = 2**24  # of their pixels

Outcome = tuple[Path, Record, Exception | None]


def segment_files(
    predictor: Predictor,
    files: Sequence[Path],
    results: Results,
    save: Callable[[Path, Prediction], None],
    settings: str = "",
) -> Iterator[Outcome]:
    """Segments images and saves the results, in the order of the files.

    While the network segments an image, the next ones are read and the results of the last ones
    are written in other threads. Only a few images and results are in memory at the same time.

    Args:
        predictor: The model.
        files: The images.
        results: The folder of the results, which is checked before the model runs.
        save: Writes the results of an image.
        settings: Hash of the settings for the records.

    Yields:
        Each file with its record, after its results are written; and the error if it could not be
        segmented or written.

    Raises:
        OSError: If the disk is full, because the other images would fail as well.
    """

    def read(index: int) -> _Image:
        started, file = time.perf_counter(), files[index]
        image = _Image(file, begin_record(file, settings))
        try:
            results.check(file)
            image.pixels = read_pixels(file, predictor.pixel_format)
        except Exception as error:
            image.error = _report_or_raise(file, error)
        image.seconds = time.perf_counter() - started
        return image

    def finish(image: _Image) -> Outcome:
        if image.prediction is None:
            error = image.error or RuntimeError(f"{image.file}: not segmented")
            return image.file, image.record.failed(error, image.seconds), error
        started = time.perf_counter()
        try:
            save(image.file, image.prediction)
            results.remove_others(image.file)
        except Exception as error:
            failure = _report_or_raise(image.file, error)
            return image.file, image.record.failed(failure, image.seconds), failure
        seconds = image.seconds + time.perf_counter() - started
        height, width = image.prediction.label_map.shape
        names, areas = results.names(image.file), image.prediction.areas()
        return image.file, image.record.segmented((height, width), areas, names, seconds), None

    waiting: deque[Future[Outcome]] = deque()
    images = map_in_threads(read, len(files), _READERS)
    with ThreadPoolExecutor(_WRITERS) as writers:
        for batch in _batches(images):
            _segment(predictor, batch)
            waiting.extend(writers.submit(finish, image) for image in batch)
            # What is ready is reported at once, and only a few results are in memory.
            while waiting and (waiting[0].done() or len(waiting) > _WAITING):
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def segment_large_files(
    predictor: Predictor,
    files: Sequence[Path],
    results: Results,
    windows: Windows,
    palette: bool,
    settings: str = "",
) -> Iterator[Outcome]:
    """Segments images in windows, one after the other, and shows the progress of each.

    Args:
        predictor: The model.
        files: The images.
        results: The folder of the results: label maps with the extension .tif.
        windows: The windows.
        palette: Whether the label maps have the colours of the classes.
        settings: Hash of the settings for the records.

    Yields:
        See `segment_files`.

    Raises:
        OSError: If the disk is full, because the other images would fail as well.
    """
    for number, file in enumerate(files, start=1):
        started, record = time.perf_counter(), begin_record(file, settings)
        text = f"{file} ({number:,} of {len(files):,}), blocks"
        target = results.paths(file)["labels"]
        try:
            check_replaceable(target, file)
            size, classes = segment_large(
                predictor, file, target, windows, palette, functools.partial(track_long, text)
            )
        except Exception as error:
            failure = _report_or_raise(file, error)
            yield file, record.failed(failure, time.perf_counter() - started), failure
            continue
        seconds = time.perf_counter() - started
        yield file, record.segmented(size, classes, results.names(file), seconds), None


def _report_or_raise(file: Path, error: Exception) -> Exception:
    """Returns the error to report for an image, or raises it if other images would fail as well."""
    failure = None if is_full_disk(error) else failure_of(file, error)
    if failure is None:
        raise error
    return failure


@dataclass
class _Image:
    """An image on its way through the threads."""

    file: Path
    record: Record
    pixels: np.ndarray | None = None
    prediction: Prediction | None = None
    error: Exception | None = None
    seconds: float = 0.0


def _batches(images: Iterable[_Image]) -> Iterator[list[_Image]]:
    """Yields the next few images, among which those of one size are computed together."""
    batch: list[_Image] = []
    size = 0
    for image in images:
        batch.append(image)
        size += 0 if image.pixels is None else image.pixels.nbytes
        if len(batch) == _TOGETHER or size >= _BYTES_TOGETHER:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _segment(predictor: Predictor, batch: Sequence[_Image]) -> None:
    """Segments the images of a batch that were read."""
    read = [(image, image.pixels) for image in batch if image.pixels is not None]
    started = time.perf_counter()
    try:
        label_maps = predictor.label_maps([pixels for _, pixels in read])
    except Exception as error:
        # Together they may need more memory than alone.
        failure = _report_or_raise(batch[0].file, error)
        if len(read) > 1:
            for image, _ in read:
                _segment(predictor, [image])
        else:
            read[0][0].error = failure
        return
    seconds = (time.perf_counter() - started) / max(1, len(read))
    for (image, pixels), label_map in zip(read, label_maps, strict=True):
        image.prediction = Prediction(label_map, pixels, predictor.classes)
        image.seconds += seconds
