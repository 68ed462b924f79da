"""The options of every command. Reading them imports neither Keras nor TensorFlow."""

import argparse
import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, NoReturn

from pdanet_tf.base.choices import (
    BACKENDS,
    BENCHMARK_TASKS,
    DATASETS,
    EXPORT_FORMATS,
    NORMALIZATIONS,
    OUTPUT_STRIDES,
    PRECISIONS,
    RUNTIMES,
    STEMS,
)
from pdanet_tf.base.fields import with_nearest
from pdanet_tf.cli.demo import add_demo_options
from pdanet_tf.cli.explain import add_explain_options
from pdanet_tf.cli.label_options import add_label_options
from pdanet_tf.cli.push import add_push_options
from pdanet_tf.cli.request_options import add_request_options
from pdanet_tf.cli.spelling import spell_as_options
from pdanet_tf.inference.crf import CRFParameters
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.version import __version__

# The groups of options in `train --help`. A test compares them with the fields of `TrainConfig`.
TRAIN_GROUPS = {
    "the run": (
        "output_dir",
        "resume",
        "checkpoint_every",
        "keep_checkpoints",
        "patience",
        "seed",
    ),
    "the model": (
        "model",
        "variant",
        "head_options",
        "weights",
        "strict",
        "freeze",
        "backbone_weights",
        "normalization",
        "stem",
        "output_stride",
        "dropout",
        "aux_head",
        "aux_weight",
    ),
    "the data": (
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
        "channels",
        "mean",
        "std",
    ),
    "the batches": (
        "recipe",
        "batch_size",
        "crop_size",
        "scale_range",
        "color_jitter",
        "rotation",
        "blur",
        "downscale",
        "flip",
        "short_edge",
        "short_edges",
        "max_size",
    ),
    "the optimization": (
        "epochs",
        "steps_per_epoch",
        "loss",
        "loss_size",
        "class_weights",
        "label_smoothing",
        "optimizer",
        "learning_rate",
        "schedule",
        "power",
        "warmup_steps",
        "backbone_lr",
        "momentum",
        "nesterov",
        "weight_decay",
        "decay_attention_scales",
        "clip_norm",
        "accumulation_steps",
        "ema",
        "precision",
    ),
}
_DATA_OPTIONS = (
    "image_pattern",
    "annotation_pattern",
    "split_lists",
    "num_classes",
    "class_names",
    "class_colors",
    "label_offset",
    "ignore_label",
    "channels",
)
_MODEL_HELP = (
    "a .keras file, its address on Hugging Face (hf://owner/name, extra 'hub'), camvid (the "
    "trained model that comes with the package), a published checkpoint, a checkpoint of another "
    "package, or with --weights an architecture"
)
_METAVARS: dict[tuple[str, int | str], tuple[str, str]] = {
    ("crop_size", 2): ("HEIGHT", "WIDTH"),
    ("scale_range", 2): ("LOWEST", "HIGHEST"),
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and name the nearest options."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses arguments; ends the program if there is an option that the command lacks."""
        parsed, unknown = super().parse_known_args(args, namespace)
        options = [argument.partition("=")[0] for argument in unknown if argument[:2] == "--"]
        if options:
            known = re.findall(r"--[\w-]+", self.format_usage())
            self.error(f"There is no option {with_nearest(options, known)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser. The attribute `command` of its result is the name of the command."""
    parser = _Parser(
        prog="pdanet-tf", description="Train, score and use models for scene segmentation."
    )
    parser.add_argument("--version", action="version", version=__version__)
    _add_debug_option(parser)
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)

    def add(name: str, text: str, imports: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        _add_debug_option(added)
        if imports:
            _add_import_option(added)
        return added

    _add_config_options(add("train", "train a model, on GPUs or the CPU"))

    validate = add("validate-data", "check a data set and report all problems", imports=False)
    _add_data_options(validate, split=None)
    validate.add_argument("--json", help="JSON file to write the problems and the statistics to")
    validate.add_argument("--chart", help="image file to draw a chart of the class frequencies to")
    validate.add_argument(
        "--report",
        metavar="FILE",
        help="HTML file to write everything to, with examples of each class and thumbnails of the "
        "files that have a problem; it needs no network",
    )

    labels = add(
        "import-labels", "import annotations of a labelling tool as a folder", imports=False
    )
    add_label_options(labels)

    evaluate = add("evaluate", "score a model or stored predictions on a data set")
    source = evaluate.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help=_MODEL_HELP)
    source.add_argument(
        "--predictions", help="folder of stored predictions, one PNG file per image"
    )
    _add_weights_option(evaluate)
    _add_data_options(evaluate)
    _add_precision_option(evaluate)
    _add_protocol_options(evaluate)
    _add_crf_option(evaluate)
    evaluate.add_argument("--json", help="JSON file to write the figures to")
    evaluate.add_argument("--chart", help="image file to draw a chart of the IoU of each class to")
    evaluate.add_argument(
        "--report",
        metavar="FILE",
        help="HTML file to write everything to, with the confusion matrix, precision, recall, Dice "
        "and boundary IoU of each class, calibration, and the worst images; it needs no network",
    )
    evaluate.add_argument(
        "--no-thumbnails",
        dest="thumbnails",
        action="store_false",
        help="leave images and label maps out of the report, for data that may not be passed on",
    )
    evaluate.add_argument(
        "--card",
        metavar="FILE",
        help="Markdown file, or existing folder for its README.md, to write a model card to, in "
        "the format of Hugging Face, with a diagram beside it; only a card that this command wrote "
        "is replaced, and what was written below its last comment stays",
    )
    evaluate.add_argument(
        "--other-seeds",
        nargs="+",
        metavar="FOLDER",
        help="folders of runs with other seeds, for --card: mean and spread of the scores",
    )
    evaluate.add_argument(
        "--license",
        metavar="LICENCE",
        help="licence of the model, for --card, such as apache-2.0 (default: that of the card that "
        "is replaced)",
    )
    evaluate.add_argument(
        "--compare-with",
        metavar="MODEL",
        help="another model, for --report: the difference of the mean IoU, with a 95%% interval "
        "(bootstrap over the images)",
    )
    evaluate.add_argument(
        "--save-predictions",
        metavar="FOLDER",
        help="folder to write label maps to: PNG files with the values of the annotation files",
    )
    evaluate.add_argument(
        "--resume",
        action="store_true",
        help="continue with the predictions that are already in that folder",
    )

    predict = add("predict", "segment images")
    _add_images_argument(predict, "*")
    predict.add_argument(
        "--list",
        dest="lists",
        action="append",
        metavar="FILE",
        help="text file with the path of one image per line; may be given several times",
    )
    predict.add_argument("--model", default="camvid", help=f"{_MODEL_HELP} (default: camvid)")
    _add_weights_option(predict)
    _add_results_options(predict)
    predict.add_argument(
        "--overlay",
        action=argparse.BooleanOptionalAction,
        help="also write each image with the colours of its classes over it (default: on, but with "
        "--tile)",
    )
    predict.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="segment images at their own size in square windows of this side, a multiple of 8, "
        "and write label maps as tiled TIFFs (extra 'tiff'); a TIFF is read in windows, and may be "
        "larger than the memory",
    )
    predict.add_argument(
        "--overlap",
        type=int,
        metavar="PIXELS",
        help="what neighbouring windows of --tile have in common (default: an eighth of a window)",
    )
    predict.add_argument(
        "--class-colors",
        nargs="+",
        metavar="COLOR",
        help="class colours, each as '#ff8000' or '255,128,0'; by default those of the model",
    )
    predict.add_argument(
        "--overlay-channels",
        nargs="+",
        type=int,
        metavar="CHANNEL",
        help="channels that the overlay shows as red, green and blue, or one that it shows as "
        "grey, counted from 0; by default the first three, or the first one if there are fewer",
    )
    _add_runtime_option(predict)
    _add_precision_option(predict)
    _add_protocol_options(predict)
    _add_crf_option(predict)

    add_explain_options(add("explain", "show what a network does with an image"), _MODEL_HELP)

    demo = add("demo", "open a page in the browser to try a model (extra 'demo')")
    add_demo_options(demo, _MODEL_HELP)
    _add_weights_option(demo)
    _add_runtime_option(demo)
    _add_precision_option(demo)
    _add_protocol_options(demo)

    export = add("export", "write a model for TensorFlow Serving or for another runtime")
    export.add_argument("--model", required=True, help=_MODEL_HELP)
    _add_weights_option(export)
    export.add_argument(
        "--output",
        required=True,
        help="folder of the model, such as models/pdanet: the export is its next version, "
        "models/pdanet/1; or that of a version; for litert, a new folder",
    )
    export.add_argument(
        "--max-pixels",
        type=int,
        help="refuse encoded images of more pixels, before they are decoded (default: 33554432)",
    )
    export.add_argument(
        "--strict",
        action="store_true",
        help="a refused image fails its whole batch; by default the others are answered",
    )
    export.add_argument(
        "--format",
        choices=EXPORT_FORMATS,
        default="saved_model",
        help="saved_model (the default) for TensorFlow Serving; onnx (extra 'onnx'), openvino "
        "(extra 'openvino') or litert: from images of 8 bits to labels and confidences",
    )
    export.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="size of all images, which litert requires; by default images have any size",
    )
    export.add_argument(
        "--int8",
        metavar="FOLDER",
        help="quantise to int8 (openvino, litert), calibrated with the images in this folder",
    )
    _add_precision_option(export)
    _add_protocol_options(export)

    request = add("request", "segment images on a server (extra 'serving')", imports=False)
    request.add_argument(
        "url",
        metavar="URL",
        help="address of the server: grpc://HOST:PORT, grpcs://HOST:PORT (with TLS), "
        "http://HOST:PORT or https://HOST",
    )
    _add_images_argument(request)
    _add_results_options(request)
    add_request_options(request)

    add_push_options(add("push", "push a trained model to Hugging Face (extra 'hub')"))

    convert = add("convert", "convert a checkpoint of another package to a .keras file")
    _add_convert_options(convert)

    _add_benchmark_options(add("benchmark", "time models, each in its own process"))
    add("models", "list the models")

    doctor = add("doctor", "examine the installation and the machine", imports=False)
    doctor.add_argument("--json", help="JSON file to write the report to")

    runs = add("runs", "compare the scores of runs that have ended", imports=False)
    runs.add_argument(
        "folders",
        nargs="+",
        metavar="FOLDER",
        help="the folder of a run, or a folder that contains runs; runs that differ only in their "
        "seed share a line, with the mean and the standard deviation of their scores",
    )
    runs.add_argument("--json", help="JSON file to write the figures to")
    runs.add_argument("--chart", help="image file to draw a chart of the mean IoU to")

    recipes = add("recipes", "list the recipes for training", imports=False)
    recipes.add_argument(
        "name", nargs="?", metavar="NAME", help="print this recipe, as a file for train --config"
    )
    return parser


def _add_debug_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--debug`, which is accepted before and after the command."""
    parser.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,  # False here would undo --debug before the command
        help="print the traceback of an error before its message",
    )


def _add_import_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=argparse.SUPPRESS,
        metavar="MODULE",
        help="Python module, installed or in the current folder, to import first; it registers "
        "models with pdanet_tf.register_family; may be given several times",
    )


def _add_images_argument(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    parser.add_argument(
        "images",
        nargs=nargs,
        metavar="IMAGE",
        help="an image, a folder of images (with its sub-folders), or a pattern such as "
        "'photos/**/*.jpg'; the results keep the folders",
    )


def _add_results_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        default="predictions",
        help="folder to write the results to (default: predictions)",
    )
    parser.add_argument(
        "--palette",
        action="store_true",
        help="write label maps as palette PNG files: the same values, shown in the class colours",
    )


def _add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        nargs="+",
        default=["pdanet_resnet18"],
        help="names of models (default: pdanet_resnet18)",
    )
    parser.add_argument(
        "--task",
        nargs="+",
        choices=BENCHMARK_TASKS,
        default=["predict"],
        help="predict (the default): from images to logits at 1/8; train: a training step",
    )
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        action="append",
        metavar=("HEIGHT", "WIDTH"),
        help="size of the images; may be given several times (default: 304 400)",
    )
    parser.add_argument(
        "--batch-size", nargs="+", type=int, default=[1], help="images per step (default: 1)"
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        default=["float32"],
        help="dtype policies of the layers (default: float32); bfloat16, float16: predict only",
    )
    parser.add_argument(
        "--backend",
        nargs="+",
        choices=BACKENDS,
        default=["tensorflow"],
        help="Keras backends (default: tensorflow)",
    )
    parser.add_argument(
        "--rounds", type=int, default=10, help="number of timed steps of each model (default: 10)"
    )
    parser.add_argument("--json", help="JSON file to write the figures to")
    parser.add_argument("--chart", help="image file to draw a chart of images per second to")


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    """Adds one option for every field of `TrainConfig`. The result lacks options not given."""
    for title, names in TRAIN_GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            _add_option(group, name, default=argparse.SUPPRESS)
        if "output_dir" in names:
            group.add_argument(
                "--config",
                metavar="FILE",
                default=argparse.SUPPRESS,
                help="TOML or JSON file of options for a new run, such as the config.json of "
                "another run; options given here override it. With a JSON file, --output-dir must "
                "be given",
            )


def _add_option(parser: Any, name: str, **settings: Any) -> None:
    """Adds the option for a field of `TrainConfig`, with the default of the field."""
    field = TrainConfig.__dataclass_fields__[name]
    hint = typing.get_type_hints(TrainConfig)[name]
    if isinstance(hint, types.UnionType):  # `int | None`, or `int | tuple[int, ...] | None`
        hint = [part for part in typing.get_args(hint) if part is not type(None)][-1]
    text = field.metadata["help"]
    if isinstance(field.default, bool):
        text = f"{text} (default: {'on' if field.default else 'off'})"
    elif field.default is not None:
        text = f"{text} (default: {field.default})"
    text = spell_as_options(text, TrainConfig.__dataclass_fields__)
    settings = {"default": field.default, **settings, "help": text}
    if hint is bool:
        settings["action"] = argparse.BooleanOptionalAction
    elif typing.get_origin(hint) is Mapping:
        if typing.get_args(hint)[1] is str:
            settings |= {"type": _named_text, "nargs": "+", "metavar": "SPLIT=FILE"}
        else:
            settings |= {"type": _named_value, "nargs": "+", "metavar": "NAME=VALUE"}
        settings["action"] = _Named
    elif name == "class_weights":
        settings |= {"type": _number_or_name, "nargs": "+", "metavar": "WEIGHT"}
        settings["action"] = _NumbersOrName
    elif typing.get_origin(hint) is tuple:
        parts = typing.get_args(hint)
        count = "+" if parts[-1] is ... else len(parts)
        settings |= {"type": parts[0], "nargs": count, "metavar": _METAVARS.get((name, count))}
        if count == "+":  # the option may be repeated
            settings["action"] = "extend"
    else:
        settings["type"] = hint
    parser.add_argument(f"--{field.name.replace('_', '-')}", **settings)


def _named_text(text: str) -> tuple[str, str]:
    """Parses NAME=TEXT."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"expected SPLIT=FILE. Received: {text!r}")
    return name, value


def _named_value(text: str) -> tuple[str, Any]:
    """Parses NAME=VALUE. A value that is not JSON is a string."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE. Received: {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


class _Named(argparse.Action):
    """Collects NAME=VALUE pairs in a dictionary. The option may be repeated."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        former = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, {**(former or {}), **dict(values)})


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


class _NumbersOrName(argparse.Action):
    """Stores one name as a string, and everything else as a tuple."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        is_name = len(values) == 1 and isinstance(values[0], str)
        setattr(namespace, self.dest, values[0] if is_name else tuple(values))


def _add_data_options(parser: argparse.ArgumentParser, split: str | None = "validation") -> None:
    group = parser.add_argument_group("the data")
    group.add_argument(
        "--dataset", choices=DATASETS, default="synthetic", help="data set (default: synthetic)"
    )
    group.add_argument("--data-dir", help="folder of the data set")
    default = f"default: {split}" if split else "default: both"
    group.add_argument(
        "--split",
        default=split,
        help=f"train, validation, or another folder of the data set, such as test ({default})",
    )
    for name in _DATA_OPTIONS:
        _add_option(group, name)


def _add_convert_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="a .pth, .pt, .safetensors or .npz file; or encoder_epoch_N.pth and "
        "decoder_epoch_N.pth of the reference's models",
    )
    parser.add_argument("--encoder", help="the first FILE, by name")
    parser.add_argument("--decoder", help="the second FILE, by name")
    parser.add_argument("--output", required=True, help="the .keras file to write")
    parser.add_argument("--model", help="name of the model (default: that of the checkpoint)")
    parser.add_argument(
        "--variant", help="variant of the model (default: that of the checkpoint), see 'models'"
    )
    parser.add_argument(
        "--num-classes", type=int, help="number of classes (default: that of the checkpoint)"
    )
    parser.add_argument(
        "--normalization",
        choices=NORMALIZATIONS,
        help="normalisation of the pixels, if the checkpoint does not determine it: torch (the "
        "default) for CSAIL's present checkpoints, caffe for those of PDANet's author",
    )
    parser.add_argument(
        "--output-stride",
        type=int,
        choices=OUTPUT_STRIDES,
        help="output stride of training, if the checkpoint does not determine it (default: that of "
        "the model)",
    )
    parser.add_argument(
        "--stem", choices=STEMS, help="stem of the ResNet (default: that of the checkpoint)"
    )


def _add_weights_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        metavar="CHECKPOINT",
        help="weights for the architecture that --model names: a published checkpoint, a .keras "
        "file or its address on Hugging Face, a checkpoint of another package, or a .weights.h5 "
        "file of a model that build_model "
        "built with its default options",
    )


def _add_runtime_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help="what runs the network: onnxruntime (extra 'onnx') and openvino (extra 'openvino') "
        "convert it first, which takes seconds; by default Keras' backend",
    )


def _add_precision_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="dtype policy of the layers. The mixed policies keep float32 weights; bfloat16 and "
        "float16 store the weights in half precision. Logits are always float32. By default the "
        "policy is that of the model file; training writes float32 files",
    )


def _add_protocol_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "preprocessing of the images",
        "By default images are preprocessed as in the validation of the training run.",
    )
    group.add_argument(
        "--short-edges",
        type=int,
        nargs="+",
        help="short edges in pixels that an image is resized to; the probabilities "
        "are averaged. By default those of inference.json next to the model, or the image's own",
    )
    group.add_argument(
        "--max-size",
        type=int,
        help="upper limit of the long edge in pixels; by default that of inference.json, or 1000",
    )
    group.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="average the probabilities of the image and its mirror image",
    )
    group.add_argument(
        "--crop-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="slide a window of this size over the image, as for models trained on crops",
    )
    group.add_argument(
        "--stride",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="step from one window to the next; by default two thirds of the window",
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
