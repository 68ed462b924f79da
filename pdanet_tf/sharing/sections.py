"""The sections of a model card about the model and its training, in Markdown."""

import statistics
from collections.abc import Iterator

from pdanet_tf.base.markdown import escape_cell, markdown_table
from pdanet_tf.base.wording import quantity
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.sharing.facts import CardFacts
from pdanet_tf.training.summaries import RunSummary
from pdanet_tf.version import __version__
from pdanet_tf.weights.hub import PREFIX

USAGE = "## Use it"
_SCORES = ("mean_iou", "pixel_accuracy", "mean_accuracy")


def score_name(key: str) -> str:
    """Returns the name of a score for people, such as "mean IoU" for "mean_iou"."""
    return key.replace("_", " ").replace("iou", "IoU")


def describe_model(facts: CardFacts) -> Iterator[str]:
    """Yields the first heading, and the facts about the model."""
    images = facts.settings.pixel_format
    yield f"# {facts.title}"
    yield (
        "Scene segmentation: the model assigns each pixel of an image to one of "
        f"{quantity(len(facts.settings.classes), 'class', 'classes')}."
    )
    rows = [
        [
            "model",
            f"`{facts.model}` of pdanet_tf {__version__}",
        ],
        ["parameters", f"{facts.parameters:,}"],
    ]
    if facts.file is not None:
        rows.append(["file", f"`{facts.file.name}`, {facts.file.size / 1e6:.1f} MB"])
        rows.append(["SHA-256", f"`{facts.file.sha256}`"])
    pixels = "RGB, 8 bits (pixels from 0 to 255; the model normalises them)"
    rows.append(["images", pixels if images.is_rgb else str(images)])
    rows.append(["inference", describe_protocol(facts.settings.protocol)])
    yield markdown_table(["", ""], rows, 2)


def describe_protocol(protocol: Protocol) -> str:
    """Returns how images are presented to a model, for a sentence."""
    edges = protocol.short_edges
    text = "at their own size"
    if edges is not None:
        text = f"with short edges of {' and '.join(map(str, edges))} pixels"
    text += f", at most {protocol.max_size} pixels long"
    if protocol.flip:
        text += ", and mirrored"
    if protocol.crop_size is not None:
        height, width = protocol.crop_size
        text += f", in windows of {height} x {width} pixels"
    return text


def describe_usage(source: str, architecture: str | None = None) -> str:
    """Returns how to use a model.

    Args:
        source: What `--model` takes; with an architecture, what `--weights` takes.
        architecture: What `--model` takes if the source holds weights.
    """
    option = source if architecture is None else f"{architecture} --weights {source}"
    argument = f'"{source}"' if architecture is None else f'"{architecture}", weights="{source}"'
    package = "`pdanet_tf` with its extra `hub`" if source.startswith(PREFIX) else "`pdanet_tf`"
    return (
        f"{USAGE}\n\nWith {package} installed:\n\n```sh\n"
        f"pdanet-tf predict photo.jpg --model {option}\n```\n\n"
        "```python\nimport pdanet_tf\n\n"
        f"predictor = pdanet_tf.Predictor({argument})\n"
        'predictor.predict("photo.jpg").overlay.save("overlay.png")\n```\n\n'
        f"`weights=` of `pdanet_tf.build_model` and `pdanet_tf.TrainConfig` takes `{source}`, too."
    )


def describe_classes(facts: CardFacts) -> Iterator[str]:
    """Yields the table of the classes, with the IoU that the run measured if there is one."""
    classes = facts.settings.classes
    yield "## Classes"
    headings = ["label", "class", "red, green, blue"]
    iou = {} if facts.run is None else facts.run.iou
    if facts.run is not None:
        headings.append("IoU")
    rows = []
    for label, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        row = [str(label), escape_cell(name), ", ".join(map(str, color))]
        if facts.run is not None:
            row.append(f"{iou[name]:.3f}" if name in iou else "")
        rows.append(row)
    yield markdown_table(headings, rows, 3)


def describe_run_scores(run: RunSummary) -> Iterator[str]:
    """Yields the scores that a run measured itself."""
    yield "## Scores"
    dataset = run.config["dataset"]
    yield f"On the validation split of {dataset}, measured at the end of the training:"
    yield markdown_table(
        ["score", "value"],
        [[score_name(key), f"{value:.4f}"] for key, value in run.scores.items()],
    )


def describe_spread(facts: CardFacts) -> Iterator[str]:
    """Yields the scores of the runs with other seeds, with their mean and spread."""
    runs = facts.runs
    if len(runs) < 2:
        return
    yield "### Spread over the seeds"
    yield (
        f"{len(runs)} runs that differ only in their seeds, each measured at the end of its "
        "training on the validation split. ± is the standard deviation (of a sample)."
    )
    rows = [
        [str(each.config["seed"]), *(f"{each.scores[name]:.4f}" for name in _SCORES)]
        for each in runs
    ]
    columns = [[each.scores[name] for each in runs] for name in _SCORES]
    spread = [f"{statistics.fmean(c):.4f} ± {statistics.stdev(c):.4f}" for c in columns]
    headings = ["seed", *map(score_name, _SCORES)]
    yield markdown_table(headings, [*rows, ["mean", *spread]])


def describe_training(facts: CardFacts) -> Iterator[str]:
    """Yields how the model was trained."""
    run = facts.run
    if run is None:
        return
    yield "## Training"
    part = ", of the last call alone" if run.steps_before else ""
    rows = [["time", f"{run.seconds / 60:.0f} minutes{part}"]]
    if "seed" in run.config:
        rows.append(["seed", str(run.config["seed"])])
    if run.devices:
        rows.append(["devices", ", ".join(map(escape_cell, run.devices))])
    if run.versions:
        rows.append(["versions", ", ".join(f"{key} {run.versions[key]}" for key in run.versions)])
    yield markdown_table(["", ""], rows, 2)
    if facts.training is not None:
        yield f"```sh\n{facts.training}\n```"
        yield "Other options have their default values, or those of the recipe that is named."
