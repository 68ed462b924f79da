"""The command `demo`. Its options are read without Keras and TensorFlow."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from pdanet_tf.base.extras import import_extra
from pdanet_tf.base.startup import import_keras_quietly

_EXTRA = "demo"


def add_demo_options(parser: argparse.ArgumentParser, model_help: str) -> None:
    """Adds the options of the command that `predict` does not have.

    Args:
        parser: The parser of the command.
        model_help: What `--model` takes.
    """
    parser.add_argument("--model", default="camvid", help=f"{model_help} (default: camvid)")
    parser.add_argument(
        "--compare-with",
        metavar="MODEL",
        help="another model; the page shows both side by side, and where they disagree",
    )
    parser.add_argument(
        "--samples",
        metavar="FOLDER",
        help="folder whose images the page offers; by default scenes that are drawn",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1, this machine alone); 0.0.0.0 opens the "
        "page to the network, without a password",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=7860,
        help="port to listen at (default: 7860); 0 for any free one",
    )


def serve_page(
    model: str,
    weights: str | None,
    compare_with: str | None,
    samples: str | None,
    precision: str | None,
    runtime: str | None,
    host: str,
    port: int,
    **protocol: Any,
) -> None:
    """Serves the demo page until Ctrl-C.

    Args:
        model: The model.
        weights: Weights for the architecture that `model` names.
        compare_with: Another model, or None.
        samples: Folder of sample images; None for drawn ones.
        precision: Dtype policy of the layers, or None.
        runtime: What runs the network, or None.
        host: Address to listen at.
        port: Port to listen at.
        **protocol: The options of the protocol.

    Raises:
        ImportError: If the extra `demo`, or that of the runtime, is not installed.
        OSError: If the port is in use, or a file is missing.
        ValueError: If a model or an option is wrong.
    """
    for package in ("starlette", "uvicorn"):
        import_extra(package, _EXTRA, "The demo page")
    server = import_module("pdanet_tf.demo.server")
    with server.listen(host, port) as listening:
        if samples is not None and not Path(samples).is_dir():
            raise FileNotFoundError(f"--samples {samples}: there is no such folder")
        print(f"Loading {' and '.join(filter(None, (model, compare_with)))} ...", file=sys.stderr)
        import_module("pdanet_tf.data.readers").set_pixel_limit()
        import_keras_quietly()
        make_page = import_module("pdanet_tf.cli.demo_models").make_page
        hosts = server.allowed_hosts(host)
        app = make_page(model, weights, compare_with, samples, precision, runtime, protocol, hosts)
        print(f"The demo page is at {server.url_of(listening)} (Ctrl-C ends it)", flush=True)
        server.serve(app, listening)
