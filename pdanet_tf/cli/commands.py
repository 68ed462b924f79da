"""What every command does."""

import dataclasses
import itertools
import typing
from pathlib import Path
from typing import Any

import keras
from PIL import Image
from rich.console import Console
from rich.table import Table

import pdanet_tf
from pdanet_tf.benchmark import Case, run_benchmark
from pdanet_tf.convert import load_torch_state_dict, read_torch_file
from pdanet_tf.crf import CRFParameters
from pdanet_tf.data import FolderDataset, SegmentationDataset
from pdanet_tf.data.readers import image_size
from pdanet_tf.evaluation import evaluate_predictions
from pdanet_tf.files import whole_file
from pdanet_tf.inference import InferenceSettings, load_model
from pdanet_tf.models import with_dtype_policy
from pdanet_tf.models.registry import find_model
from pdanet_tf.validation import validate_dataset


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
    if options.pop("resume", False):
        folder = options.pop("output_dir", pdanet_tf.TrainConfig.output_dir)
        result = pdanet_tf.training.resume(folder, **options)
    else:
        result = pdanet_tf.train(pdanet_tf.TrainConfig(**options))
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


COMMANDS = {
    "train": _train,
    "validate-data": _validate_data,
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "convert": _convert,
    "benchmark": _benchmark,
    "models": _models,
}
