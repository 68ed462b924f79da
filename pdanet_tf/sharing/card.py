"""The card of a model: README.md in the format of Hugging Face."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.training.summaries import RunSummary
from pdanet_tf.version import __version__
from pdanet_tf.weights.hub import PREFIX, HubAddress

_TASK = "image-segmentation"
_SCORES = {"mean_iou": "mean IoU", "pixel_accuracy": "pixel accuracy"}
# Options of a run that do not say how the model was trained, or only where files were.
_LEFT_OUT = ("output_dir", "data_dir", "resume", "version", "class_names", "class_colors")


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    Attributes:
        model: The model.
        settings: Its classes, protocol and pixels.
        address: Where its file will be.
        size: Size of the file in bytes.
        run: The summary of the run that trained it; None if it is not known.
        license: Identifier of its licence on Hugging Face, such as "apache-2.0"; None for none.
    """

    model: keras.Model
    settings: InferenceSettings
    address: HubAddress
    size: int
    run: RunSummary | None = None
    license: str | None = None


def write_card(hub: Any, facts: CardFacts) -> str:
    """Returns the text of a card: metadata in YAML, and how to use the model in Markdown.

    Args:
        hub: The module huggingface_hub, which writes the YAML.
        facts: What the card says.
    """
    name = facts.address.repo.rpartition("/")[2]
    scores = {} if facts.run is None else facts.run.scores
    data = hub.ModelCardData(
        library_name="keras",
        license=facts.license,
        pipeline_tag=_TASK,
        tags=["pdanet_tf", "semantic-segmentation", "keras", facts.model.name],
        model_name=name if scores else None,
        eval_results=[
            hub.EvalResult(_TASK, facts.run.config["dataset"], _data_name(facts.run), key, score)
            for key, score in scores.items()
        ]
        if facts.run is not None
        else None,
    )
    parts = [_head(name, facts), _usage(facts), _classes(facts.settings)]
    if facts.run is not None:
        parts.append(_training(facts.run))
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def _data_name(run: RunSummary) -> str:
    return f"{run.config['dataset']}, validation split"


def _head(name: str, facts: CardFacts) -> str:
    images, protocol = facts.settings.pixel_format, facts.settings.protocol
    edges = protocol.short_edges
    sizes = "their own size" if edges is None else f"short edges of {_join(edges)} pixels"
    rows = {
        "model": f"`{facts.model.name}` of [pdanet_tf](https://pypi.org/project/pdanet-tf) "
        f"{__version__}",
        "parameters": f"{facts.model.count_params():,}",
        "file": f"`{facts.address.file}`, {facts.size / 1e6:.1f} MB",
        "images": "RGB, 8 bits (pixels from 0 to 255; the model normalises them)"
        if images.is_rgb
        else str(images),
        "inference": f"at {sizes}, at most {protocol.max_size} pixels long",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return (
        f"# {name}\n\nScene segmentation: the model assigns each pixel of an image to one of "
        f"{len(facts.settings.classes)} classes.\n\n| | |\n| --- | --- |\n{table}"
    )


def _usage(facts: CardFacts) -> str:
    address = f"{PREFIX}{facts.address.repo}"
    return (
        "## Use it\n\n```sh\npip install 'pdanet_tf[hub]'\n"
        f"pdanet-tf predict photo.jpg --model {address}\n```\n\n"
        "```python\nimport pdanet_tf\n\n"
        f'predictor = pdanet_tf.Predictor("{address}")\n'
        'predictor.predict("photo.jpg").overlay.save("overlay.png")\n```\n\n'
        "`weights=` of `pdanet_tf.build_model` and `pdanet_tf.TrainConfig` takes the same address."
    )


def _classes(settings: InferenceSettings) -> str:
    rows = [
        f"| {label} | {_escape(name)} | {', '.join(map(str, color))} |"
        for label, (name, color) in enumerate(
            zip(settings.classes.names, settings.classes.colors, strict=True)
        )
    ]
    return "\n".join(
        ["## Classes", "", "| label | name | red, green, blue |", "| --- | --- | --- |", *rows]
    )


def _training(run: RunSummary) -> str:
    scores = ", ".join(f"{_SCORES.get(key, key.replace('_', ' '))} {value:.4f}"
                       for key, value in run.scores.items())  # fmt: skip
    iou = "\n".join(f"| {_escape(name)} | {value:.3f} |" for name, value in run.iou.items())
    options = "\n".join(f"{key}: {value}" for key, value in _told(run.config).items())
    return (
        f"## Scores\n\nOn the validation split of {run.config['dataset']}: {scores}.\n\n"
        f"| class | IoU |\n| --- | --- |\n{iou}\n\n"
        f"## Training\n\n`pdanet_tf.TrainConfig`, without the options that are None:\n\n"
        f"```\n{options}\n```"
    )


def _told(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a run that a card tells: none with a path of the user's machine."""
    told = {key: value for key, value in config.items() if key not in _LEFT_OUT}
    told = {key: value for key, value in told.items() if value is not None}
    weights = told.get("weights")
    if isinstance(weights, str) and not weights.startswith(PREFIX):
        told["weights"] = weights.replace("\\", "/").rpartition("/")[2]
    told.pop("split_lists", None)
    return told


def _join(values: tuple[int, ...]) -> str:
    return " and ".join(filter(None, (", ".join(map(str, values[:-1])), str(values[-1]))))


def _escape(text: str) -> str:
    """Returns a text for a cell of a table."""
    return text.replace("|", "\\|")
