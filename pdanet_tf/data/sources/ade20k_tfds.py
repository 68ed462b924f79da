"""A TensorFlow Datasets builder for ADE20K: downloads, checks and prepares the benchmark.

The official archive is read without unpacking it, so no path in it can point to a place on the
disk.
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

import pooch
import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters

from pdanet_tf.base.download import download
from pdanet_tf.data.problems import DataError, Problem, raise_if_any
from pdanet_tf.data.readers import EncodedFile, PathLike, image_mode, read_image, read_label
from pdanet_tf.data.sources.ade20k import ADE20K_CLASSES
from pdanet_tf.data.sources.tfds_dataset import describe_records, encoded_examples
from pdanet_tf.data.validation.image import size_problem

ROOT = "ADEChallengeData2016"
_FOLDERS = {"train": "training", "validation": "validation"}


@dataclass(frozen=True)
class Archive:
    """An archive that can be downloaded.

    Attributes:
        url: Address of the archive.
        sha1: SHA-1 of the archive in hexadecimal digits.
        counts: Number of images in each split.
    """

    url: str
    sha1: str
    counts: dict[str, int]


# The publisher gives no hash. This SHA-1 is the one in the download scripts of other projects.
OFFICIAL = Archive(
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
    {"train": 20_210, "validation": 2_000},
)


class Ade20k(tfds.core.GeneratorBasedBuilder):
    """The scene parsing benchmark of ADE20K: `tfds.load("ade20k")` after `import pdanet_tf`.

    `tfds.load("scene_parse150")` is a different data set: its annotations are of instances, in
    three channels, of 100 classes.

    Features:

    - `image`: `(height, width, 3)`, uint8, RGB; stored as the bytes of the archive's JPEG.
    - `label`: `(height, width, 1)`, uint8: 0 for "other", which is ignored, and the classes as 1 to
      150; stored as the bytes of the archive's PNG.
    - `file_name`: Name of both files, without extension.
    - `scene_category`: Name of the scene, or "" if the archive has none.

    `info.features["label"].names` contains the names of the classes, `info.metadata["colors"]`
    their official colours, both starting with 0, "other". Two classes share a colour.

    The data set is written twice: in the format that TensorFlow reads as a stream, and as
    ArrayRecord, which `as_data_source` and the training of this package read with random access.
    With `file_format="array_record"` only ArrayRecord is written.

    The source is the official archive (967 MB), whose hash is checked. Without a network, put
    `ADEChallengeData2016.zip` or the extracted folder of that name into a folder, and pass that
    folder as `manual_dir`:

    ```python
    config = tfds.download.DownloadConfig(manual_dir="downloads")
    tfds.load("ade20k", download_and_prepare_kwargs={"download_config": config})
    ```

    With a `beam_runner` or `beam_options` in the configuration, Apache Beam prepares the data set.

    Source: Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017.
    """

    VERSION = tfds.core.Version("1.0.0")
    url_infos = None  # TFDS supports SHA-256 only; `_download` checks the SHA-1

    def _info(self) -> tfds.core.DatasetInfo:
        names = ["other", *ADE20K_CLASSES.names]
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Scene parsing benchmark of ADE20K (SceneParse150 of 2016): images whose pixels "
                "belong to 150 classes of stuff and things."
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
            license="For research and education only; the images belong to their owners.",
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
            # Each file format raises its own type of exception for a full disk.
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(
                    errno.ENOSPC,
                    f"the disk of {self.data_dir_root} is full. In addition to the archive, ADE20K "
                    "takes 3 GB during preparation, and 2 GB afterwards",
                ) from error
            raise
        finally:
            _open_root.cache_clear()

    def _prepare_random_access(self) -> None:
        """Writes the shards again as ArrayRecord unless they are, and stores names and sizes."""
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
        # `as_data_source` sets the format of the builder to the one that it reads.
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
                f"{root}: contains no images. Expected images/training and images/validation"
            )
        if counts != OFFICIAL.counts:
            message = (
                f"{root}: contains {_describe_counts(counts)}. ADE20K has "
                f"{_describe_counts(OFFICIAL.counts)}"
            )
            if root.suffix == ".zip":
                raise DataError(message)
            warnings.warn(f"{message}; only this part is prepared", stacklevel=2)
        return {split: self._generate_examples(found) for split, found in sources.items() if found}

    def _generate_examples(self, sources: list["_Source"]) -> Iterable[tuple[str, dict[str, Any]]]:
        if self._download_config.beam_runner or self._download_config.beam_options:
            beam = tfds.core.lazy_imports.apache_beam
            return beam.Create(sources) | beam.Map(_read_example)
        return map(_read_example, sources)

    def _find_root(self, dl_manager: tfds.download.DownloadManager) -> Path:
        """Returns the official archive after checking its hash, or a folder extracted from it."""
        given = self._download_config.manual_dir
        manual = find_manual(given or dl_manager.download_dir / "manual")
        if manual is None and given:
            raise DataError(
                f"{given}: contains neither {ROOT}.zip nor the folder {ROOT} extracted from it"
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
    """Returns the archive or the extracted folder in `folder`; None if there is neither."""
    folder = Path(folder).expanduser()
    if (folder / f"{ROOT}.zip").is_file():
        return folder / f"{ROOT}.zip"
    for root in (folder / ROOT, folder):
        if (root / "images").is_dir():
            return root
    return None


def _download(folder: Path) -> Path:
    """Downloads the archive to a folder, unless the folder already contains it."""
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
    """Opens an extracted folder, or the archive; the same object for every call with one path."""
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
                f"{path}: the entry {member.filename!r} points outside the archive, which is "
                "therefore not used"
            )
    return zipfile.Path(archive, f"{ROOT}/")


@dataclass(frozen=True)
class _Source:
    """The files of one example; their paths are relative to the root."""

    root: Path
    name: str
    image: str
    label: str
    scene: str


def _read_scenes(root: Path) -> dict[str, str]:
    """Returns the scene category by name of the image, for the images that have one."""
    file = _open_root(root).joinpath("sceneCategories.txt")
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return {name: scene.strip() for name, _, scene in (line.partition(" ") for line in lines)}


def _list_sources(root: Path, split: str, scenes: dict[str, str]) -> list[_Source]:
    """Pairs the images of a split with their annotations, sorted by name."""
    images = _list_names(root, f"images/{_FOLDERS[split]}", ".jpg")
    labels = _list_names(root, f"annotations/{_FOLDERS[split]}", ".png")
    unpaired = [f"{images[name]} has no annotation" for name in images.keys() - labels]
    unpaired += [f"{labels[name]} has no image" for name in labels.keys() - images]
    advice = "Add the file of the same name, or remove this one"
    raise_if_any(Problem(str(root), "without partner", text, advice) for text in unpaired)
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
    """Reads and checks one example; it depends on nothing else, so Beam can run it anywhere."""
    image_file, label_file = (
        EncodedFile(f"{source.root}: {path}", _open_root(source.root).joinpath(path).read_bytes())
        for path in (source.image, source.label)
    )
    image, label = read_image(image_file), read_label(label_file)
    if image.shape[:2] != label.shape:
        raise DataError(size_problem(str(image_file), image.shape[:2], label.shape))
    mode = image_mode(label_file)
    if mode != "L":
        # TensorFlow would read the colours of a palette in place of its indices.
        raise DataError(
            f"{label_file}: expected one channel of 8 bits without a palette (mode L). "
            f"Received: mode {mode}"
        )
    if label.max() > len(ADE20K_CLASSES):
        raise DataError(
            f"{label_file}: contains the label {label.max()}. Expected 0 to {len(ADE20K_CLASSES)}"
        )
    return source.name, {
        "image": image_file.content,
        "label": label_file.content,
        "file_name": source.name,
        "scene_category": source.scene,
    }


def _describe_counts(counts: dict[str, int]) -> str:
    return " and ".join(f"{count:,} images for {split}" for split, count in counts.items())
