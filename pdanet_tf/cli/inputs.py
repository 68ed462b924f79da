"""Models, protocols and data sets that the options of several commands ask for."""

import dataclasses
import sys
import typing
from typing import Any

import keras

import pdanet_tf
from pdanet_tf.base.processor import slow_precision
from pdanet_tf.data import SegmentationDataset
from pdanet_tf.inference.crf import CRFParameters
from pdanet_tf.inference.settings import InferenceSettings, load_model
from pdanet_tf.models import with_dtype_policy


def read_crf(settings: list[str] | None) -> CRFParameters | None:
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


def take_protocol(model_file: str | None, options: dict[str, Any]) -> pdanet_tf.Protocol | None:
    """Removes the options of the protocol from `options`, and returns the protocol.

    Returns:
        The protocol in the `inference.json` next to the model's file, changed by the options; None
        if neither a model nor an option is given.
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
    settings = InferenceSettings.load_for(model_file)
    return dataclasses.replace(settings.protocol if settings else pdanet_tf.Protocol(), **given)


def load_for_inference(
    model: str, weights: str | None, precision: str | None
) -> tuple[keras.Model, InferenceSettings | None]:
    """Loads a model in a given precision, and the settings of its weights."""
    slow = None if keras.distribution.list_devices("gpu") else slow_precision(precision)
    if slow:
        print(f"Note: {slow}", file=sys.stderr)
    loaded, settings = load_model(model, weights)
    return (loaded if precision is None else with_dtype_policy(loaded, precision)), settings


def open_dataset(dataset: str, **options: Any) -> SegmentationDataset:
    """Opens the data set that the options of the data ask for."""
    names = options.pop("class_names")
    return pdanet_tf.load_dataset(dataset, class_names=tuple(names) if names else None, **options)
