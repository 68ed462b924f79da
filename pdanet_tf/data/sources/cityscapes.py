"""Cityscapes (Cordts et al. 2016) with its 19 training classes, from its official layout."""

import hashlib
from pathlib import Path

import numpy as np

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.palette import Color
from pdanet_tf.data.problems import Problem
from pdanet_tf.data.readers import PathLike, read_label
from pdanet_tf.data.sources.folder import FolderDataset

# Label id, name and colour of each training class, in the order of the train ids; see
# https://github.com/mcordts/cityscapesScripts/blob/master/cityscapesscripts/helpers/labels.py
_LABELS: tuple[tuple[int, str, Color], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
CITYSCAPES_CLASSES = Classes(
    tuple(name for _, name, _ in _LABELS), tuple(color for _, _, color in _LABELS)
)
_HIGHEST_ID = 33
_IMAGE, _IDS, _TRAIN_IDS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
_FOLDERS = {"validation": "val"}
_EXTRACT = "Extract leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into one folder"


class CityscapesDataset(FolderDataset):
    """A split of Cityscapes: `leftImg8bit/SPLIT/CITY` and `gtFine/SPLIT/CITY`.

    The annotations are `*_gtFine_labelIds.png` as downloaded: the 19 ids that are trained become
    train ids, all others are ignored. `*_gtFine_labelTrainIds.png` is read where it exists. Stored
    predictions contain train ids.

    Args:
        root: The folder that contains `leftImg8bit` and `gtFine`.
        split: "train" or "validation" (or "val").
        strict: See `FolderDataset`.

    Raises:
        DataError: If there is no such folder; and see `strict`.
    """

    def __init__(self, root: PathLike, split: str, *, strict: bool = True) -> None:
        super().__init__(root, split, CITYSCAPES_CLASSES, strict=strict)

    def _find_files(
        self, endings: tuple[str, ...]
    ) -> tuple[list[tuple[Path, Path]], list[Problem]]:
        split = _FOLDERS.get(self.split, self.split)
        images = self.root / "leftImg8bit" / split
        labels = self.root / "gtFine" / split
        pairs, problems = [], []
        for folder in (images, labels):
            if not folder.is_dir():
                text = f"there is no folder for the split {self.split!r}"
                problems.append(Problem(str(folder), "missing split", text, _EXTRACT))
        if problems:
            return [], problems
        for image in sorted(images.glob(f"*/*{_IMAGE}")):
            start = labels / image.parent.name / image.name.removesuffix(_IMAGE)
            found = [Path(f"{start}{ending}") for ending in (_TRAIN_IDS, _IDS)]
            label = next((path for path in found if path.is_file()), None)
            if label is None:
                text = f"has no annotation {found[-1].name}"
                problems.append(Problem(str(image), "image without annotation", text, _EXTRACT))
            else:
                pairs.append((image, label))
        if not pairs and not problems:
            text = f"contains no file */*{_IMAGE}"
            problems.append(Problem(str(images), "empty split", text, _EXTRACT))
        return pairs, problems

    def _read_values(self, path: PathLike) -> np.ndarray:
        values = read_label(path)
        if not str(path).endswith(_IDS):
            return values
        table = np.full(_HIGHEST_ID + 1, 255, "int32")
        table[[label for label, _, _ in _LABELS]] = np.arange(len(_LABELS))
        known = values <= _HIGHEST_ID  # higher values are errors, which the caller reports
        return np.where(known, table[values.clip(max=_HIGHEST_ID)], values)

    def hash_annotation(self, index: int) -> bytes | None:
        """Returns a hash of the annotation's file and of what its values are."""
        content = super().hash_annotation(index)
        is_ids = self._files[index][1].name.endswith(_IDS)
        return content and hashlib.sha256(f"label ids {is_ids} ".encode() + content).digest()
