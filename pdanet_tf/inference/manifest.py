"""The manifest of segmented images: one JSON object for each image, in lines."""

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdanet_tf.base.fields import from_mapping
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.files import HAS_LOCKS, describe_reason, lock_descriptor, one_line, plain_error
from pdanet_tf.version import __version__
from pdanet_tf.weights.identity import identify

if TYPE_CHECKING:
    from pdanet_tf.inference.predictor import Predictor

MANIFEST_FILE = "manifest.jsonl"


@dataclass(frozen=True)
class Record:
    """What the manifest says of one image.

    Attributes:
        file: The absolute path of the image, or its URL.
        bytes: Length of the file; None if it cannot be read.
        modified: Time of its last change, in seconds since 1970; None if it cannot be read.
        settings: Hash of the model and the settings, see `hash_settings`.
        size: (height, width) of the image; None if it was not segmented, like the next two.
        classes: Share (0 to 1) of the area of each class in the image, the largest first.
        results: Path of each result file, relative to the folder of the manifest.
        seconds: Time that reading, inference and writing took.
        error: Why the image was not segmented; None if it was.
    """

    file: str
    bytes: int | None
    modified: float | None
    settings: str
    size: tuple[int, int] | None = None
    classes: Mapping[str, float] | None = None
    results: Mapping[str, str] | None = None
    seconds: float = 0.0
    error: str | None = None

    def to_json(self) -> str:
        """Returns the record as one line of JSON, in ASCII, without the line end."""
        return json.dumps(dataclasses.asdict(self))

    def segmented(
        self,
        size: tuple[int, int],
        classes: Mapping[str, float],
        results: Mapping[str, str],
        seconds: float,
    ) -> "Record":
        """Returns the record of an image that was segmented. The arguments are its attributes."""
        return dataclasses.replace(
            self, size=size, classes=classes, results=results, seconds=round(seconds, 3)
        )

    def failed(self, error: Exception, seconds: float) -> "Record":
        """Returns the record of an image that was not segmented."""
        return dataclasses.replace(self, seconds=round(seconds, 3), error=str(error))


def begin_record(file: Path, settings: str) -> Record:
    """Returns the record of an image before it is read.

    Args:
        file: The image.
        settings: See `Record`.
    """
    path = os.path.abspath(file)
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # reading the image reports it
        return Record(path, None, None, settings)
    return Record(path, status.st_size, round(status.st_mtime, 3), settings)


def hash_settings(
    predictor: "Predictor",
    model: str,
    weights: str | None = None,
    precision: str | None = None,
    runtime: str | None = None,
    palette: bool = False,
    kinds: Sequence[str] = ("labels",),
    overlay_channels: Sequence[int] | None = None,
    windows: Any = None,
) -> str:
    """Returns a hash of everything that the results depend on, besides the images.

    Args:
        predictor: The predictor, with its protocol, CRF and classes.
        model: What it was loaded from. Of a file the content counts, also of one on the Hub.
        weights: The weights that were given for an architecture, likewise.
        precision: The dtype policy that was asked for.
        runtime: What runs the network.
        palette: Whether the label maps have the colours of the classes.
        kinds: The kinds of results.
        overlay_channels: The channels that overlays show.
        windows: The windows of large images, a data class; None if they are not used.
    """
    settings = {
        "version": __version__,
        "model": identify(model),
        "weights": identify(weights),
        "precision": precision,
        "runtime": runtime,
        "protocol": dataclasses.asdict(predictor.protocol),
        "crf": None if predictor.crf is None else dataclasses.asdict(predictor.crf),
        "classes": dataclasses.asdict(predictor.classes),
        "pixel_format": dataclasses.asdict(predictor.pixel_format),
        "palette": palette,
        "kinds": list(kinds),
        "overlay_channels": overlay_channels,
        "windows": None if windows is None else dataclasses.asdict(windows),
    }
    content = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class Manifest:
    """The manifest in a folder of results, which one process at a time extends.

    Each record is written at once, after the results of its image. A process that is killed leaves
    the records so far; a last line that it did not finish is removed here.

    Attributes:
        path: The file.
        is_continued: Whether an earlier process began it.

    Args:
        folder: The folder. It is created when the first record is written.

    Raises:
        DataError: If the file is not a manifest; nothing is changed.
        FileExistsError: If another process extends it.
        OSError: If it cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST_FILE
        self._descriptor: int | None = None
        self._done: dict[str, tuple[int | None, float | None, str]] = {}
        self.is_continued = self.path.exists()
        if not self.is_continued:
            return
        for record in read_manifest(self.path):
            if record.error is None:
                self._done[record.file] = (record.bytes, record.modified, record.settings)
            else:
                self._done.pop(record.file, None)
        os.ftruncate(self._open(), _length_of_lines(self.path))

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def holds(self, record: Record) -> bool:
        """Returns whether an image was segmented with the same settings, and is unchanged since.

        Args:
            record: The record of the image before it is read, see `begin_record`.
        """
        return self._done.get(record.file) == (record.bytes, record.modified, record.settings)

    def append(self, record: Record) -> None:
        """Writes a record.

        Raises:
            FileExistsError: If another process extends the file.
            OSError: If it cannot be written; the message names it.
        """
        descriptor, content = self._open(), f"{record.to_json()}\n".encode()
        try:
            # One call to the system, so that a killed process leaves whole lines. Where the disk
            # becomes full it writes a part, and the next call fails.
            while content:
                content = content[os.write(descriptor, content) :]
        except OSError as error:
            number = error.errno or errno.EIO
            reason = describe_reason(error, self.path)
            raise plain_error(number, f"{self.path} cannot be written: {reason}") from error

    def _open(self) -> int:
        """Opens and locks the file, unless it is open; returns its descriptor."""
        if self._descriptor is not None:
            return self._descriptor
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        if HAS_LOCKS:
            try:
                lock_descriptor(descriptor)
            except BlockingIOError:
                os.close(descriptor)
                raise FileExistsError(
                    f"{self.path}: another process writes its results into this folder. Wait until "
                    "it ends, or choose another folder for the results"
                ) from None
            except OSError:  # a file system without locks
                pass
        self._descriptor = descriptor
        return descriptor


def read_manifest(path: Path) -> Iterator[Record]:
    """Reads a manifest line by line. A last line that is not finished is left out.

    Raises:
        DataError: If a line is not a record; the message names the file and the line.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = from_mapping(Record, json.loads(line))
                if not isinstance(record.file, str):
                    raise ValueError("file must be a string")
            except (ValueError, AttributeError, RecursionError) as error:
                raise DataError(
                    Problem(
                        str(path),
                        "not a manifest",
                        f"line {number} is not a record of a segmented image: {one_line(error)}",
                        "Choose another folder for the results, or remove the file",
                    )
                ) from error
            yield record


def _length_of_lines(path: Path) -> int:
    """Returns the number of bytes of all finished lines of a file."""
    with path.open("rb") as file:
        return sum(len(line) for line in file if line.endswith(b"\n"))
