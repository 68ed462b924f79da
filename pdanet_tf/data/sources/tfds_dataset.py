"""Random access to what a builder of TensorFlow Datasets has prepared."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.examination import size_problem
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import (
    EncodedFile,
    FileLike,
    PathLike,
    image_size,
    read_label,
    read_picture,
)
from pdanet_tf.data.statistics import check_split


class PreparedDataset(SegmentationDataset):
    """One split of a data set that a builder of this package has prepared.

    It holds the same images in the same order as the folder that they were prepared from, so
    that a run draws the same batches from either. Reading needs no TensorFlow.

    Args:
        folder: The prepared folder, with the version in its name: `builder.data_dir`.
        split: Name of the split.
        classes: Names and colours.
        label_offset: The number of the first class in the annotations; numbers below it stand
            for "no class".

    Raises:
        DataError: If the folder holds no such split, or cannot be read at random.

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
                    f"{', '.join(splits)}. Remove the folder to prepare it anew"
                )
            self._source = encoded_examples(builder, split)
            records = builder.info.metadata["records"][split]
        except (OSError, KeyError, NotImplementedError) as error:
            raise DataError(
                f"{self.folder}: not a data set that was prepared here for random access: {error}"
            ) from error
        # Records lie in the order of a hash.
        self._order = np.argsort(records["names"], kind="stable").tolist()
        if not len(records["names"]) == len(records["sizes"]) == len(self._source):
            raise DataError(
                f"{self.folder}: tells of {len(records['names'])} names and "
                f"{len(records['sizes'])} sizes, but holds {len(self._source)} records. Remove the "
                "folder to prepare it again"
            )
        self._names: list[str] = records["names"]
        self._sizes: list[list[int]] = records["sizes"]

    def __len__(self) -> int:
        return len(self._order)

    def name(self, index: int) -> str:
        """Returns the name of an image, without ending."""
        return self._names[self._order[index]]

    def size(self, index: int) -> tuple[int, int]:
        """Returns (height, width) of an image, without reading it."""
        height, width = self._sizes[self._order[index]]
        return height, width

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its labels; see `SegmentationDataset.read`.

        Raises:
            DataError: If the record cannot be read, or holds a wrong label.
        """
        picture, label = self.read_picture(index)
        return np.asarray(picture), label

    def read_picture(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Returns an image as one of Pillow's, and its labels; errors are those of `read`."""
        example = self._record(index)
        name = f"{self.folder}: {self.name(index)}"
        picture = read_picture(EncodedFile(f"{name}.jpg", example["image"]))
        label = self.read_label(EncodedFile(f"{name}.png", example["label"]))
        size = (picture.height, picture.width)
        if size != label.shape:
            raise DataError(size_problem(f"{name}.jpg", size, label.shape))
        return picture, label

    def read_label(self, path: FileLike) -> np.ndarray:
        """Reads labels, or stored predictions, in the numbering of this data set's annotations.

        Returns:
            `(height, width)`, int32, each a class from 0 or `void_label`.

        Raises:
            DataError: If the file cannot be read, or holds numbers that are no class.
        """
        label = read_label(path) - self.label_offset
        if label.max() >= self.num_classes:
            raise DataError(
                f"{path}: holds the label {label.max() + self.label_offset}, but the highest is "
                f"{self.num_classes - 1 + self.label_offset}"
            )
        label[label < 0] = self.void_label
        return label

    def check(self) -> None:
        """Reads every record, which compares it with the hash that is stored beside it.

        Images and labels were looked at when they were prepared, each for itself.

        Raises:
            DataError: If a record is damaged, or the split as a whole is of no use.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda index: len(self._record(index)), range(len(self))):
                pass
        check_split(self.split, self)

    def _record(self, index: int) -> dict[str, bytes]:
        name = self.name(index)
        try:
            example = self._source[self._order[index]]
        except Exception as error:  # of the file format
            raise DataError(
                f"{self.folder}: the record of {name} cannot be read: {error}. Remove the folder "
                "to prepare it anew"
            ) from error
        found = example["file_name"].decode()
        if found != name:
            raise DataError(
                f"{self.folder}: holds {found} in place of {name}. Remove the folder to prepare "
                "it anew"
            )
        return example


def encoded_examples(builder: tfds.core.DatasetBuilder, split: str) -> Sequence[dict[str, bytes]]:
    """Returns the examples of a split with image and label as the bytes of their files.

    Raises:
        NotImplementedError: If the split was written in a format without random access.
    """
    skip = tfds.decode.SkipDecoding()
    return builder.as_data_source(split, decoders={"image": skip, "label": skip})


def describe_records(examples: Sequence[dict[str, bytes]]) -> dict[str, list[Any]]:
    """Returns names and sizes (height, width) of examples in their order, ready for JSON.

    Kept in the builder's metadata, so that opening a data set reads no image.
    """
    names, sizes = [], []
    for example in examples:
        names.append(example["file_name"].decode())
        sizes.append(list(image_size(EncodedFile(names[-1], example["image"]))))
    return {"names": names, "sizes": sizes}
