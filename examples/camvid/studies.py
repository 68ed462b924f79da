"""The runs of each study on CamVid: what each changes over the recipe "camvid-comparison"."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdanet_tf.base.catalog import model_names
from pdanet_tf.recipes import find
from pdanet_tf.training.config import TrainConfig

RECIPE = "camvid-comparison"
HEADS = ("fcn", "pspnet", "danet", "pdanet")
BACKBONES = tuple(
    name.removeprefix("pdanet_") for name in model_names() if name.startswith("pdanet_")
)
TRAIN_IMAGES = 367
ABLATION_BASE = "pdanet_resnet18_half"
# One change each. An epoch has 45 steps, so that the average of "ema" spans two epochs.
ABLATION: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "no-class-weights": {"class_weights": None},
    "loss-at-one-eighth": {"loss_size": "logits"},
    "adam": {
        "optimizer": "adam",
        "nesterov": False,
        "learning_rate": 1e-3,
        "weight_decay": 2e-4,
        "warmup_steps": 100,
    },
    "adamw": {
        "optimizer": "adamw",
        "nesterov": False,
        "learning_rate": 1e-3,
        "weight_decay": 1e-2,
        "warmup_steps": 100,
    },
    "warmup": {"warmup_steps": 100},
    "ema": {"ema": 0.99},
    "ohem": {"loss": "ohem(threshold=0.7)"},
    "lovasz": {"loss": "0.5*ce+0.5*lovasz"},
    "colour-jitter": {"color_jitter": 0.4},
    "rotation-and-blur": {"rotation": 10.0, "blur": 1.0},
    "no-flip": {"flip": False},
    "aux": {"aux_head": True},
    "full-size": {"short_edge": None, "crop_size": (360, 480)},
}


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        name: What it is, without the seed: the model, and what else differs from the recipe.
        seed: Seed of all random choices.
        options: Options of `TrainConfig` that differ from those of the recipe.
        root: The folder of all runs. Runs of one name are shared by the studies.
    """

    name: str
    seed: int
    options: Mapping[str, Any]
    root: Path

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.root / self.name / f"seed{self.seed}"

    @property
    def is_begun(self) -> bool:
        """Whether there is a checkpoint to continue from."""
        return (self.folder / "last.keras").exists()

    @property
    def has_ended(self) -> bool:
        """Whether the run is complete."""
        return (self.folder / "summary.json").exists()

    def configure(self) -> TrainConfig:
        """Returns all options of the run.

        Raises:
            ValueError: If an option is unknown or out of range.
        """
        given = {**self.options, "seed": self.seed, "output_dir": str(self.folder)}
        return find(RECIPE).configure(**given)


def _models(backbone: str) -> dict[str, dict[str, Any]]:
    """Returns FCN, PSPNet, DANet and PDANet, then the same with deep supervision."""
    names = [f"{head}_{backbone}" for head in HEADS]
    runs: dict[str, dict[str, Any]] = {name: {"model": name} for name in names}
    return runs | {f"{name}-aux": {"model": name, "aux_head": True} for name in names}


def _gamma(backbone: str) -> dict[str, dict[str, Any]]:
    """Returns DANet and PDANet: both channel energies, with and without decay of the scales."""
    similar: dict[str, Any] = {"head_options": {"channel_energy": "similar"}}
    no_decay = {"decay_attention_scales": False}
    return {
        f"{head}_{backbone}{ending}": {"model": f"{head}_{backbone}", **options}
        for ending, options in {
            "": {},
            "-no-decay": no_decay,
            "-similar": similar,
            "-similar-no-decay": {**similar, **no_decay},
        }.items()
        for head in ("danet", "pdanet")
    }


def _ablation(_: str) -> dict[str, dict[str, Any]]:
    """Returns short runs of a small PDANet, each with one change."""
    return {
        "-".join(filter(None, (ABLATION_BASE, change))): {"model": ABLATION_BASE, **options}
        for change, options in ABLATION.items()
    }


STUDIES: Mapping[str, Callable[[str], dict[str, dict[str, Any]]]] = {
    "models": _models,
    "gamma": _gamma,
    "ablation": _ablation,
}


def make_runs(
    study: str, root: Path, backbone: str, seeds: Sequence[int], shared: Mapping[str, Any]
) -> list[Run]:
    """Returns the runs of a study, in their order: all runs of the first seed come first.

    Args:
        study: One of `STUDIES`.
        root: The folder of all runs.
        backbone: The backbone of the models, such as "resnet18"; the study "ablation" has its own.
        seeds: The seeds.
        shared: Options of `TrainConfig` that are the same for all runs, such as `epochs`.
    """
    named = STUDIES[study](backbone)
    return [
        Run(name, seed, {**shared, **options}, root)
        for seed in seeds
        for name, options in named.items()
    ]


def spell_study(study: str, backbone: str, configs: Sequence[TrainConfig]) -> str:
    """Returns the command of a study.

    Args:
        study: One of `STUDIES`.
        backbone: The backbone of its models.
        configs: The options of those of its runs that were begun, at least one.
    """
    recipe, first = find(RECIPE).config, configs[0]
    parts = [f"python examples/camvid/compare.py {study} --data-dir CamVid"]
    parts += [f"--epochs {first.epochs}"] if first.epochs != recipe.epochs else []
    parts += [f"--batch-size {first.batch_size}"] if first.batch_size != recipe.batch_size else []
    steps = first.steps_per_epoch
    parts += [f"--steps {steps}"] if steps not in (None, TRAIN_IMAGES // first.batch_size) else []
    seeds = sorted({config.seed for config in configs})
    parts += [f"--seeds {' '.join(map(str, seeds))}"] if seeds != [0] else []
    parts += [f"--precision {first.precision}"] if first.precision != recipe.precision else []
    parts += [f"--backbone {backbone}"] if backbone != "resnet18" and study != "ablation" else []
    return " ".join(parts)
