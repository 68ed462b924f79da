"""The options of the command `request`."""

import argparse

from pdanet_tf.base.choices import PROTOCOLS, SIGNATURES


def add_request_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `request` that no other command has."""
    parser.add_argument(
        "--model", required=True, help="name under which the server serves the model"
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default=PROTOCOLS[0],
        help="tensorflow-serving (the default), over HTTP also KServe's V1; or open-inference, "
        "which is KServe's V2, for KServe, Triton, OpenVINO Model Server and MLServer",
    )
    parser.add_argument(
        "--signature",
        choices=SIGNATURES,
        default=SIGNATURES[0],
        help="serving_default (the default) sends image files; image sends pixels, for ONNX and "
        "OpenVINO models",
    )
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        "--classes",
        metavar="FILE",
        help="names and colours of the classes: assets/classes.csv of the SavedModel, or "
        "inference.json beside an ONNX or OpenVINO file; by default the classes are numbered",
    )
    classes.add_argument(
        "--class-names", nargs="+", metavar="NAME", help="names of the classes, in their order"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="images per request (default: 8)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        help="seconds that a request may take, with its retries (default: 60)",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=5,
        help="how many times a request is sent again while the server cannot be reached or is not "
        "ready (default: 5)",
    )
