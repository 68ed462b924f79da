"""Reads a data set that a TensorFlow Datasets builder has prepared, with random access."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import (
    EncodedFile,
    FileLike,
    PathLike,
    image_size,
    read_label,
    read_pil_image,
)
from pdanet_tf.data.validation.image import size_problem
from pdanet_tf.data.validation.split import check_split


class PreparedDataset(SegmentationDataset):
    """One split of a data set that a TensorFlow Datasets builder of this package has prepared.

    It has the same images in the same order as the folder that it was prepared from, so that a run
    draws the same batches from either. Reading does not require TensorFlow.

    Args:
        folder: The prepared folder, with the version in its name: `builder.data_dir`.
        split: Name of the split.
        classes: Names and colours.
        label_offset: The value of the first class in the annotations; lower values mark
            unlabelled pixels.

    Raises:
        DataError: If the folder does not contain the split, or does not allow random access.

    Example:
        ```python
        builder = tfds.builder("ade20k")
        builder.download_and_prepare()
        dataset = PreparedDataset(builder.data_dir, "train", ADE20K_CLASSES, label_offset=1)
        image, label = dataset.read(0)
        ```
    """

    def __init__(
        self, folder: PathLike, split: str, classes: Classes, label_offset: int = 0
    ) -> None:
        super().__init__(classes)
        self.folder = Path(folder)
        self.split = split
        self.label_offset = label_offset
        try:
            builder = tfds.builder_from_directory(self.folder)
            splits = list(builder.info.splits)
            if split not in splits:
                raise DataError(
                    f"{self.folder}: was prepared without the split {split!r}; it has "
                    f"{', '.join(splits)}. Remove the folder to prepare it again"
                )
            self._source = encoded_examples(builder, split)
            records = builder.info.metadata["records"][split]
        except (OSError, KeyError, NotImplementedError) as error:
            raise DataError(
                f"{self.folder}: not a data set that was prepared here for random access: {error}"
            ) from error
        # Records are stored in the order of a hash of their names.
        self._order = np.argsort(records["names"], kind="stable").tolist()
        if not len(records["names"]) == len(records["sizes"]) == len(self._source):
            raise DataError(
                f"{self.folder}: its metadata list {len(records['names'])} names and "
                f"{len(records['sizes'])} sizes, but it contains {len(self._source)} records. "
                "Remove the folder to prepare it again"
            )
        self._names: list[str] = records["names"]
        self._sizes: list[list[int]] = records["sizes"]

    def __len__(self) -> int:
        return len(self._order)

    def name(self, index: int) -> str:
        """Returns the name of an image, without extension."""
        return self._names[self._order[index]]

    def size(self, index: int) -> tuple[int, int]:
        """Returns the (height, width) of an image from the metadata."""
        height, width = self._sizes[self._order[index]]
        return height, width

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its label map; see `SegmentationDataset.read`.

        Raises:
            DataError: If the record cannot be read, or contains a label out of range.
        """
        image, label = self.read_pil(index)
        return np.asarray(image), label

    def read_pil(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Returns the same as `read`, but the image as a Pillow image."""
        example = self._record(index)
        name = f"{self.folder}: {self.name(index)}"
        image = read_pil_image(EncodedFile(f"{name}.jpg", example["image"]))
        label = self.read_label(EncodedFile(f"{name}.png", example["label"]))
        size = (image.height, image.width)
        if size != label.shape:
            raise DataError(size_problem(f"{name}.jpg", size, label.shape))
        return image, label

    def read_label_map(self, index: int) -> np.ndarray:
        """Returns the label map alone; the image is not decoded."""
        name = f"{self.folder}: {self.name(index)}.png"
        return self.read_label(EncodedFile(name, self._record(index)["label"]))

    def hash_annotation(self, index: int) -> bytes | None:
        """Returns a hash of the encoded annotation, the classes and the offset."""
        mapping = f"{self.num_classes} {self.label_offset} {self.void_label} "
        return hashlib.sha256(mapping.encode() + self._record(index)["label"]).digest()

    def read_label(self, path: FileLike) -> np.ndarray:
        """Reads an annotation, or a stored prediction in the values of the annotations.

        Returns:
            `(height, width)`, int32, each a class from 0 or `void_label`.

        Raises:
            DataError: If the file cannot be read, or contains a value out of range.
        """
        label = read_label(path) - self.label_offset
        if label.max() >= self.num_classes:
            raise DataError(
                f"{path}: contains the label {label.max() + self.label_offset}, but the highest is "
                f"{self.num_classes - 1 + self.label_offset}"
            )
        label[label < 0] = self.void_label
        return label

    def check(self) -> None:
        """Reads every record, which compares it with its stored hash, and checks the split.

        Each image and annotation was checked when the data set was prepared.

        Raises:
            DataError: If a record is damaged, or the split as a whole cannot be used.
        """
        for _ in map_in_threads(lambda index: len(self._record(index)), len(self)):
            pass
        check_split(self.split, self)

    def _record(self, index: int) -> dict[str, bytes]:
        name = self.name(index)
        try:
            example = self._source[self._order[index]]
        except Exception as error:  # each file format has its own
            raise DataError(
                f"{self.folder}: the record of {name} cannot be read: {error}. Remove the folder "
                "to prepare it again"
            ) from error
        found = example["file_name"].decode()
        if found != name:
            raise DataError(
                f"{self.folder}: contains {found} in place of {name}. Remove the folder to prepare "
                "it again"
            )
        return example


def encoded_examples(builder: tfds.core.DatasetBuilder, split: str) -> Sequence[dict[str, bytes]]:
    """Returns the examples of a split; image and label are the encoded bytes of their files.

    Raises:
        NotImplementedError: If the split was written in a format without random access.
    """
    skip = tfds.decode.SkipDecoding()
    return builder.as_data_source(split, decoders={"image": skip, "label": skip})


def describe_records(examples: Sequence[dict[str, bytes]]) -> dict[str, list[Any]]:
    """Returns the names and (height, width) of examples in their order, ready for JSON.

    The builder stores them in its metadata, so that opening the data set does not read any image.
    """
    names, sizes = [], []
    for example in examples:
        names.append(example["file_name"].decode())
        sizes.append(list(image_size(EncodedFile(names[-1], example["image"]))))
    return {"names": names, "sizes": sizes}
