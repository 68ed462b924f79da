"""The command line: `pdanet-tf train | evaluate | predict | export | models`."""

import argparse
import dataclasses
import os
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# TensorFlow tells of its CPU features and missing GPUs; set before it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from rich.console import Console
from rich.table import Table

import pdanet_tf
from pdanet_tf.data import DATASETS, FolderDataset, SegmentationDataset
from pdanet_tf.evaluation import evaluate_predictions
from pdanet_tf.files import whole_file
from pdanet_tf.inference import load_model
from pdanet_tf.models.registry import model_builder


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, or 1 after an error of the user's."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        command(**options)
    except (ValueError, OSError, ArithmeticError) as error:
        print(f"pdanet-tf: error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pdanet-tf", description="Train, score and use models for scene segmentation."
    )
    parser.add_argument("--version", action="version", version=pdanet_tf.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        command.set_defaults(command=function)
        return command

    _add_config_options(add("train", _train, "train a model, on GPUs or the CPU"))

    evaluate = add("evaluate", _evaluate, "score a model, or stored predictions, on a data set")
    source = evaluate.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="a .keras file")
    source.add_argument("--predictions", help="a folder with one PNG per image")
    _add_data_options(evaluate)
    _add_protocol_options(evaluate)
    evaluate.add_argument("--json", help="file to write the figures to")

    predict = add("predict", _predict, "segment pictures")
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="a picture")
    predict.add_argument("--model", required=True, help="a .keras file")
    predict.add_argument("--output", default="predictions", help="folder of the results")
    _add_protocol_options(predict)

    export = add("export", _export, "write a SavedModel for TensorFlow Serving")
    export.add_argument("--model", required=True, help="a .keras file")
    export.add_argument("--output", required=True, help="a new folder, such as models/pdanet/1")
    _add_protocol_options(export)

    add("models", _models, "list the models")
    return parser


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    """Adds one option for every field of `TrainConfig`."""
    hints = typing.get_type_hints(pdanet_tf.TrainConfig)
    for field in dataclasses.fields(pdanet_tf.TrainConfig):
        _add_option(parser, field, hints[field.name])


def _add_option(parser: argparse.ArgumentParser, field: Any, hint: Any) -> None:
    if isinstance(hint, types.UnionType):  # `int | None`
        hint = typing.get_args(hint)[0]
    settings: dict[str, Any] = {"default": field.default, "help": field.metadata["help"]}
    if hint is bool:
        settings["action"] = argparse.BooleanOptionalAction
    elif typing.get_origin(hint) is tuple:
        parts = typing.get_args(hint)
        settings |= {"type": parts[0], "nargs": "+" if parts[-1] is ... else len(parts)}
    else:
        settings["type"] = hint
    parser.add_argument(f"--{field.name.replace('_', '-')}", **settings)


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", choices=DATASETS, default="synthetic", help="the data set")
    parser.add_argument("--data-dir", help="its folder")
    parser.add_argument("--split", default="validation", help="train or validation")
    wanted = ("num_classes", "class_names", "label_offset", "ignore_label")
    hints = typing.get_type_hints(pdanet_tf.TrainConfig)
    for field in dataclasses.fields(pdanet_tf.TrainConfig):
        if field.name in wanted:
            _add_option(parser, field, hints[field.name])


def _add_protocol_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--short-edges",
        type=int,
        nargs="+",
        help="short edges at which the model sees a picture; by default those that the model was "
        "trained for, else the picture's own",
    )
    parser.add_argument("--max-size", type=int, help="longest edge; 1000 by default")


def _protocol(short_edges: list[int] | None, max_size: int | None) -> pdanet_tf.Protocol | None:
    """Returns the protocol of the options; None, the one beside the model, if none is given."""
    if short_edges is None and max_size is None:
        return None
    edges = tuple(short_edges) if short_edges else None
    return pdanet_tf.Protocol(edges, max_size or pdanet_tf.Protocol.max_size)


def _train(**options: Any) -> None:
    lists = {name: tuple(value) for name, value in options.items() if isinstance(value, list)}
    result = pdanet_tf.train(pdanet_tf.TrainConfig(**{**options, **lists}))
    console = Console()
    console.print(result.evaluation.table())
    console.print(f"The best model is {result.best}")


def _evaluate(
    model: str | None,
    predictions: str | None,
    short_edges: list[int] | None,
    max_size: int | None,
    json: str | None,
    **data: Any,
) -> None:
    dataset = _open(**data)
    if model is not None:
        protocol = _protocol(short_edges, max_size)
        evaluation = pdanet_tf.evaluate(model, dataset, protocol)
    else:
        if not isinstance(dataset, FolderDataset):
            raise ValueError("--predictions needs a data set in a folder")
        evaluation = evaluate_predictions(str(predictions), dataset)
    Console().print(evaluation.table())
    if json:
        evaluation.save(json)


def _open(dataset: str, **options: Any) -> SegmentationDataset:
    names = options.pop("class_names")
    return pdanet_tf.load_dataset(dataset, class_names=tuple(names) if names else None, **options)


def _predict(
    images: list[str],
    model: str,
    output: str,
    short_edges: list[int] | None,
    max_size: int | None,
) -> None:
    stems = [Path(image).stem for image in images]
    if len(set(stems)) < len(stems):
        raise ValueError("Two pictures have the same name; predict them into different folders.")
    loaded, settings = load_model(model)
    protocol = _protocol(short_edges, max_size) or (settings.protocol if settings else None)
    classes = settings.classes if settings else None
    for image, stem in zip(images, stems, strict=True):
        prediction = pdanet_tf.predict(image, loaded, classes, protocol)
        for name, picture in (
            ("labels", prediction.label_image),
            ("overlay", prediction.overlay),
        ):
            with whole_file(Path(output) / f"{stem}_{name}.png") as beside:
                picture.save(beside)
        areas = ", ".join(f"{name} {100 * area:.0f}%" for name, area in prediction.areas().items())
        print(f"{image}: {areas}")
    print(f"The label maps and overlays are in {output}")


def _export(model: str, output: str, short_edges: list[int] | None, max_size: int | None) -> None:
    folder = pdanet_tf.export_saved_model(model, output, _protocol(short_edges, max_size))
    print(f"The SavedModel is in {folder}")


def _models() -> None:
    table = Table("name", "model")
    for name in pdanet_tf.list_models():
        table.add_row(name, (model_builder(name).__doc__ or "").splitlines()[0])
    Console().print(table)
