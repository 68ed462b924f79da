"""The command `request`: segments images on a server. It imports neither Keras nor TensorFlow."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pdanet_tf.cli.errors import print_error
from pdanet_tf.cli.images import find_images, print_areas, print_summary
from pdanet_tf.cli.spelling import spell_as_options
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import set_pixel_limit
from pdanet_tf.files import is_full_disk
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.inference.results import KINDS, Results
from pdanet_tf.serving.client import Client
from pdanet_tf.serving.errors import RequestError


def request(
    url: str,
    images: list[str],
    output: str,
    batch_size: int,
    palette: bool,
    classes: str | None,
    class_names: list[str] | None,
    debug: bool,
    **options: str | float,
) -> int:
    """Segments images on a server and writes label maps and overlays as `predict` does.

    Args:
        url: Address of the server.
        images: Files, folders and patterns.
        output: Folder for the results.
        batch_size: Number of images per request.
        palette: Whether the label maps are palette images.
        classes: File of the classes, see `pdanet_tf.data.class_table.read_classes`.
        class_names: Names of the classes, if there is no file.
        debug: Whether to print the traceback of an error before its message.
        **options: Further arguments of `pdanet_tf.serving.Client`.

    Returns:
        1 if an image was not segmented, otherwise 0.

    Raises:
        ServingError: If the server cannot be reached, does not have the model, or sends what is not
            an answer.
        ValueError: If an option is wrong.
    """
    set_pixel_limit()
    # gRPC would log each failed connection; the error has the reason.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with Client(url, classes=classes or class_names, **options) as client:  # type: ignore[arg-type]
        files, problems = find_images(images)
        for problem in problems:
            print(f"pdanet-tf: error: {problem}", file=sys.stderr)
        if not files:
            return 1
        results = Results(Path(output), files, KINDS)
        failed = _segment(client, list(files), results, batch_size, palette, debug)
    print_summary(len(files), failed, output)
    return 1 if failed or problems else 0


def _segment(
    client: Client,
    files: Sequence[Path],
    results: Results,
    batch_size: int,
    palette: bool,
    debug: bool,
) -> int:
    """Segments files batch by batch and returns how many of them failed."""
    wanted = []
    for file in files:
        try:
            results.check(file)  # before the server is asked
            wanted.append(file)
        except DataError as error:
            print_error(error, debug)
    done = 0
    for file, outcome in zip(wanted, client.outcomes(wanted, batch_size), strict=True):
        try:
            if not isinstance(outcome, Prediction):
                raise outcome
            labels = outcome.palette_image if palette else outcome.label_image
            results.save(file, "labels", labels)
            results.save(file, "overlay", outcome.overlay)
        except (DataError, RequestError, OSError) as error:
            if is_full_disk(error):
                raise  # the disk is full: the other images would fail as well
            print_error(error, debug, spell_as_options(str(error), ["batch_size", "timeout"]))
            continue
        done += 1
        print_areas(file, outcome.areas())
    return len(files) - done
