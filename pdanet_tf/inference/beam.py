"""Segments images in a pipeline of Apache Beam (extra `beam`).

The pipeline runs on every runner of Beam: on this machine, or on Dataflow, Flink or Spark. Images
and label maps may be on Beam's file systems, with URLs such as `gs://...`.
"""

import dataclasses
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import EncodedFile, read_image
from pdanet_tf.inference.crf import CRFParameters
from pdanet_tf.inference.failures import failure_of
from pdanet_tf.inference.manifest import Record, begin_record, hash_settings
from pdanet_tf.inference.marked_png import save_marked
from pdanet_tf.inference.pixels import read_pixels
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.results import (
    SOURCE_KEY,
    check_replaceable,
    mark_of,
    result_stem,
    without_ending,
)
from pdanet_tf.inference.settings import SETTINGS_FILE, load_model
from pdanet_tf.models import with_dtype_policy
from pdanet_tf.weights.hub import is_hub_address

try:
    import apache_beam as beam
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.utils import shared
except ModuleNotFoundError as missing:
    raise ImportError(
        f"pdanet_tf.inference.beam requires the package {missing.name}, which is not installed: "
        "pip install 'pdanet_tf[beam]'"
    ) from missing

_TOGETHER = 8  # images that may be computed together
_SEPARATOR = "://"  # of the scheme of a URL


@dataclass(frozen=True)
class _Settings:
    """The arguments of `SegmentImages`."""

    model: str
    output: str
    root: str | None
    weights: str | None
    protocol: Protocol | None
    crf: CRFParameters | None
    precision: str | None
    runtime: str | None
    palette: bool


class SegmentImages(beam.PTransform):
    """Maps paths of images to the records of a manifest, and writes their label maps.

    It does what `pdanet-tf predict --no-overlay` does, with the same records. Each process of a
    worker loads the model once. An image that cannot be read gives a record with an error; the
    others are not affected. Runners may repeat a part of the work; it then writes the same files.

    Args:
        model: What `Predictor` loads: a `.keras` file, which every worker can read, or a name. A
            URL is copied to the worker, with the `inference.json` beside it.
        output: Folder of the label maps, a path or a URL. On the local file system no file is
            replaced except an earlier result of the same image; elsewhere files are overwritten.
        root: Folder of the images, whose structure the label maps keep. None for the whole path,
            as for `pdanet-tf predict --list`.
        weights: See `Predictor`.
        protocol: See `Predictor`.
        crf: See `Predictor`.
        precision: Dtype policy of the layers; None for that of the file.
        runtime: See `Predictor`.
        palette: Whether to write palette PNGs.

    The input is a bounded collection of paths and URLs. The output has a dictionary for each image,
    with the attributes of `pdanet_tf.inference.manifest.Record`.

    Example:
        ```python
        import json

        import apache_beam as beam

        with beam.Pipeline() as pipeline:
            (
                pipeline
                | beam.Create(["a.jpg", "b.jpg"])
                | SegmentImages("runs/first/best.keras", "label_maps", root=".")
                | beam.Map(json.dumps)
                | beam.io.WriteToText("manifest", ".jsonl", shard_name_template="")
            )
        ```
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        output: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        protocol: Protocol | None = None,
        crf: CRFParameters | None = None,
        precision: str | None = None,
        runtime: str | None = None,
        palette: bool = False,
    ) -> None:
        super().__init__()
        self._settings = _Settings(
            os.fspath(model),
            os.fspath(output),
            None if root is None else os.fspath(root),
            None if weights is None else os.fspath(weights),
            protocol,
            crf,
            precision,
            runtime,
            palette,
        )

    def expand(self, paths: Any) -> Any:
        """Applies the transform to a collection of paths."""
        return (
            paths
            | "Place" >> beam.Map(_with_place, self._settings.root)
            # Images of one name but for the extension meet, so that no two have one label map.
            | "Meet" >> beam.GroupByKey()
            | "Name" >> beam.FlatMap(_with_stems)
            | "Spread" >> beam.Reshuffle()
            | "Batch" >> beam.BatchElements(max_batch_size=_TOGETHER)
            | "Segment" >> beam.ParDo(_Segment(self._settings))
        )


def place_of(path: str, root: str | None) -> str:
    """Returns the place of an image in its source, such as "street/a.jpg".

    Args:
        path: The path or the URL of the image.
        root: The folder of the images. None, or a folder that does not hold the image, for the
            whole path without the root or the scheme.
    """
    whole = _whole(path)
    if root is not None and PurePath(whole).is_relative_to(_whole(root)):
        return PurePath(whole).relative_to(_whole(root)).as_posix()
    if root is None and not _is_url(path) and ".." not in PurePath(path).parts:
        whole = os.path.normpath(path)
    path = whole.partition(_SEPARATOR)[2] if _is_url(whole) else whole
    return PurePath(path).as_posix().lstrip("/") or "."  # "." of the root, as of `root` itself


def _whole(path: str) -> str:
    return path if _is_url(path) else os.path.abspath(path)


def _is_url(path: str) -> bool:
    return _SEPARATOR in path


def _with_place(path: str, root: str | None) -> tuple[str, tuple[str, str]]:
    place = place_of(path, root)
    return without_ending(place), (place, path)


def _with_stems(group: tuple[str, Iterable[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """Yields each image with the path of its results without `_labels.png`; "" if it has none.

    Different images of one place have none, because their results would be one file.
    """
    images: dict[str, dict[str, str]] = {}
    for place, path in sorted(group[1]):
        images.setdefault(place, {}).setdefault(_whole(path), path)
    for place, paths in images.items():
        for path in paths.values():
            yield path, result_stem(place, len(images) == 1) if len(paths) == 1 else ""


class _Loaded:
    """A predictor, and the hash of its settings."""

    def __init__(self, settings: _Settings) -> None:
        with _local(settings.model) as model, _local(settings.weights) as weights:
            loaded, stored = load_model(model, weights)
            if settings.precision is not None:
                loaded = with_dtype_policy(loaded, settings.precision)
            self.predictor = Predictor(
                loaded,
                settings.protocol or (None if stored is None else stored.protocol),
                settings.crf,
                None if stored is None else stored.classes,
                pixel_format=None if stored is None else stored.pixel_format,
                runtime=settings.runtime,
            )
            self.key = hash_settings(
                self.predictor,
                model,
                weights,
                settings.precision,
                settings.runtime,
                settings.palette,
            )


class _Segment(beam.DoFn):
    """Segments batches of images."""

    def __init__(self, settings: _Settings) -> None:
        super().__init__()
        self._settings = settings
        self._shared = shared.Shared()
        self._loaded: _Loaded | None = None

    def setup(self) -> None:
        """Loads the model, unless another thread of the process has."""
        self._loaded = self._shared.acquire(lambda: _Loaded(self._settings))

    def process(self, batch: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """Yields the records of a batch of images, given with the stems of their results."""
        if self._loaded is None:
            raise RuntimeError("setup was not called")
        predictor, key = self._loaded.predictor, self._loaded.key
        images, seconds = [], []
        for path, stem in batch:
            started = time.perf_counter()
            images.append(self._read(path, stem, predictor))
            seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        predictions = _segment(predictor, images, [path for path, _ in batch])
        each = (time.perf_counter() - started) / len(images)
        for (path, stem), prediction, taken in zip(batch, predictions, seconds, strict=True):
            record = _begin(path, key)
            if isinstance(prediction, Exception):
                yield dataclasses.asdict(record.failed(prediction, taken))
                continue
            started = time.perf_counter()
            try:
                self._write(path, stem, prediction)
            except Exception as error:
                yield dataclasses.asdict(record.failed(_failure(path, error), taken + each))
                continue
            taken += each + time.perf_counter() - started
            height, width = prediction.label_map.shape
            names = {"labels": f"{stem}_labels.png"}
            done = record.segmented((height, width), prediction.areas(), names, taken)
            yield dataclasses.asdict(done)

    def _target(self, stem: str) -> str:
        return FileSystems.join(self._settings.output, *f"{stem}_labels.png".split("/"))

    def _read(self, path: str, stem: str, predictor: Predictor) -> np.ndarray | Exception:
        try:
            if not stem:
                raise DataError(
                    f"{path}: another image has the same name in its source, so their results "
                    "would be the same file. Segment them into different folders"
                )
            if not _is_url(self._settings.output):
                check_replaceable(Path(self._target(stem)), Path(path))
            if not _is_url(path):
                return read_pixels(path, predictor.pixel_format)
            if not predictor.pixel_format.is_rgb:
                raise DataError(
                    f"{path}: images of {predictor.pixel_format} are read from local files only. "
                    "Copy them to a disk of the workers"
                )
            with FileSystems.open(path, compression_type="uncompressed") as file:
                return read_image(EncodedFile(path, file.read()), honour_orientation=True)
        except Exception as error:
            return _failure(path, error)

    def _write(self, path: str, stem: str, prediction: Prediction) -> None:
        """Writes a label map."""
        labels = prediction.palette_image if self._settings.palette else prediction.label_image
        target, mark = self._target(stem), mark_of(path if _is_url(path) else Path(path), labels)
        if not _is_url(target):
            save_marked(labels, Path(target), SOURCE_KEY, mark)
            return
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, "labels.png")
            save_marked(labels, local, SOURCE_KEY, mark)
            with FileSystems.create(target, compression_type="uncompressed") as file:
                file.write(local.read_bytes())


def _begin(path: str, key: str) -> Record:
    """Returns the record of an image before it is read."""
    if not _is_url(path):
        return begin_record(Path(path), key)
    try:
        (found,) = FileSystems.match([path])[0].metadata_list
    except (ValueError, BeamIOError):  # reading the image reports it
        return Record(path, None, None, key)
    return Record(path, found.size_in_bytes, round(found.last_updated_in_seconds, 3), key)


def _failure(path: str, error: Exception) -> Exception:
    """Returns the error to report for an image, or raises it if it is not about the image."""
    failure = error if isinstance(error, BeamIOError) else failure_of(path, error)
    if failure is None:
        raise error
    return failure


def _segment(
    predictor: Predictor, images: Sequence[np.ndarray | Exception], paths: Sequence[str]
) -> list[Prediction | Exception]:
    """Segments the images that were read together; if that fails, one by one."""
    read = [image for image in images if isinstance(image, np.ndarray)]
    try:
        found = iter(predictor.label_maps(read))
    except Exception as error:
        failure = _failure(paths[0], error)
        if len(images) == 1:
            return [failure]
        pairs = zip(images, paths, strict=True)
        return [_segment(predictor, [image], [path])[0] for image, path in pairs]
    return [
        image if isinstance(image, Exception) else Prediction(next(found), image, predictor.classes)
        for image in images
    ]


@contextmanager
def _local(path: str | None) -> Iterator[Any]:
    """Yields a path on this machine: of a URL, a copy with the `inference.json` beside it."""
    if path is None or not _is_url(path) or is_hub_address(path):
        yield path  # the loader fetches what is on the Hub
        return
    with tempfile.TemporaryDirectory() as folder:
        parent, name = FileSystems.split(path)
        for source in (path, FileSystems.join(parent, SETTINGS_FILE)):
            if source == path or FileSystems.exists(source):
                with FileSystems.open(source, compression_type="uncompressed") as file:
                    Path(folder, FileSystems.split(source)[1]).write_bytes(file.read())
        yield os.path.join(folder, name)
