"""The functions of the commands."""

import dataclasses
import itertools
import os
import sys
from pathlib import Path
from typing import Any

import pdanet_tf
from pdanet_tf.base.progress import track_long
from pdanet_tf.benchmark.cases import Case
from pdanet_tf.benchmark.runner import run_benchmark
from pdanet_tf.cli.conversion import convert
from pdanet_tf.cli.demo import serve_page
from pdanet_tf.cli.evaluation import evaluate
from pdanet_tf.cli.explain import explain_image
from pdanet_tf.cli.images import find_images, print_summary
from pdanet_tf.cli.inputs import load_for_inference, open_dataset, read_crf, take_protocol
from pdanet_tf.cli.models_table import print_models
from pdanet_tf.cli.named_recipes import find_named_recipe
from pdanet_tf.cli.outputs import check_outputs, open_console, show
from pdanet_tf.cli.push import push_model
from pdanet_tf.cli.records import report, take_pending
from pdanet_tf.cli.segmentation import segment_files, segment_large_files
from pdanet_tf.cli.spelling import spell_as_options
from pdanet_tf.data import Classes
from pdanet_tf.data.endings import CHANNEL_ENDINGS, IMAGE_ENDINGS
from pdanet_tf.data.validation.page import write_page
from pdanet_tf.data.validation.report import validate_dataset
from pdanet_tf.exporting.server_files import (
    MODELS_FILE,
    describe_model,
    docker_command,
    version_folder,
    write_server_files,
)
from pdanet_tf.inference.display import check_shown
from pdanet_tf.inference.large_images import Windows
from pdanet_tf.inference.manifest import Manifest, hash_settings
from pdanet_tf.inference.results import KINDS, Results
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.inference.tiled_labels import ENDING
from pdanet_tf.models.inspection import count_classes
from pdanet_tf.training.cluster import read_cluster


def _windows(
    tile: int | None, overlap: int | None, model_file: str, options: dict[str, Any]
) -> Windows | None:
    """Returns the windows that `--tile` and `--overlap` ask for; None without `--tile`."""
    if tile is None:
        if overlap is not None:
            raise ValueError(f"--overlap {overlap} requires --tile, the side of the windows")
        return None
    others = (
        "short_edges",
        "max_size",
        "crop_size",
        "stride",
        "crf",
        "overlay",
        "overlay_channels",
    )
    given = [f"--{name.replace('_', '-')}" for name in others if options[name] is not None]
    if given:
        raise ValueError(
            "--tile segments images at their own size and writes no overlays, so it cannot be "
            f"combined with {' and '.join(given)}"
        )
    flip, settings = options["flip"], InferenceSettings.load_for(model_file)
    if flip is None:
        flip = settings is not None and settings.protocol.flip
    return Windows(tile, overlap, flip)


def _train(config: str | None = None, **options: Any) -> None:
    recipe = find_named_recipe(options, config)
    if recipe is not None:
        del options["recipe"]  # that of the batches is part of the named recipe
        result = pdanet_tf.train(recipe.configure(**options))
    elif config is not None:
        result = pdanet_tf.train(_read_config(config, options))
    elif options.pop("resume", False):
        folder = options.pop("output_dir", pdanet_tf.TrainConfig.output_dir)
        result = pdanet_tf.training.resume(folder, **options)
    else:
        result = pdanet_tf.train(pdanet_tf.TrainConfig(**options))
    cluster = read_cluster(os.environ)
    if cluster is None or cluster.is_chief:  # which alone prints during the run, too
        open_console().print(result.evaluation.table())
        print(f"The best model is {result.best}")


def _read_config(file: str, given: dict[str, Any]) -> pdanet_tf.TrainConfig:
    """Returns the configuration in a file, changed by the given options.

    With a JSON file `output_dir` must be given, because the folder in the file holds the run that
    wrote the file. No run writes TOML.
    """
    if given.get("resume"):
        raise ValueError(
            "--config starts a new run, but --resume continues the run in --output-dir with its "
            "own config.json. Leave one of them out"
        )
    config = pdanet_tf.TrainConfig.load(file)
    if "output_dir" not in given and not file.lower().endswith(".toml"):
        raise ValueError(
            f"--config requires --output-dir, a folder for the new run. The folder in {file} is "
            f"{config.output_dir}"
        )
    try:
        return dataclasses.replace(config, **given)
    except ValueError as error:
        raise ValueError(f"{error}. All options that are not given come from {file}") from error


def _validate_data(
    split: str | None, json: str | None, chart: str | None, report: str | None, **data: Any
) -> int:
    check_outputs(json, chart, report)
    names = ("train", "validation") if split is None else (split,)
    splits = {name: open_dataset(split=name, strict=False, **data) for name in names}
    validation = validate_dataset(splits)
    show(validation, json, chart)
    if report is not None:
        write_page(Path(report), validation, splits)
    print(spell_as_options(validation.summary(), data))
    return 1 if validation.fatal else 0


def _predict(
    images: list[str],
    lists: list[str] | None,
    model: str,
    weights: str | None,
    output: str,
    precision: str | None,
    crf: list[str] | None,
    palette: bool,
    overlay: bool | None,
    class_colors: list[str] | None,
    overlay_channels: list[int] | None,
    tile: int | None,
    overlap: int | None,
    debug: bool,
    runtime: str | None,
    **options: Any,
) -> int:
    if not images and not lists:
        raise ValueError("Give images, folders or patterns, or a list of images with --list FILE")
    others = {**options, "crf": crf, "overlay_channels": overlay_channels}
    others["overlay"] = overlay or None  # --no-overlay asks for what --tile does
    windows = _windows(tile, overlap, weights or model, others)
    stored = InferenceSettings.load_for(weights or model)
    is_rgb = stored is not None and stored.pixel_format.is_rgb  # if unknown, it may take others
    endings = IMAGE_ENDINGS if is_rgb else CHANNEL_ENDINGS
    places, problems = find_images(images, endings, lists or ())
    for problem in problems:
        print(f"pdanet-tf: error: {problem}", file=sys.stderr)
    if not places:
        return 1
    kinds = KINDS if overlay is not False and windows is None else KINDS[:1]
    ending = ".png" if windows is None else ENDING
    results = Results(Path(output), places, kinds, ending)
    loaded, settings = load_for_inference(model, weights, precision)
    classes = settings.classes if settings else Classes.numbered(count_classes(loaded))
    if class_colors is not None:
        classes = classes.with_colors(class_colors)
    protocol = take_protocol(weights or model, options)
    pixel_format = None if settings is None else settings.pixel_format
    predictor = pdanet_tf.Predictor(
        loaded, protocol, read_crf(crf), classes, pixel_format=pixel_format, runtime=runtime
    )
    if overlay_channels is not None:
        check_shown(overlay_channels, predictor.pixel_format.channels)
    key = hash_settings(
        predictor, model, weights, precision, runtime, palette, kinds, overlay_channels, windows
    )

    def save(file: Path, prediction: pdanet_tf.Prediction) -> None:
        labels = prediction.palette_image if palette else prediction.label_image
        results.save(file, "labels", labels)
        if "overlay" in kinds:
            results.save(file, "overlay", prediction.overlay_of(overlay_channels))

    with Manifest(Path(output)) as manifest:
        files = take_pending(manifest, results, places, key)
        if windows is None:
            outcomes = segment_files(predictor, files, results, save, key)
            outcomes = track_long("Segmented", outcomes, len(files))
        else:
            outcomes = segment_large_files(predictor, files, results, windows, palette, key)
        failed = report(outcomes, manifest, debug)
    what = "label maps and overlays" if len(kinds) > 1 else "label maps"
    print_summary(len(places), failed, output, what)
    return 1 if failed or problems else 0


def _export(
    model: str,
    weights: str | None,
    output: str,
    precision: str | None,
    max_pixels: int | None,
    strict: bool,
    format: str,
    size: list[int] | None,
    int8: str | None,
    **options: Any,
) -> None:
    # LiteRT files are for devices; servers expect a folder for each version of a model.
    folder = Path(output) if format == "litert" else version_folder(Path(output))
    if folder.exists():  # said before the model is loaded
        raise FileExistsError(f"--output {folder}: already exists; choose a new folder")
    given: dict[str, Any] = {} if max_pixels is None else {"max_pixels": max_pixels}
    if strict:
        given["strict"] = True
    protocol = take_protocol(weights or model, options)
    loaded, settings = load_for_inference(model, weights, precision)
    folder = pdanet_tf.export(
        loaded,
        folder,
        format,
        protocol,
        pixel_format=None if settings is None else settings.pixel_format,
        size=None if size is None else (size[0], size[1]),
        calibration=int8,
        classes=None if settings is None else settings.classes,
        **given,
    )
    if format != "saved_model":
        print(f"The model is in {folder}")
        return
    print(f"The SavedModel is in {folder}")
    for kept in write_server_files(folder):
        print(f"{kept} exists and was not changed")
        if kept.name == MODELS_FILE:
            print("If it does not list this model, add to its model_config_list:")
            print(describe_model(folder), end="")
    print(f"To serve it:\n{docker_command(folder)}")


def _benchmark(
    rounds: int,
    json: str | None,
    chart: str | None,
    size: list[list[int]] | None,
    imports: list[str],
    **choices: Any,
) -> None:
    check_outputs(json, chart)
    choices["size"] = [tuple(pair) for pair in size or [[304, 400]]]
    cases = [
        Case(**dict(zip(choices, values, strict=True)))
        for values in itertools.product(*choices.values())
    ]
    show(run_benchmark(cases, rounds, imports=imports), json, chart)


COMMANDS = {
    "train": _train,
    "validate-data": _validate_data,
    "evaluate": evaluate,
    "predict": _predict,
    "explain": explain_image,
    "demo": serve_page,
    "export": _export,
    "convert": convert,
    "push": push_model,
    "benchmark": _benchmark,
    "models": print_models,
}
