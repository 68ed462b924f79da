"""ADE20K's benchmark of 150 classes as a data set of TensorFlow Datasets.

The official archive is read where it lies: nothing is unpacked, so no name in it can lead
anywhere on the disk.
"""

import errno
import functools
import os
import stat
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any

import pooch  # type: ignore[import-untyped]
import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters

from pdanet_tf.base.download import download
from pdanet_tf.data.examination import size_problem
from pdanet_tf.data.problems import DataError, Problem, raise_if_any
from pdanet_tf.data.readers import EncodedFile, PathLike, image_mode, read_image, read_label
from pdanet_tf.data.sources.ade20k import ADE20K_CLASSES
from pdanet_tf.data.sources.tfds_dataset import describe_records, encoded_examples

ROOT = "ADEChallengeData2016"
_FOLDERS = {"train": "training", "validation": "validation"}


@dataclass(frozen=True)
class Archive:
    """An archive on the network.

    Attributes:
        url: Where it lies.
        sha1: Its hash in hexadecimal digits.
        counts: Number of images in each split.
    """

    url: str
    sha1: str
    counts: dict[str, int]


# The hash is the one that other projects' download scripts record; no other is public.
OFFICIAL = Archive(
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
    {"train": 20_210, "validation": 2_000},
)


class Ade20k(tfds.core.GeneratorBasedBuilder):
    """The scene parsing benchmark of ADE20K: `tfds.load("ade20k")`, once pdanet_tf is imported.

    Not to be confused with `tfds.load("scene_parse150")`, which delivers other annotations: of
    instances, in three channels, of 100 classes.

    Features:

    - `image`: `(height, width, 3)`, uint8, RGB; kept as the bytes of the archive's JPEG.
    - `label`: `(height, width, 1)`, uint8: 0 for "other", which does not count, then the classes
      from 1 to 150; kept as the bytes of the archive's PNG.
    - `file_name`: Name of both files, without ending.
    - `scene_category`: The scene's name, or "" where the archive has none.

    `info.features["label"].names` holds the names of the classes, `info.metadata["colors"]` their
    official colours, both from 0, "other". Two classes share a colour.

    The data set is written twice: in the format that TensorFlow reads in a stream, and as
    ArrayRecord, which `as_data_source` and the training of this package read at random. With
    `file_format="array_record"` only the latter is written.

    It is prepared from the official archive (967 MB), whose hash is checked. Where there is no
    network, put `ADEChallengeData2016.zip` or the extracted folder of that name into a folder and
    say so:

    ```python
    config = tfds.download.DownloadConfig(manual_dir="downloads")
    tfds.load("ade20k", download_and_prepare_kwargs={"download_config": config})
    ```

    With a `beam_runner` or `beam_options` in the configuration, it is prepared by Apache Beam.

    Source: Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017.
    """

    VERSION = tfds.core.Version("1.0.0")
    url_infos = None  # TFDS knows no archive by its SHA-1; `_download` checks it

    def _info(self) -> tfds.core.DatasetInfo:
        names = ["other", *ADE20K_CLASSES.names]
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Scene parsing benchmark of ADE20K (SceneParse150 of 2016): photographs whose "
                "pixels belong to 150 classes of stuff and things."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.LabeledImage(labels=names, encoding_format="png"),
                    "file_name": tfds.features.Text(),
                    "scene_category": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://sceneparsing.csail.mit.edu",
            citation=_CITATION,
            license="For research and education only; the images belong to their makers.",
            metadata=tfds.core.MetadataDict(
                colors=[[0, 0, 0], *map(list, ADE20K_CLASSES.colors)], records={}
            ),
        )

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: Any
    ) -> None:
        self._download_config = download_config
        try:
            super()._download_and_prepare(dl_manager, download_config)
            self._prepare_random_access()
        except Exception as error:
            # Every file format has an exception of its own.
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(
                    errno.ENOSPC,
                    f"the disk of {self.data_dir_root} is full. Beside the archive, ADE20K takes "
                    "3 GB while it is prepared, and 2 GB from then on",
                ) from error
            raise
        finally:
            _open_root.cache_clear()

    def _prepare_random_access(self) -> None:
        """Writes the shards a second time where their format cannot be read at random."""
        written, wanted = self.info.file_format, tfds.core.FileFormat.ARRAY_RECORD
        if written != wanted:
            adapters = file_adapters.ADAPTER_FOR_FORMAT
            paths = [path for split in self.info.splits.values() for path in split.filepaths]
            for path in tfds.core.utils.tqdm(paths, desc=f"Writing {wanted.value}", leave=False):
                adapters[wanted].write_examples(
                    file_adapters.convert_path_to_file_format(path, wanted),
                    enumerate(adapters[written].make_tf_data(path).as_numpy_iterator()),
                )
            self.info.add_alternative_file_format(wanted)
        self.info.metadata["records"] = {
            split: describe_records(encoded_examples(self, split)) for split in self.info.splits
        }
        # as_data_source has set the format that it reads.
        self.info.set_file_format(written, override=True, override_if_initialized=True)

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterable[tuple[str, dict[str, Any]]]]:
        root = self._find_root(dl_manager)
        scenes = _read_scenes(root)
        sources = {split: _list_sources(root, split, scenes) for split in _FOLDERS}
        counts = {split: len(found) for split, found in sources.items()}
        if not any(counts.values()):
            raise DataError(
                f"{root}: holds no images. Expected images/training and images/validation"
            )
        if counts != OFFICIAL.counts:
            message = (
                f"{root}: holds {_say_counts(counts)}. ADE20K has {_say_counts(OFFICIAL.counts)}"
            )
            if root.suffix == ".zip":
                raise DataError(message)
            warnings.warn(f"{message}; a part of it is prepared", stacklevel=2)
        return {split: self._generate_examples(found) for split, found in sources.items() if found}

    def _generate_examples(self, sources: list["_Source"]) -> Iterable[tuple[str, dict[str, Any]]]:
        if self._download_config.beam_runner or self._download_config.beam_options:
            beam = tfds.core.lazy_imports.apache_beam
            return beam.Create(sources) | beam.Map(_read_example)
        return map(_read_example, sources)

    def _find_root(self, dl_manager: tfds.download.DownloadManager) -> Path:
        """Returns the official archive, its hash checked, or a folder extracted from it."""
        given = self._download_config.manual_dir
        manual = find_manual(given or dl_manager.download_dir / "manual")
        if manual is None and given:
            raise DataError(
                f"{given}: holds neither {ROOT}.zip nor the folder {ROOT} extracted from it"
            )
        if manual is None:
            return _download(Path(dl_manager.download_dir))
        if manual.suffix == ".zip":
            _check_hash(manual)
        return manual


_CITATION = """\
@inproceedings{zhou2017scene,
  title={Scene Parsing through {ADE20K} Dataset},
  author={Zhou, Bolei and Zhao, Hang and Puig, Xavier and Fidler, Sanja and Barriuso, Adela and
    Torralba, Antonio},
  booktitle={IEEE Conference on Computer Vision and Pattern Recognition},
  year={2017}
}
@article{zhou2019semantic,
  title={Semantic Understanding of Scenes through the {ADE20K} Dataset},
  author={Zhou, Bolei and Zhao, Hang and Puig, Xavier and Xiao, Tete and Fidler, Sanja and
    Barriuso, Adela and Torralba, Antonio},
  journal={International Journal of Computer Vision},
  year={2019}
}"""


def find_manual(folder: PathLike) -> Path | None:
    """Returns the archive, or what was extracted from it, that a user has put into a folder."""
    folder = Path(folder).expanduser()
    if (folder / f"{ROOT}.zip").is_file():
        return folder / f"{ROOT}.zip"
    for root in (folder / ROOT, folder):
        if (root / "images").is_dir():
            return root
    return None


def _download(folder: Path) -> Path:
    """Downloads the archive into a folder, unless it lies there already."""
    advice = (
        f"Put {ROOT}.zip, or the folder {ROOT} extracted from it, into {folder / 'manual'}, or "
        "give the extracted folder itself as data_dir"
    )
    try:
        return download(OFFICIAL.url, folder / f"{ROOT}.zip", f"sha1:{OFFICIAL.sha1}", advice)
    except ValueError as error:
        raise DataError(f"{error} {advice}") from error


def _check_hash(archive: Path) -> None:
    found = pooch.file_hash(str(archive), alg="sha1")
    if found != OFFICIAL.sha1:
        raise DataError(
            f"{archive}: not the official archive, or incomplete. Expected the SHA-1 "
            f"{OFFICIAL.sha1}. Received: {found}"
        )


@functools.lru_cache(maxsize=1)
def _open_root(path: Path) -> Traversable:
    """Opens a folder, or the archive of one, once per process."""
    if path.suffix != ".zip":
        return path
    archive = zipfile.ZipFile(path)
    for member in archive.infolist():
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if (
            name.is_absolute()
            or ".." in name.parts
            or ":" in member.filename
            or stat.S_ISLNK(member.external_attr >> 16)
        ):
            raise DataError(
                f"{path}: the entry {member.filename!r} leads out of the archive; nothing of it "
                "was used"
            )
    return zipfile.Path(archive, f"{ROOT}/")


@dataclass(frozen=True)
class _Source:
    """Where one example comes from; paths are relative to the root."""

    root: Path
    name: str
    image: str
    label: str
    scene: str


def _read_scenes(root: Path) -> dict[str, str]:
    """Returns the scene of every image that the archive knows one of."""
    file = _open_root(root).joinpath("sceneCategories.txt")
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return {name: scene.strip() for name, _, scene in (line.partition(" ") for line in lines)}


def _list_sources(root: Path, split: str, scenes: dict[str, str]) -> list[_Source]:
    """Pairs the images of a split with their annotations, in the order of their names."""
    images = _list_names(root, f"images/{_FOLDERS[split]}", ".jpg")
    labels = _list_names(root, f"annotations/{_FOLDERS[split]}", ".png")
    lonely = [f"{images[name]} has no annotation" for name in images.keys() - labels]
    lonely += [f"{labels[name]} has no image" for name in labels.keys() - images]
    advice = "Add the file of the same name, or take this one out"
    raise_if_any(Problem(str(root), "without partner", text, advice) for text in lonely)
    return [
        _Source(root, name, images[name], labels[name], scenes.get(name, ""))
        for name in sorted(images)
    ]


def _list_names(root: Path, folder: str, ending: str) -> dict[str, str]:
    opened = _open_root(root).joinpath(folder)
    if not opened.is_dir():
        return {}
    files = (file.name for file in opened.iterdir())
    return {
        name.removesuffix(ending): f"{folder}/{name}"
        for name in files
        if name.endswith(ending) and not name.startswith(".")
    }


def _read_example(source: _Source) -> tuple[str, dict[str, Any]]:
    """Reads and checks one example; depends on nothing else, so that Beam may run it anywhere."""
    image_file, label_file = (
        EncodedFile(f"{source.root}: {path}", _open_root(source.root).joinpath(path).read_bytes())
        for path in (source.image, source.label)
    )
    image, label = read_image(image_file), read_label(label_file)
    if image.shape[:2] != label.shape:
        raise DataError(size_problem(str(image_file), image.shape[:2], label.shape))
    mode = image_mode(label_file)
    if mode != "L":
        # TensorFlow would read a palette's colours in place of the numbers.
        raise DataError(
            f"{label_file}: expected one channel of 8 bits without a palette (mode L). "
            f"Received: mode {mode}"
        )
    if label.max() > len(ADE20K_CLASSES):
        raise DataError(
            f"{label_file}: holds the label {label.max()}. Expected 0 to {len(ADE20K_CLASSES)}"
        )
    return source.name, {
        "image": image_file.content,
        "label": label_file.content,
        "file_name": source.name,
        "scene_category": source.scene,
    }


def _say_counts(counts: dict[str, int]) -> str:
    return " and ".join(f"{count:,} images for {split}" for split, count in counts.items())
