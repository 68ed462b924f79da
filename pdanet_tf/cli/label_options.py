"""The options of `pdanet-tf import-labels`."""

import argparse

from pdanet_tf.base.choices import LABEL_FORMATS, LABEL_OVERLAPS, UNLABELLED_AREAS


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
    _add_files(parser.add_argument_group("the files"))
    _add_classes(parser.add_argument_group("the classes"))
    _add_splits(parser.add_argument_group("the splits"))
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out records with a problem; by default nothing is written if there is one",
    )


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--images",
        metavar="FOLDER",
        help="folder of the images, for coco, cvat and labelme; by default that of the annotations",
    )
    group.add_argument(
        "--image-pattern",
        metavar="PATTERN",
        help="paths of the images in SOURCE, for the other formats, such as "
        "'{split}/img/{name}.jpg'",
    )
    group.add_argument(
        "--annotation-pattern",
        metavar="PATTERN",
        help="paths of the annotations, such as '{split}/mask/{name}_mask.png'; for masks with "
        "{class}, such as 'masks/{name}_{class}.png'",
    )
    group.add_argument(
        "--resize-masks",
        action="store_true",
        help="resize annotations of another size than their image, to the nearest pixel",
    )
    group.add_argument(
        "--link", action="store_true", help="make hard links of the images instead of copies"
    )


def _add_classes(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--class-names",
        nargs="+",
        metavar="NAME",
        help="the classes in the order of their labels; by default those of the source",
    )
    group.add_argument(
        "--class-colors",
        nargs="+",
        metavar="COLOR",
        help="class colours, each as '#ff8000' or '255,128,0'; by default those of the source, or "
        "bright colours",
    )
    group.add_argument(
        "--color-table",
        metavar="FILE",
        help="colours and names, for the format colors: CSV with name, red, green and blue, or "
        "lines such as '128 64 128 road'",
    )
    group.add_argument(
        "--ignore",
        nargs="+",
        default=("__ignore__",),
        metavar="NAME",
        help="classes whose pixels become unlabelled (default: __ignore__)",
    )
    group.add_argument(
        "--unlabelled",
        default="background",
        metavar="MEANING",
        help=f"what pixels of no shape are: {' or '.join(UNLABELLED_AREAS)} (default: background)",
    )
    group.add_argument(
        "--overlap",
        metavar="ORDER",
        help=f"order in which shapes are drawn, {' or '.join(LABEL_OVERLAPS)}; by default "
        "larger-first for coco and yolo, file-order for labelme and cvat",
    )
    group.add_argument(
        "--ignore-crowds",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make crowds of COCO unlabelled (default: on)",
    )
    group.add_argument(
        "--label-offset",
        type=int,
        help="value of the first class, for the format pairs (default: 0)",
    )
    group.add_argument(
        "--ignore-label",
        type=int,
        nargs="+",
        help="values of unlabelled pixels, for the format pairs (default: 255)",
    )


def _add_splits(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--split-lists",
        nargs="+",
        metavar="SPLIT=FILE",
        help="text files of image names, such as train=train.txt validation=val.txt; images in "
        "none of them are left out",
    )
    group.add_argument(
        "--validation-share",
        type=float,
        default=0.2,
        help="share of the images for validation, of each class, if there are neither splits in "
        "the source nor lists (default: 0.2)",
    )
    group.add_argument(
        "--group-pattern",
        metavar="EXPRESSION",
        help="regular expression that finds the group of an image in its name, such as "
        "'^(video[0-9]+)_'; a group stays in one split",
    )
    group.add_argument("--seed", type=int, default=0, help="seed of the split (default: 0)")
