"""The models and the samples of the command `demo`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from starlette.types import ASGIApp

from pdanet_tf.cli.inputs import load_for_inference, take_protocol
from pdanet_tf.data.endings import CHANNEL_ENDINGS, IMAGE_ENDINGS
from pdanet_tf.demo.answers import ShownModel
from pdanet_tf.demo.app import make_app
from pdanet_tf.demo.samples import drawn_samples, folder_samples
from pdanet_tf.inference.predictor import Predictor


def make_page(
    model: str,
    weights: str | None,
    compare_with: str | None,
    samples: str | None,
    precision: str | None,
    runtime: str | None,
    protocol: dict[str, Any],
    hosts: Sequence[str] | None,
) -> ASGIApp:
    """Loads the models and returns the application of the page."""
    shown = [_load(model, weights, precision, runtime, dict(protocol))]
    if compare_with is not None:
        shown.append(_load(compare_with, None, precision, runtime, dict(protocol)))
    predictor = shown[0].predictor
    if samples is None:
        offered = drawn_samples(predictor.classes) if predictor.pixel_format.is_rgb else []
    else:
        endings = IMAGE_ENDINGS if predictor.pixel_format.is_rgb else CHANNEL_ENDINGS
        offered = folder_samples(Path(samples), endings)
    return make_app(shown, offered, hosts)


def _load(
    model: str,
    weights: str | None,
    precision: str | None,
    runtime: str | None,
    options: dict[str, Any],
) -> ShownModel:
    protocol = take_protocol(weights or model, options)
    loaded, settings = load_for_inference(model, weights, precision)
    predictor = Predictor(
        loaded,
        protocol,
        classes=None if settings is None else settings.classes,
        pixel_format=None if settings is None else settings.pixel_format,
        runtime=runtime,
    )
    name = Path(weights or model).name if Path(weights or model).exists() else weights or model
    return ShownModel(name, predictor, runtime or keras.backend.backend())
