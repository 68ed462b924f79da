"""The configuration of a training run."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdanet_tf.base.choices import (
    CLASS_WEIGHTS,
    DATASETS,
    LOSS_SIZES,
    OPTIMIZERS,
    OUTPUT_STRIDES,
    SCHEDULES,
    check_choice,
    check_precision,
)
from pdanet_tf.base.fields import check_fields, convert_field, from_mapping, shorten
from pdanet_tf.base.ignore_labels import ignored_values
from pdanet_tf.base.loss_names import parse_loss
from pdanet_tf.base.pixel_format import check_statistics
from pdanet_tf.base.ranges import (
    check_at_least,
    check_class_weights,
    check_crop_size,
    check_scale_range,
    check_share,
    check_short_edges,
)
from pdanet_tf.files import one_line, write_atomically
from pdanet_tf.training.config_files import read_options
from pdanet_tf.training.intervals import normalise
from pdanet_tf.version import __version__

# Format of `config.json`. Raise it with every change that an older pdanet_tf cannot read, such as
# a new option. Files without a format were written before there was one, and count as format 1.
FORMAT_VERSION = 4
# The defaults of each recipe, for options that are None.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "crop": {"crop_size": (512, 512), "scale_range": (0.5, 2.0), "color_jitter": 0.4},
    "paper": {
        "short_edges": (300, 375, 450, 525, 600),
        "short_edge": 450,
        "steps_per_epoch": 5000,
    },
}
_SYNTHETIC_CROP_SIZE = (96, 128)  # the scenes are 144 x 192
# The options that only one recipe has.
_OPTIONS_OF = {
    "crop": ("crop_size", "scale_range", "color_jitter", "rotation", "blur", "downscale"),
    "paper": ("short_edges",),
}
RECIPES = tuple(_DEFAULTS)
_LONGEST_REASON = 350  # characters of a message about a file


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of a training run. The command line has an option for each field.

    There are two recipes for the batches:

    - "crop", the modern recipe: images are scaled at random, cropped to one size, flipped and
      recoloured; see `pdanet_tf.data.batches.pipeline.crop_batches`. On a GPU, XLA compiles the
      training step.
    - "paper", the recipe of the reference: batches of whole images, either all portraits or all
      landscapes, resized to a short edge that is drawn for each batch; see
      `pdanet_tf.data.batches.pipeline.paper_batches`. Validation resizes images to a short edge
      of 450, as the reference does.

    `TrainConfig(recipe="paper", dataset="ade20k", data_dir=...)` is the recipe of PDANet's paper:
    20 epochs of 5000 steps of 8 images, SGD with momentum 0.9 and weight decay 1e-4, and a
    learning rate that decays from 1e-2 as (1 - step / steps) ** 0.9. `max_size` is 1000, as in
    the paper's table 1; table 2 has 600. Initial weights are random, except those that `weights`
    and `backbone_weights` load.

    If an option is None, its value comes from the recipe (see `resolved`), the data set or the
    model.

    The constructor converts lists to tuples, paths to strings, and NumPy's numbers to Python's.

    With `resume=True`, an option that has its default value counts as not given, and the value of
    the run is used: `TrainConfig(output_dir=..., resume=True)` suffices. See
    `pdanet_tf.training.resume`.

    Raises:
        ValueError: If a value has the wrong type, is out of range, or requires another recipe.
            The message names the option.

    Example:
        ```python
        config = TrainConfig(dataset="camvid", data_dir="CamVid", crop_size=(360, 480))
        ```
    """

    output_dir: str = _option("runs/pdanet", "folder for the files of the run")
    model: str = _option("pdanet_resnet18", "name of the model")
    dataset: str = _option("synthetic", " or ".join((", ".join(DATASETS[:-1]), DATASETS[-1])))
    data_dir: str | None = _option(None, "folder of the data set")
    image_pattern: str | None = _option(
        None,
        "paths of the images in the folder, such as '{split}/img/{name}.jpg'; by default "
        "'images/{split}/{name}.*'; for 'folder'",
    )
    annotation_pattern: str | None = _option(
        None,
        "paths of the annotations, such as '{split}/mask/{name}_mask.png'; by default "
        "'annotations/{split}/{name}.*'; for 'folder'",
    )
    split_lists: Mapping[str, str] | None = _option(
        None,
        "text files of image names for the splits, relative to the folder, such as "
        "train=train.txt validation=val.txt; for 'folder'",
    )
    num_classes: int | None = _option(None, "number of classes; for 'folder' without classes.csv")
    class_names: tuple[str, ...] | None = _option(
        None, "names of the classes; for 'folder' (default: classes.csv)"
    )
    class_colors: tuple[str, ...] | None = _option(
        None,
        "colours of the classes, each as '#ff8000' or '255,128,0'; by default bright colours that "
        "are easy to tell apart",
    )
    label_offset: int = _option(
        0, "value of the first class in the annotation files, such as 1; for 'folder'"
    )
    ignore_label: int | tuple[int, ...] | None = _option(
        None,
        "value or values that mark unlabelled pixels in the annotation files; by default 255; for "
        "'folder'",
    )
    channels: int | None = _option(
        None, "number of channels of the images; by default 3 (RGB); for 'folder'"
    )
    mean: tuple[float, ...] | None = _option(
        None,
        "mean of each channel, in the values of the files; by default that of the normalisation, "
        "or measured on the training split if the images are not 8-bit RGB",
    )
    std: tuple[float, ...] | None = _option(
        None, "standard deviation of each channel, in the values of the files; see mean"
    )
    epochs: int = _option(20, "number of epochs")
    steps_per_epoch: int | None = _option(
        None, "steps per epoch; by default one pass over the images, with recipe paper 5000"
    )
    batch_size: int = _option(8, "images per step, summed over all devices")
    loss: str = _option(
        "ce",
        "name of a loss (ce, ohem, focal, dice, jaccard, tversky or lovasz), with its parameters "
        "in parentheses, such as 'ohem(threshold=0.7)', or a weighted sum, such as "
        "'0.7*ce+0.3*lovasz'",
    )
    loss_size: str = _option(
        "logits",
        "size at which the loss is computed: logits (that of the head's output, as the reference "
        "does) or labels (that of the image)",
    )
    class_weights: str | tuple[float, ...] | None = _option(
        None,
        "weights of the classes in the loss: one number per class, or balanced, median-frequency "
        "or log to compute them from the training annotations",
    )
    label_smoothing: float = _option(
        0.0, "share of the probability that cross-entropy spreads over all classes, from 0 to 1"
    )
    optimizer: str = _option("sgd", "optimizer: sgd, adam or adamw")
    learning_rate: float = _option(1e-2, "initial learning rate")
    schedule: str = _option(
        "poly", "schedule of the learning rate: poly or cosine (both decay to 0) or constant"
    )
    power: float = _option(0.9, "power of the polynomial decay")
    warmup_steps: int = _option(
        0, "steps in which the learning rate first rises linearly from 0; part of all steps"
    )
    backbone_lr: float = _option(
        1.0, "factor of the learning rate for the backbone, above 0, such as 0.1 for fine-tuning"
    )
    momentum: float = _option(0.9, "momentum of SGD")
    nesterov: bool = _option(False, "use Nesterov momentum")
    weight_decay: float = _option(1e-4, "weight decay of convolution kernels and attention scales")
    decay_attention_scales: bool = _option(
        True, "whether the attention scales (gamma) decay, as the reference has it"
    )
    clip_norm: float | None = _option(
        None, "upper limit of the norm of all gradients together; by default none"
    )
    accumulation_steps: int = _option(
        1, "number of steps whose gradients are averaged for one update of the weights"
    )
    ema: float | None = _option(
        None,
        "momentum of an exponential moving average of the weights, such as 0.999; validation uses "
        "the average, and best.keras holds it; by default there is none",
    )
    normalization: str = _option("torch", "normalisation of the pixels: torch or caffe")
    aux_head: bool = _option(False, "train an auxiliary head on stage C4 (deep supervision)")
    aux_weight: float = _option(0.4, "weight of the auxiliary head's loss")
    head_options: Mapping[str, Any] | None = _option(
        None, "options of the model's head, such as pool_scales=[1,2,4,8]"
    )
    dropout: float | None = _option(None, "dropout rate of the heads; by default that of the model")
    variant: str | None = _option(
        None, "variant of the model, such as torchvision; by default this package's own model"
    )
    stem: str | None = _option(
        None, "stem of a ResNet: deep, 7x7, v1c or v1d; by default that of the model"
    )
    output_stride: int | None = _option(
        None, "stride of the features: 8, 16 or 32; by default that of the model"
    )
    recipe: str = _option(
        "crop",
        "recipe for the batches: crop (random crops) or paper (whole images); on the command line "
        "also the name of a recipe for the whole run, see 'pdanet-tf recipes'",
    )
    short_edge: int | None = _option(
        None,
        "short edge in pixels that images are resized to, in validation and (recipe crop) before "
        "the random scale; by default images keep their size, with recipe paper it is 450",
    )
    max_size: int = _option(
        1000, "upper limit of the long edge in pixels, in validation and with recipe paper"
    )
    crop_size: tuple[int, int] | None = _option(
        None, "height and width of the crops; by default 512 512, for synthetic scenes 96 128"
    )
    scale_range: tuple[float, float] | None = _option(
        None, "lowest and highest random scale; by default 0.5 2"
    )
    color_jitter: float | None = _option(
        None,
        "strength of the random colour changes of crops, from 0 to 1; by default 0.4, or 0 if "
        "channels is not 3",
    )
    rotation: float | None = _option(
        None,
        "largest angle in degrees by which crops are rotated at random; by default 0; for recipe "
        "crop",
    )
    blur: float | None = _option(
        None,
        "largest standard deviation in pixels of a random Gaussian blur; by default 0; for recipe "
        "crop",
    )
    downscale: float | None = _option(
        None,
        "largest factor by which crops lose resolution at random: they are scaled down and up "
        "again; by default 1, none; for recipe crop",
    )
    short_edges: tuple[int, ...] | None = _option(
        None,
        "short edges in pixels, from which each batch draws one; by default 300 375 450 525 600; "
        "for recipe paper",
    )
    flip: bool = _option(True, "flip images horizontally at random")
    backbone_weights: str | None = _option(
        None, "initial weights of the backbone: imagenet; by default random"
    )
    weights: str | None = _option(
        None,
        "file of initial weights, its address on Hugging Face (hf://owner/name, extra 'hub'), or "
        "the name of a published checkpoint; by default random. Weights that do not fit, such as "
        "those of a classifier for other classes, stay random",
    )
    strict: bool = _option(False, "refuse initial weights that do not all fit")
    freeze: str | tuple[str, ...] | None = _option(
        None,
        "parts that are not trained: backbone, stem, or stages such as C1 C2; their batch norm "
        "stays in inference mode",
    )
    precision: str = _option(
        "float32",
        "dtype policy of the layers: float32, mixed_bfloat16 or mixed_float16. Training in "
        "mixed_bfloat16 is eleven times slower than in float32 on a CPU without bfloat16, which is "
        "one that lists neither avx512_bf16 nor amx_bf16 in /proc/cpuinfo",
    )
    patience: int | None = _option(
        None, "stop after this many epochs without a better validation score; by default never"
    )
    checkpoint_every: int | str | None = _option(
        None,
        "how often the state is saved within an epoch: a number of steps, such as 500, or minutes, "
        "such as 10min; by default only at the end of every epoch",
    )
    keep_checkpoints: int = _option(
        2,
        "number of states that are kept: last.keras, and before it last-1.keras and so on, which "
        "are used if a newer one is damaged",
    )
    seed: int = _option(0, "seed of all random choices")
    resume: bool = _option(
        False,
        "continue the run in output_dir with the options of its config.json; the only options that "
        "may change are epochs, to a larger number, data_dir, checkpoint_every and "
        "keep_checkpoints",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        lowest = {
            "epochs": 1,
            "steps_per_epoch": 1,
            "batch_size": 1,
            "short_edge": 1,
            "max_size": 1,
            "num_classes": 1,
            "learning_rate": 0,
            "power": 0,
            "weight_decay": 0,
            "aux_weight": 0,
            "seed": 0,
            "label_offset": 0,
            "channels": 1,
            "warmup_steps": 0,
            "accumulation_steps": 1,
            "patience": 1,
            "rotation": 0,
            "blur": 0,
            "downscale": 1,
            "keep_checkpoints": 1,
        }
        for name, bound in lowest.items():
            value = getattr(self, name)
            if value is not None:
                check_at_least(name, value, bound)
        ignored_values(self.ignore_label)  # raises if one is negative or occurs twice
        if self.seed >= 2**32:
            raise ValueError(f"seed must be below 2**32. Received: seed={self.seed}")
        object.__setattr__(self, "checkpoint_every", normalise(self.checkpoint_every))
        check_precision(self.precision, training=True)
        if isinstance(self.class_weights, str):
            check_choice("class_weights", self.class_weights, CLASS_WEIGHTS)
        parse_loss(self.loss)  # raises if it names no loss
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("loss_size", self.loss_size, LOSS_SIZES)
        self._check_ranges()
        self._check_recipe()
        self._check_unused()

    def _check_ranges(self) -> None:
        for name in ("momentum", "color_jitter", "label_smoothing"):
            value = getattr(self, name)
            if value is not None:
                check_share(name, value)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout must be at least 0 and below 1. Received: dropout={self.dropout}"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(
                "ema must be above 0 and below 1, or None for no moving average. "
                f"Received: ema={self.ema}"
            )
        if self.dropout is not None and "dropout" in (self.head_options or {}):
            raise ValueError(
                "dropout is given twice; leave it out of head_options. Received: "
                f"dropout={self.dropout}, head_options={shorten(self.head_options)}"
            )
        if self.freeze == ():
            raise ValueError("freeze must name at least one part, or be None. Received: freeze=()")
        if self.strict and self.weights is None:
            raise ValueError("strict=True requires weights, which it refuses if they do not fit")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm must be above 0. Received: clip_norm={self.clip_norm}")
        if self.backbone_lr <= 0:
            raise ValueError(
                "backbone_lr must be above 0; to leave the backbone as it is, use "
                f"freeze='backbone'. Received: backbone_lr={self.backbone_lr}"
            )
        if isinstance(self.class_weights, tuple):
            check_class_weights(self.class_weights)
        check_statistics(self.mean, self.std, self.channels or 3)
        if self.output_stride is not None and self.output_stride not in OUTPUT_STRIDES:
            raise ValueError(
                f"output_stride must be one of {OUTPUT_STRIDES}. "
                f"Received: output_stride={self.output_stride}"
            )
        if self.scale_range is not None:
            check_scale_range(self.scale_range)
        if self.crop_size is not None:
            check_crop_size(self.crop_size)
        if self.short_edges is not None:
            check_short_edges(self.short_edges)
        names = self.class_names or ()
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(
                f"class_names must differ. More than once: {', '.join(map(repr, twice))}. "
                f"Received: class_names={shorten(names)}"
            )

    def _check_recipe(self) -> None:
        if self.recipe not in RECIPES:
            raise ValueError(
                f"recipe must be {' or '.join(RECIPES)}, the recipe for the batches. "
                f"Received: recipe={self.recipe!r}. Named recipes for whole runs are in "
                "pdanet_tf.recipes: pdanet_tf.recipes.find(name).configure(...); on the command "
                "line --recipe takes their names"
            )
        for recipe, names in _OPTIONS_OF.items():
            for name in names:
                value = getattr(self, name)
                if recipe != self.recipe and value is not None:
                    raise ValueError(
                        f"{name} requires recipe={recipe!r}. Received: {name}={value} with "
                        f"recipe={self.recipe!r}"
                    )

    def _check_unused(self) -> None:
        """Raises if an option is given that the optimizer or the schedule does not have."""
        for name, option, needed in (
            ("momentum", "optimizer", "sgd"),
            ("nesterov", "optimizer", "sgd"),
            ("power", "schedule", "poly"),
        ):
            value, chosen = getattr(self, name), getattr(self, option)
            if chosen != needed and value != getattr(type(self), name):
                raise ValueError(
                    f"{name} requires {option}={needed!r}. Received: {name}={value} with "
                    f"{option}={chosen!r}"
                )

    def resolved(self) -> "TrainConfig":
        """Returns the configuration with the recipe's defaults in place of None."""
        defaults = dict(_DEFAULTS[self.recipe])
        if self.recipe == "crop" and self.channels not in (None, 3):
            defaults["color_jitter"] = 0.0  # the values of other channels are often measurements
        if "crop_size" in defaults and self.dataset == "synthetic":
            defaults["crop_size"] = _SYNTHETIC_CROP_SIZE
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "TrainConfig":
        """Reads a TOML or JSON file of options, such as the `config.json` of a run.

        The keys are the names of the options; options that the file leaves out have their
        defaults. The entry "version" is the format of the file (see `save`); a file without it is
        read as well.

        Raises:
            FileNotFoundError: If there is no such file.
            IsADirectoryError: If the path is a folder.
            ValueError: If the name of the file ends in neither `.toml` nor `.json`, if the file is
                not TOML or not a JSON object, has an unknown option (the message names the nearest
                known one) or a wrong value, or was written by a newer pdanet_tf. The message names
                the file, and the line of a syntax error.

        Example:
            ```python
            config = pdanet_tf.TrainConfig.load("runs/first/config.json")
            config = dataclasses.replace(config, output_dir="runs/second", seed=1)
            ```
        """
        path = Path(path)
        content = read_options(path)
        try:
            version = convert_field("version", content.pop("version", 1), int)
            if version < 1:
                raise ValueError(f"version must be at least 1. Received: version={version}")
            if version > FORMAT_VERSION:
                raise ValueError(
                    f"a newer pdanet_tf wrote this file, in format {version}; pdanet_tf "
                    f"{__version__} reads formats up to {FORMAT_VERSION}. Upgrade pdanet_tf"
                )
            return from_mapping(cls, content)
        except ValueError as error:
            raise ValueError(f"{path}: {one_line(error, _LONGEST_REASON)}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file that `load` reads: all options, and the format as "version".

        Raises:
            OSError: If the file cannot be written.
        """
        content = {"version": FORMAT_VERSION, **self.to_dict()}
        write_atomically(Path(path), json.dumps(content, indent=2) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """Returns all values under their names, ready for JSON."""
        return dataclasses.asdict(self)
