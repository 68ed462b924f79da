"""What a model card says, each fact with where it comes from."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from pdanet_tf.data.classes import Classes
from pdanet_tf.evaluation.assessment import Assessment
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.models.inspection import count_classes, default_pixel_format
from pdanet_tf.sharing.commands import changed_options, train_command
from pdanet_tf.training.summaries import SUMMARY_FILE, RunComparison, RunSummary
from pdanet_tf.weights.hub import HubAddress, is_hub_address, local_file
from pdanet_tf.weights.published import CHECKPOINTS
from pdanet_tf.weights.shipped import SHIPPED, shipped_file

BEST_FILE = "best.keras"  # of the folder of a run
# Data sets whose images differ from user to user.
OWN_FILES = ("folder", "synthetic")


@dataclass(frozen=True)
class FileFacts:
    """The file of a model.

    Attributes:
        name: Its name without the folder.
        size: Its size in bytes.
        sha256: Its hash in hexadecimal digits.
    """

    name: str
    size: int
    sha256: str

    @classmethod
    def read(cls, file: Path) -> "FileFacts":
        """Reads a file.

        Raises:
            OSError: If it cannot be read.
        """
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256")
        return cls(file.name, file.stat().st_size, digest.hexdigest())


@dataclass(frozen=True)
class Measurement:
    """The figures of a model, and how they were measured.

    Attributes:
        assessment: What `pdanet_tf.evaluation.assess` returned.
        dataset: Name of the data set, such as "camvid".
        split: Name of its split, such as "validation".
        protocol: How the images were presented to the model.
        precision: The model's dtype policy.
        refined: Whether a CRF refined the probabilities.
        data_dir: Folder of the data set; None if it is not known. The card does not name it.
    """

    assessment: Assessment
    dataset: str
    split: str
    protocol: Protocol
    precision: str = "float32"
    refined: bool = False
    data_dir: str | os.PathLike[str] | None = None

    def chose_epoch_of(self, run: RunSummary) -> bool:
        """Returns whether a run chose its best epoch with these images, as far as is known."""
        if (self.dataset, self.split) != (run.config["dataset"], "validation"):
            return False
        folders = [run.config.get("data_dir"), self.data_dir]
        is_same = all(folders) and len({os.path.abspath(str(each)) for each in folders}) == 1
        return self.dataset not in OWN_FILES or is_same


@dataclass(frozen=True)
class CardFacts:
    """What a card says. A card says nothing about what is None.

    Attributes:
        title: The first heading.
        model: Name of the architecture.
        parameters: Number of its parameters.
        settings: Classes, protocol and pixels.
        source: What `--model` takes: a path, a name or an address on the Hub.
        file: The file of the model.
        measured: The figures.
        run: The run that trained the model, with the scores that it measured itself.
        runs: The runs that differ from this one in nothing but their seeds, itself included.
        training: The command or the options of the training, as text.
        license: Identifier of the model's licence on Hugging Face, such as "apache-2.0".
        architecture: What `--model` takes if the source holds weights, and `--weights` takes it.
    """

    title: str
    model: str
    parameters: int
    settings: InferenceSettings
    source: str
    file: FileFacts | None = None
    measured: Measurement | None = None
    run: RunSummary | None = None
    runs: Sequence[RunSummary] = ()
    training: str | None = None
    license: str | None = None
    architecture: str | None = None

    @classmethod
    def of_model(
        cls,
        model: keras.Model,
        settings: InferenceSettings | None,
        source: str | os.PathLike[str],
        measured: Measurement | None = None,
        runs: Sequence[str | os.PathLike[str]] = (),
        license: str | None = None,
        architecture: str | None = None,
    ) -> "CardFacts":
        """Collects what is known about a model.

        Args:
            model: The model.
            settings: Its settings; None if they are not known.
            source: Where it was loaded from: a `.keras` file, or a name or an address that
                `pdanet_tf.inference.settings.load_model` takes. A file `best.keras` with a
                `summary.json` beside it is that of a run.
            measured: The figures, if they were measured.
            runs: Folders of runs with other seeds, or folders that contain them.
            license: Identifier of the licence; by default that of a published checkpoint.
            architecture: Name of the architecture if it was loaded with the source as `weights`.

        Raises:
            FileNotFoundError: If there is no such run.
            ValueError: If runs differ in more than their seeds, or if the model is not of a run.
        """
        if settings is None:
            classes = Classes.numbered(count_classes(model))
            settings = InferenceSettings(classes, Protocol(), default_pixel_format(model))
        name = os.fspath(source)
        file = Path(local_file(shipped_file(name)))
        run = read_run(file)
        published = CHECKPOINTS.get(name)
        return cls(
            title=_title(name, file, run),
            model=model.name,
            parameters=model.count_params(),
            settings=settings,
            source=name if _is_name(name) else file.name,
            file=FileFacts.read(file) if file.is_file() else None,
            measured=measured,
            run=run,
            runs=find_seeds(run, runs, file),
            training=None if run is None else train_command(changed_options(run.config)),
            architecture=architecture,
            license=license or (published.licence.lower() if published else None),
        )


def read_run(file: Path) -> RunSummary | None:
    """Returns the summary of the run whose best model a file is; None if it is not of a run."""
    is_run = file.name == BEST_FILE and (file.parent / SUMMARY_FILE).is_file()
    return RunSummary.read(file.parent) if is_run else None


def find_seeds(
    run: RunSummary | None, folders: Sequence[str | os.PathLike[str]], file: Path
) -> tuple[RunSummary, ...]:
    """Returns a run and those with other seeds, in the order of the seeds; () without folders.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If they differ in more than their seeds, or not in these, or if there is no run.
    """
    if not folders:
        return ()
    if run is None:
        raise ValueError(
            f"Runs with other seeds require a model of a run, {BEST_FILE} with {SUMMARY_FILE} "
            f"beside it. Received: {file}"
        )
    groups = RunComparison.of_folders([run.folder, *folders]).groups
    if len(groups) > 1:
        names = ", ".join(groups[0].differences)
        raise ValueError(f"The runs differ in more than their seeds: in {names}")
    by_seed: dict[int, RunSummary] = {}
    for each in groups[0].runs:
        seed = int(each.config.get("seed", 0))
        if (other := by_seed.setdefault(seed, each)) is not each:
            raise ValueError(
                f"The runs must differ in their seeds. {other.folder} and {each.folder} both have "
                f"seed {seed}"
            )
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def _title(name: str, file: Path, run: RunSummary | None) -> str:
    if run is not None:
        return run.folder.resolve().name
    if is_hub_address(name):
        return HubAddress.parse(name).repo.rpartition("/")[2]
    return name if _is_name(name) else file.stem


def _is_name(name: str) -> bool:
    """Returns whether a source means the same on every machine."""
    return name in SHIPPED or name in CHECKPOINTS or is_hub_address(name)
