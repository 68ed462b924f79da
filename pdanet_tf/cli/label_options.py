"""The options of `pdanet-tf import-labels`."""

import argparse
from collections.abc import Callable

from pdanet_tf.base.choices import LABEL_FORMATS, LABEL_OVERLAPS, UNLABELLED_AREAS

_Add = Callable[..., argparse.Action]  # `add_argument` of a group


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `pdanet_tf.data.import_labels`."""
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="file or folder of the annotations; or one for each split, such as train=train.json "
        "validation=val.json",
    )
    parser.add_argument("--output", required=True, help="the new folder")
    parser.add_argument(
        "--format", required=True, metavar="FORMAT", help=f"one of {', '.join(LABEL_FORMATS)}"
    )
    _add_files(parser.add_argument_group("the files").add_argument)
    _add_classes(parser.add_argument_group("the classes").add_argument)
    _add_splits(parser.add_argument_group("the splits").add_argument)
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out records with a problem; by default nothing is written if there is one",
    )


def _add_files(add: _Add) -> None:
    add(
        "--images",
        metavar="FOLDER",
        help="folder of the images, for coco, cvat and labelme; by default that of the annotations",
    )
    add(
        "--image-pattern",
        metavar="PATTERN",
        help="paths of the images in SOURCE, for the other formats, such as "
        "'{split}/img/{name}.jpg'",
    )
    add(
        "--annotation-pattern",
        metavar="PATTERN",
        help="paths of the annotations, such as '{split}/mask/{name}_mask.png'; for masks with "
        "{class}, such as 'masks/{name}_{class}.png'",
    )
    add(
        "--resize-masks",
        action="store_true",
        help="resize annotations of another size than their image, to the nearest pixel",
    )
    add("--link", action="store_true", help="make hard links of the images instead of copies")


def _add_classes(add: _Add) -> None:
    add(
        "--class-names",
        nargs="+",
        metavar="NAME",
        help="the classes in the order of their labels; by default those of the source",
    )
    add(
        "--class-colors",
        nargs="+",
        metavar="COLOR",
        help="class colours, each as '#ff8000' or '255,128,0'; by default those of the source, or "
        "bright colours",
    )
    add(
        "--color-table",
        metavar="FILE",
        help="colours and names, for the format colors: CSV with name, red, green and blue, or "
        "lines such as '128 64 128 road'",
    )
    add(
        "--ignore",
        nargs="+",
        default=("__ignore__",),
        metavar="NAME",
        help="classes whose pixels become unlabelled (default: __ignore__)",
    )
    add(
        "--unlabelled",
        default="background",
        metavar="MEANING",
        help=f"what pixels of no shape are: {' or '.join(UNLABELLED_AREAS)} (default: background)",
    )
    add(
        "--overlap",
        metavar="ORDER",
        help=f"order in which shapes are drawn, {' or '.join(LABEL_OVERLAPS)}; by default "
        "larger-first for coco and yolo, file-order for labelme and cvat",
    )
    add(
        "--ignore-crowds",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make crowds of COCO unlabelled (default: on)",
    )
    add(
        "--label-offset",
        type=int,
        help="value of the first class, for the format pairs (default: 0)",
    )
    add(
        "--ignore-label",
        type=int,
        nargs="+",
        help="values of unlabelled pixels, for the format pairs (default: 255)",
    )


def _add_splits(add: _Add) -> None:
    add(
        "--split-lists",
        nargs="+",
        metavar="SPLIT=FILE",
        help="text files of image names, such as train=train.txt validation=val.txt; images in "
        "none of them are left out",
    )
    add(
        "--validation-share",
        type=float,
        default=0.2,
        help="share of the images for validation, of each class, if there are neither splits in "
        "the source nor lists (default: 0.2)",
    )
    add(
        "--group-pattern",
        metavar="EXPRESSION",
        help="regular expression that finds the group of an image in its name, such as "
        "'^(video[0-9]+)_'; a group stays in one split",
    )
    add("--seed", type=int, default=0, help="seed of the split (default: 0)")
