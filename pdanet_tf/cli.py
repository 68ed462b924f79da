"""The command line.

`pdanet-tf train | validate-data | evaluate | predict | export | convert | benchmark | models`
"""

import argparse
import dataclasses
import itertools
import os
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# TensorFlow tells of its CPU features and missing GPUs; set before it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from PIL import Image
from rich.console import Console
from rich.table import Table

import pdanet_tf
from pdanet_tf.benchmark import BACKENDS, POLICIES, TASKS, Case, run_benchmark
from pdanet_tf.convert import load_torch_state_dict, read_torch_file
from pdanet_tf.crf import CRFParameters
from pdanet_tf.data import DATASETS, FolderDataset, SegmentationDataset
from pdanet_tf.data.readers import image_size
from pdanet_tf.evaluation import evaluate_predictions
from pdanet_tf.files import whole_file
from pdanet_tf.inference import InferenceSettings, load_model
from pdanet_tf.layers import NORMALIZATIONS
from pdanet_tf.models import with_dtype_policy
from pdanet_tf.models.registry import find_model
from pdanet_tf.training.config import PRECISIONS
from pdanet_tf.validation import validate_dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit status: what the command returns, 0 if that is None, or 1 after an error of the
        user's.
    """
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        return command(**options) or 0
    except (ValueError, OSError, ArithmeticError, ImportError, RuntimeError) as error:
        print(f"pdanet-tf: error: {error}", file=sys.stderr)
        return 1


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

    validate = add(
        "validate-data", _validate_data, "read a data set, and say what is wrong with it"
    )
    _add_data_options(validate, split=None)
    validate.add_argument("--json", help="file to write all problems and figures to")
    validate.add_argument("--chart", help="picture file for a chart of the classes' frequencies")

    evaluate = add("evaluate", _evaluate, "score a model, or stored predictions, on a data set")
    source = evaluate.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="a .keras file")
    source.add_argument("--predictions", help="a folder with one PNG per image")
    _add_data_options(evaluate)
    _add_precision_option(evaluate)
    _add_protocol_options(evaluate)
    _add_crf_option(evaluate)
    evaluate.add_argument("--json", help="file to write the figures to")
    evaluate.add_argument("--chart", help="picture file for a chart of the IoU of each class")
    evaluate.add_argument(
        "--save-predictions",
        metavar="FOLDER",
        help="folder for the label maps, PNGs in the numbering of the data set's files",
    )
    evaluate.add_argument(
        "--resume", action="store_true", help="go on with the predictions in that folder"
    )

    predict = add("predict", _predict, "segment pictures")
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="a picture")
    predict.add_argument("--model", required=True, help="a .keras file")
    predict.add_argument("--output", default="predictions", help="folder of the results")
    _add_precision_option(predict)
    _add_protocol_options(predict)
    _add_crf_option(predict)

    export = add("export", _export, "write a SavedModel for TensorFlow Serving")
    export.add_argument("--model", required=True, help="a .keras file")
    export.add_argument("--output", required=True, help="a new folder, such as models/pdanet/1")
    _add_precision_option(export)
    _add_protocol_options(export)

    convert = add("convert", _convert, "turn a checkpoint of the PyTorch code into a .keras file")
    convert.add_argument("--encoder", required=True, help="encoder_epoch_N.pth")
    convert.add_argument("--decoder", required=True, help="decoder_epoch_N.pth")
    convert.add_argument("--model", default="pdanet_resnet18", help="name of the model")
    convert.add_argument("--output", required=True, help="the .keras file to write")
    convert.add_argument("--num-classes", type=int, default=150, help="number of classes")
    convert.add_argument(
        "--normalization",
        choices=NORMALIZATIONS,
        default="torch",
        help="torch: CSAIL's present checkpoints; caffe: those of PDANet's author",
    )

    benchmark = add("benchmark", _benchmark, "time models, each in a process of its own")
    benchmark.add_argument(
        "--model", nargs="+", default=["pdanet_resnet18"], help="names of models"
    )
    benchmark.add_argument(
        "--task",
        nargs="+",
        choices=TASKS,
        default=["predict"],
        help="predict: from images to logits at 1/8; train: a step of training",
    )
    benchmark.add_argument(
        "--size",
        nargs=2,
        type=int,
        action="append",
        metavar=("HEIGHT", "WIDTH"),
        help="size of the images; may be given several times (default: 304 400)",
    )
    benchmark.add_argument("--batch-size", nargs="+", type=int, default=[1], help="images per step")
    benchmark.add_argument(
        "--precision", nargs="+", choices=POLICIES, default=["float32"], help="of the layers"
    )
    benchmark.add_argument(
        "--backend", nargs="+", choices=BACKENDS, default=["tensorflow"], help="of Keras"
    )
    benchmark.add_argument("--rounds", type=int, default=10, help="timed steps of each")
    benchmark.add_argument("--json", help="file to write the figures to")
    benchmark.add_argument("--chart", help="picture file for a chart of images per second")

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


def _add_data_options(parser: argparse.ArgumentParser, split: str | None = "validation") -> None:
    parser.add_argument("--dataset", choices=DATASETS, default="synthetic", help="the data set")
    parser.add_argument("--data-dir", help="its folder")
    both = "" if split else "; both if not given"
    parser.add_argument("--split", default=split, help=f"train or validation{both}")
    wanted = ("num_classes", "class_names", "label_offset", "ignore_label")
    hints = typing.get_type_hints(pdanet_tf.TrainConfig)
    for field in dataclasses.fields(pdanet_tf.TrainConfig):
        if field.name in wanted:
            _add_option(parser, field, hints[field.name])


def _add_precision_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=(*PRECISIONS, "bfloat16", "float16"),
        help="of the layers, scores excepted; those without 'mixed' keep the kernels in it, too; "
        "by default that of the file, which training writes in float32",
    )


def _add_protocol_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--short-edges",
        type=int,
        nargs="+",
        help="short edges at which the model sees a picture; by default those that the model was "
        "trained for, else the picture's own",
    )
    parser.add_argument("--max-size", type=int, help="longest edge; as trained, else 1000")
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="average over the picture and its mirror image",
    )
    parser.add_argument(
        "--crop-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="slide a window over the picture, as for models trained on crops",
    )
    parser.add_argument(
        "--stride",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="from one window to the next; by default two thirds of a window",
    )


def _add_crf_option(parser: argparse.ArgumentParser) -> None:
    defaults = dataclasses.asdict(CRFParameters())
    parser.add_argument(
        "--crf",
        nargs="*",
        metavar="NAME=VALUE",
        help="refine the probabilities with a fully connected CRF (extra 'crf'); its parameters "
        f"are {', '.join(f'{name}={value:g}' for name, value in defaults.items())}",
    )


def _crf(settings: list[str] | None) -> CRFParameters | None:
    """Returns the parameters that `--crf NAME=VALUE ...` asks for."""
    if settings is None:
        return None
    kinds = typing.get_type_hints(CRFParameters)
    given: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            given[name] = kinds[name](value)
        except (KeyError, ValueError):
            raise ValueError(
                f"--crf takes NAME=VALUE with a name of {', '.join(kinds)}. Received: {setting}"
            ) from None
    return CRFParameters(**given)


def _take_protocol(model_file: str | None, options: dict[str, Any]) -> pdanet_tf.Protocol | None:
    """Takes the protocol's options out of a command's.

    Returns:
        The protocol beside the model's file, less what the options set otherwise; None if there
        is neither a model nor an option.
    """
    names = [field.name for field in dataclasses.fields(pdanet_tf.Protocol)]
    given = {name: options.pop(name) for name in names}
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
    if model_file is None:
        return pdanet_tf.Protocol(**given) if given else None
    settings = InferenceSettings.beside(model_file)
    return dataclasses.replace(settings.protocol if settings else pdanet_tf.Protocol(), **given)


def _load(model_file: str, precision: str | None) -> tuple[keras.Model, InferenceSettings | None]:
    """Loads a model with the settings beside its file, in the precision that is asked for."""
    loaded, settings = load_model(model_file)
    return (loaded if precision is None else with_dtype_policy(loaded, precision)), settings


def _train(**options: Any) -> None:
    lists = {name: tuple(value) for name, value in options.items() if isinstance(value, list)}
    result = pdanet_tf.train(pdanet_tf.TrainConfig(**{**options, **lists}))
    Console().print(result.evaluation.table())
    print(f"The best model is {result.best}")


def _validate_data(split: str | None, json: str | None, chart: str | None, **data: Any) -> int:
    names = ("train", "validation") if split is None else (split,)
    report = validate_dataset({name: _open(split=name, strict=False, **data) for name in names})
    if json:
        report.save(json)
    if chart:
        _save(report.chart(), chart)
    Console().print(report.table())
    print(report.summary())
    return 1 if report.fatal else 0


def _evaluate(
    model: str | None,
    predictions: str | None,
    precision: str | None,
    crf: list[str] | None,
    json: str | None,
    chart: str | None,
    save_predictions: str | None,
    resume: bool,
    **options: Any,
) -> None:
    protocol = _take_protocol(model, options)
    dataset = _open(**options)
    if model is not None:
        evaluation = pdanet_tf.evaluate(
            _load(model, precision)[0],
            dataset,
            protocol,
            crf=_crf(crf),
            predictions=save_predictions,
            resume=resume,
        )
    else:
        if any((protocol, precision, crf is not None, save_predictions is not None, resume)):
            raise ValueError(
                "Options of how a model predicts go with --model, not with --predictions"
            )
        if not isinstance(dataset, FolderDataset):
            raise ValueError("--predictions needs a data set in a folder")
        evaluation = evaluate_predictions(str(predictions), dataset)
    if json:
        evaluation.save(json)
    if chart:
        _save(evaluation.chart(), chart)
    Console().print(evaluation.table())


def _save(picture: Image.Image, path: str | Path) -> None:
    with whole_file(Path(path)) as beside:
        picture.save(beside)


def _open(dataset: str, **options: Any) -> SegmentationDataset:
    names = options.pop("class_names")
    return pdanet_tf.load_dataset(dataset, class_names=tuple(names) if names else None, **options)


def _predict(
    images: list[str],
    model: str,
    output: str,
    precision: str | None,
    crf: list[str] | None,
    **options: Any,
) -> None:
    stems = [Path(image).stem for image in images]
    if len(set(stems)) < len(stems):
        raise ValueError("Two pictures have the same name; predict them into different folders.")
    for image in images:
        image_size(image)  # raises before anything is written
    loaded, settings = _load(model, precision)
    protocol, parameters = _take_protocol(model, options), _crf(crf)
    classes = settings.classes if settings else None
    for image, stem in zip(images, stems, strict=True):
        prediction = pdanet_tf.predict(image, loaded, classes, protocol, parameters)
        for name, picture in (
            ("labels", prediction.label_image),
            ("overlay", prediction.overlay),
        ):
            _save(picture, Path(output) / f"{stem}_{name}.png")
        areas = ", ".join(f"{name} {100 * area:.0f}%" for name, area in prediction.areas().items())
        print(f"{image}: {areas}")
    print(f"The label maps and overlays are in {output}")


def _export(model: str, output: str, precision: str | None, **options: Any) -> None:
    protocol = _take_protocol(model, options)
    folder = pdanet_tf.export_saved_model(_load(model, precision)[0], output, protocol)
    print(f"The SavedModel is in {folder}")


def _convert(
    encoder: str, decoder: str, model: str, output: str, num_classes: int, normalization: str
) -> None:
    if not output.endswith(".keras"):
        raise ValueError(f"--output must end in .keras. Received: {output}")
    if Path(output).exists():
        raise FileExistsError(f"{output} already exists; choose another file to convert to.")
    states = read_torch_file(encoder), read_torch_file(decoder)
    converted = pdanet_tf.build_model(
        model,
        num_classes,
        aux_head=any("deepsup" in name for name in states[1]),
        normalization=normalization,
    )
    unused = load_torch_state_dict(converted, *states)
    with whole_file(Path(output)) as beside:
        converted.save(beside)
    print(f"{output} holds {converted.name}. Without use: {', '.join(unused) or 'nothing'}")


def _benchmark(
    rounds: int,
    json: str | None,
    chart: str | None,
    size: list[list[int]] | None,
    **choices: Any,
) -> None:
    choices["size"] = [tuple(pair) for pair in size or [[304, 400]]]
    cases = [
        Case(**dict(zip(choices, values, strict=True)))
        for values in itertools.product(*choices.values())
    ]
    benchmark = run_benchmark(cases, rounds)
    Console().print(benchmark.table())
    if json:
        benchmark.save(json)
    if chart:
        _save(benchmark.chart(), chart)


def _models() -> None:
    table = Table("name", "model")
    for name in pdanet_tf.list_models():
        table.add_row(name, find_model(name).description)
    Console().print(table)
