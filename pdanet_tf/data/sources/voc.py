"""Pascal VOC 2012 segmentation (Everingham et al. 2015), from its official layout."""

from pathlib import Path

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.palette import Color
from pdanet_tf.data.problems import Problem
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.sources.folder import FolderDataset
from pdanet_tf.data.text_files import read_text
from pdanet_tf.data.validation.image import ImageReport

_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def _color(index: int) -> Color:
    """Returns a colour of VOC's palette: bit k of the channels is from bits 3k to 3k + 2."""
    channels = [
        sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
        for channel in range(3)
    ]
    return channels[0], channels[1], channels[2]


VOC_CLASSES = Classes(_NAMES, tuple(map(_color, range(len(_NAMES)))))
_LISTS = {"validation": "val"}
_RESTORE = "Extract VOCtrainval_11-May-2012.tar again"


class VocDataset(FolderDataset):
    """A split of Pascal VOC: the images that `ImageSets/Segmentation/SPLIT.txt` lists.

    The annotations in `SegmentationClass` contain 0 for background, 1 to 20 for objects, and 255
    for their borders and for what is difficult, which is ignored in training and scoring.

    Args:
        root: The extracted folder, `VOC2012` or `VOC2007`, or one that contains it or `VOCdevkit`.
        split: "train", "validation" (or "val"), or "trainval".
        strict: See `FolderDataset`.

    Raises:
        DataError: If there is no such folder; and see `strict`.
    """

    def __init__(self, root: PathLike, split: str, *, strict: bool = True) -> None:
        super().__init__(_find_root(Path(root)), split, VOC_CLASSES, strict=strict)

    def _find_files(
        self, endings: tuple[str, ...]
    ) -> tuple[list[tuple[Path, Path]], list[Problem]]:
        split = _LISTS.get(self.split, self.split)
        list_file = self.root / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not list_file.is_file():
            text = f"the list of the split {self.split!r} is missing"
            return [], [Problem(str(list_file), "missing split", text, _RESTORE)]
        pairs, problems = [], []
        for name in read_text(list_file).split():
            pair = (
                self.root / "JPEGImages" / f"{name}.jpg",
                self.root / "SegmentationClass" / f"{name}.png",
            )
            missing = [path for path in pair if not path.is_file()]
            for path in missing:
                text = f"is listed in {list_file.name}, but there is no such file"
                problems.append(Problem(str(path), "missing file", text, _RESTORE))
            if not missing:
                pairs.append(pair)
        if not pairs and not problems:
            problems.append(Problem(str(list_file), "empty split", "lists no image", _RESTORE))
        return pairs, problems

    def examine(self, index: int, full: bool = True) -> ImageReport:
        """Reads an image and its annotation; see `FolderDataset.examine`.

        The palette of the annotations is no problem: its indices are the classes.
        """
        report = super().examine(index, full)
        report.problems = [each for each in report.problems if each.kind != "palette annotation"]
        return report


def _find_root(root: Path) -> Path:
    """Returns the folder that contains `JPEGImages`; the given one if there is none."""
    places = ("", "VOC2012", "VOC2007", "VOCdevkit/VOC2012", "VOCdevkit/VOC2007")
    return next((root / place for place in places if (root / place / "JPEGImages").is_dir()), root)
