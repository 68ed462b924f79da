"""The command that trains a model again, without paths of the machine that trained it."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from pdanet_tf.training.config import TrainConfig
from pdanet_tf.weights.hub import is_hub_address

_OF_A_MACHINE = ("output_dir", "data_dir", "resume")
DATA = "DATA"  # stands for the folder of the data


def changed_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a run that differ from the defaults, and its model, data and seed.

    Args:
        config: The options by name, as in `summary.json`. What `TrainConfig` does not have, such as
            an option of an older version, is left out.
    """
    defaults = TrainConfig()
    named = {name: config[name] for name in ("model", "dataset") if name in config}
    changed = {
        field.name: config[field.name]
        for field in dataclasses.fields(TrainConfig)
        if field.name in config
        and field.name not in (*_OF_A_MACHINE, *named, "seed")
        and _plain(config[field.name]) != _plain(getattr(defaults, field.name))
    }
    folder = {} if config.get("data_dir") is None else {"data_dir": DATA}
    seed = {"seed": config["seed"]} if "seed" in config else {}
    return {**named, **folder, **changed, **seed}


def train_command(options: Mapping[str, Any]) -> str:
    """Returns the command `pdanet-tf train` with options; those that are None are left out.

    Args:
        options: The values by the names of the options. Of paths of files, the last part is shown.
    """
    arguments = ["pdanet-tf", "train"]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            arguments.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, Mapping):
            pairs = ((key, _last_part(each)) for key, each in value.items())
            arguments += [option, *(f"{key}={each}" for key, each in pairs)]
        elif value is not None:
            values = value if isinstance(value, list | tuple) else (value,)
            arguments += [option, *(_last_part(each) for each in values)]
    return shlex.join(arguments)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _last_part(value: Any) -> str:
    """Returns a value as text; of an absolute path, the last part."""
    text = str(value)
    if is_hub_address(text):
        return text
    is_path = text.startswith("/") or text[1:3] in (":\\", ":/") or text.startswith("\\\\")
    return text.replace("\\", "/").rstrip("/").rpartition("/")[2] if is_path else text
