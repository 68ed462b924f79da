"""What a run takes beside its configuration: data and an augmentation of the user's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from pdanet_tf.base.fields import shorten
from pdanet_tf.data.batches.augment_function import Augment, check_augment
from pdanet_tf.data.checked import CheckedDataset
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.run_folder import RunFolder

# What `TrainConfig.dataset` is in a run with data of the user's own.
OWN_DATA = "own data"
# Options that only describe the data set that `TrainConfig.dataset` names.
_DATA_OPTIONS = (
    "dataset",
    "data_dir",
    "image_pattern",
    "annotation_pattern",
    "split_lists",
    "num_classes",
    "class_names",
    "class_colors",
    "label_offset",
    "ignore_label",
)
_SET_BY_SCHEDULE = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)


@dataclass(frozen=True)
class Inputs:
    """The arguments of `train` and `resume` that are Python objects.

    Attributes:
        train_data: Images to train on; None for the data set that the configuration names.
        validation_data: Images to score the model on.
        augment: A function from an image and its label map to both, changed.
        callbacks: Callbacks for `keras.Model.fit`.

    Raises:
        DataError: If a data set is empty, or its classes cannot be used.
        TypeError: If an object has another type.
        ValueError: If only one data set is given, or their classes differ.
    """

    train_data: SegmentationDataset | None = None
    validation_data: SegmentationDataset | None = None
    augment: Augment | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()

    def __post_init__(self) -> None:
        self._check_callbacks()
        object.__setattr__(self, "callbacks", tuple(self.callbacks))
        if self.augment is not None:
            check_augment(self.augment)
        given = {"train_data": self.train_data, "validation_data": self.validation_data}
        given = {name: dataset for name, dataset in given.items() if dataset is not None}
        for name, dataset in given.items():
            if not isinstance(dataset, SegmentationDataset):
                raise TypeError(
                    f"{name} must be an object of a subclass of pdanet_tf.data."
                    f"SegmentationDataset. Received: {_describe(dataset)}"
                )
            object.__setattr__(self, name, CheckedDataset(dataset, name))
        if len(given) == 1:
            raise ValueError(
                "train_data and validation_data must be given together; `load_dataset` opens a "
                f"data set of the package. Received: {next(iter(given))} alone"
            )
        if self.train_data and self.validation_data:
            _check_same_classes(self.train_data, self.validation_data)

    def _check_callbacks(self) -> None:
        if isinstance(self.callbacks, keras.callbacks.Callback):
            raise TypeError("callbacks must be a list. Received: one callback")
        if not isinstance(self.callbacks, Sequence):
            kind = type(self.callbacks).__name__
            raise TypeError(f"callbacks must be a list. Received: {kind}")
        for callback in self.callbacks:
            if not isinstance(callback, keras.callbacks.Callback):
                raise TypeError(
                    "callbacks must be objects of subclasses of keras.callbacks.Callback. "
                    f"Received: {_describe(callback)}"
                )

    @property
    def has_data(self) -> bool:
        """Whether the data are the user's own."""
        return self.train_data is not None

    def dataset(self, config: TrainConfig, split: str) -> SegmentationDataset | None:
        """Returns the user's data of a split; None if the configuration names the data set.

        Raises:
            ValueError: If the configuration is that of a run with data of the user's own, and
                there are none.
        """
        if config.dataset == OWN_DATA and not self.has_data:
            raise ValueError(
                f"dataset={OWN_DATA!r} is recorded for data that were passed to train() as "
                "objects. Pass train_data and validation_data, or set dataset to the name of a "
                "data set"
            )
        return self.train_data if split == "train" else self.validation_data

    def configure(self, config: TrainConfig) -> dict[str, Any]:
        """Returns the options that a new run records for its data.

        Raises:
            ValueError: If options describe a data set that is not used, or a callback sets the
                learning rate, which the schedule sets.
        """
        self.check_schedule(config)
        if not self.has_data:
            return {}
        default = TrainConfig()
        unused = [
            f"{name}={shorten(getattr(config, name))}"
            for name in _DATA_OPTIONS
            if getattr(config, name) not in (getattr(default, name), OWN_DATA)
        ]
        if unused:
            raise ValueError(
                "train_data and validation_data replace the data set of the configuration. Leave "
                f"these options out: {', '.join(unused)}"
            )
        return {"dataset": OWN_DATA, **self._channels(config)}

    def _channels(self, config: TrainConfig) -> dict[str, Any]:
        """Returns the option for the channels of the user's images, if they are not RGB."""
        if self.train_data is None:
            return {}
        images = self.train_data.pixel_format
        if config.channels not in (None, images.channels):
            raise ValueError(
                f"channels must be that of the images of train_data, {images.channels}. "
                f"Received: channels={config.channels}"
            )
        return {} if images.is_rgb else {"channels": images.channels}

    def check_schedule(self, config: TrainConfig) -> None:
        """Checks that no callback sets the learning rate, unless it is constant.

        Raises:
            ValueError: If one does.
        """
        for callback in self.callbacks:
            is_fixed = config.schedule == "constant" and not config.warmup_steps
            if isinstance(callback, _SET_BY_SCHEDULE) and not is_fixed:
                raise ValueError(
                    f"{type(callback).__name__} sets the learning rate, which the schedule also "
                    "sets: it requires schedule='constant' and warmup_steps=0. Received: "
                    f"schedule={config.schedule!r}, warmup_steps={config.warmup_steps}"
                )

    def check_resumed(self, config: TrainConfig, folder: RunFolder) -> None:
        """Checks that a run that is resumed was started with data of the same kind.

        Raises:
            ValueError: If only one of both runs has data of the user's own, or as in `configure`.
        """
        self.check_schedule(config)
        if config.dataset == OWN_DATA and not self.has_data:
            raise ValueError(
                f"The run in {folder.path} was started with data of your own. Resume it in Python: "
                f"pdanet_tf.training.resume({str(folder.path)!r}, train_data=..., "
                "validation_data=...)"
            )
        if config.dataset != OWN_DATA and self.has_data:
            raise ValueError(
                f"The run in {folder.path} was started with dataset={config.dataset!r}. Leave "
                "train_data and validation_data out to continue it, or choose another output_dir."
            )

    def check_origin(self, origin: Mapping[str, Any], folder: RunFolder) -> None:
        """Checks that both or neither of a run and its continuation have an augmentation.

        Args:
            origin: The origin of the checkpoint, with what `describe` returned.
            folder: The folder of the run.

        Raises:
            ValueError: If only one of them has.
        """
        former = origin.get("augment")
        if former and self.augment is None:
            raise ValueError(
                f"The run in {folder.path} was started with a function `augment`, {former}. Resume "
                f"it in Python: {self.spell_resume(folder, augmented=True)}"
            )
        if self.augment is not None and not former:
            raise ValueError(
                f"The run in {folder.path} was started without `augment`. Leave it out to continue "
                "the run, or choose another output_dir."
            )

    def describe(self) -> dict[str, Any]:
        """Returns what a checkpoint and the summary record, ready for JSON."""
        return {} if self.augment is None else {"augment": _describe(self.augment)}

    def spell_resume(self, folder: RunFolder, augmented: bool = False) -> str:
        """Returns the call of `resume` that continues a run.

        Args:
            folder: The folder of the run.
            augmented: Whether the run was started with `augment`, also if it is missing here.
        """
        options = ["train_data", "validation_data"] if self.has_data else []
        options += ["augment"] if augmented or self.augment is not None else []
        options += ["callbacks"] if self.callbacks else []
        arguments = [repr(str(folder.path)), *(f"{name}=..." for name in options)]
        return f"pdanet_tf.training.resume({', '.join(arguments)})"


def _check_same_classes(train: SegmentationDataset, validation: SegmentationDataset) -> None:
    names = [list(dataset.classes.names) for dataset in (train, validation)]
    if names[0] != names[1]:
        raise ValueError(
            "train_data and validation_data must have the same classes in the same order. "
            f"Received: {len(names[0])}, {shorten(names[0])}, and {len(names[1])}, "
            f"{shorten(names[1])}"
        )


def _describe(thing: object) -> str:
    """Returns the name of a class or function, or what an object is."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}; create an object of it"
    name = getattr(thing, "__qualname__", None)
    if name is None:
        return f"an object of {type(thing).__module__}.{type(thing).__qualname__}"
    return f"{thing.__module__}.{name}"
