"""The command `explain`. Its options are read without Keras and TensorFlow."""

import argparse
from importlib import import_module
from pathlib import Path

from pdanet_tf.cli.outputs import check_writable


def add_explain_options(parser: argparse.ArgumentParser, model_help: str) -> None:
    """Adds the options of the command.

    Args:
        parser: The parser of the command.
        model_help: What `--model` takes.
    """
    parser.add_argument("image", metavar="IMAGE", help="an image")
    parser.add_argument("--model", default="camvid", help=f"{model_help} (default: camvid)")
    parser.add_argument(
        "--weights", metavar="CHECKPOINT", help="weights for the architecture that --model names"
    )
    parser.add_argument(
        "--at",
        type=_position,
        metavar="ROW,COLUMN",
        help="the position in the image whose attention and receptive field are shown, counted "
        "from 0 at the top left, such as 120,200 (default: the middle)",
    )
    parser.add_argument(
        "--output",
        default="explained",
        help="new folder to write plots (.png), arrays (.npz) and figures (.json) to (default: "
        "explained)",
    )


def _position(text: str) -> tuple[int, int]:
    row, _, column = text.partition(",")
    try:
        return int(row), int(column)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected ROW,COLUMN, such as 120,200. Received: {text!r}"
        ) from None


def explain_image(
    image: str, model: str, weights: str | None, at: tuple[int, int] | None, output: str
) -> None:
    """Explains what a network does with an image, and writes it into a new folder.

    Raises:
        FileExistsError: If the folder exists.
        ValueError: As `pdanet_tf.inference.explain`.
        OSError: If a file cannot be read or written.
    """
    if Path(output).exists():
        raise FileExistsError(f"--output {output}: already exists; choose a new folder")
    check_writable("--output", output)
    explain = import_module("pdanet_tf.inference.explanation").explain
    explanation = explain(image, model, at, weights)
    explanation.save(output)
    row, column = explanation.at
    figures = explanation.to_dict()
    print(f"At row {row}, column {column}: {figures['class']}")
    for name, level in figures["levels"].items():
        print(
            f"Level {name}: gamma {level['position_gamma']:.4f} (positions), "
            f"{level['channel_gamma']:.4f} (channels)"
        )
    for text in figures["missing"]:
        print(text)
    print(f"The explanation is in {output}")
