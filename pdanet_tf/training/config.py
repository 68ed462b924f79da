"""Everything that determines a training run."""

import dataclasses
from dataclasses import dataclass
from typing import Any

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a training run; the command line has an option for each.

    Raises:
        ValueError: If a value is out of range; the message names it.
    """

    output_dir: str = _option("runs/pdanet", "folder of the run's files")
    model: str = _option("pdanet_resnet18", "name of the model")
    dataset: str = _option("synthetic", "synthetic, camvid, ade20k or folder")
    data_dir: str | None = _option(None, "folder of the data set")
    num_classes: int | None = _option(None, "number of classes of the data set 'folder'")
    class_names: tuple[str, ...] | None = _option(None, "names of the classes of 'folder'")
    label_offset: int = _option(0, "for 'folder': 1 where its annotations begin at 1")
    ignore_label: int | None = _option(
        None, "for 'folder': the annotations' number for no class; by default 255"
    )
    epochs: int = _option(20, "number of epochs")
    steps_per_epoch: int | None = _option(None, "steps per epoch; by default every image once")
    batch_size: int = _option(8, "images per step, over all devices")
    learning_rate: float = _option(1e-2, "initial learning rate; falls to 0 as a polynomial")
    power: float = _option(0.9, "power of the polynomial")
    momentum: float = _option(0.9, "momentum of SGD")
    nesterov: bool = _option(False, "Nesterov's momentum")
    weight_decay: float = _option(1e-4, "decay of convolution kernels and attention scales")
    normalization: str = _option("torch", "normalisation of the pixels: torch or caffe")
    aux_head: bool = _option(False, "deep supervision of stage C4")
    aux_weight: float = _option(0.4, "weight of its loss")
    dropout: float | None = _option(None, "rate of the heads' dropout; by default the model's")
    short_edge: int | None = _option(None, "short edge that images are scaled to; None: their own")
    max_size: int = _option(1000, "longest edge in validation")
    crop_size: tuple[int, int] = _option((96, 128), "height and width of the crops")
    scale_range: tuple[float, float] = _option((0.5, 2.0), "lowest and highest random scale")
    flip: bool = _option(True, "random flips from left to right")
    weights: str | None = _option(None, "file of initial weights")
    precision: str = _option("float32", "float32, mixed_bfloat16 or mixed_float16")
    seed: int = _option(0, "seed of everything random")
    resume: bool = _option(False, "go on with the run in output_dir")

    def __post_init__(self) -> None:
        lowest = {
            "epochs": 1,
            "steps_per_epoch": 1,
            "batch_size": 1,
            "short_edge": 1,
            "max_size": 1,
            "num_classes": 1,
            "learning_rate": 0,
            "power": 0,
            "momentum": 0,
            "weight_decay": 0,
            "aux_weight": 0,
            "seed": 0,
        }
        for name, bound in lowest.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} must be at least {bound}. Received: {name}={value}")
        if self.seed >= 2**32:
            raise ValueError(f"seed must be below 2**32. Received: seed={self.seed}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision must be one of {PRECISIONS}. Received: precision={self.precision!r}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns all values under their names, ready for JSON."""
        return dataclasses.asdict(self)
