"""What the configuration inside a checkpoint of mmsegmentation says beyond its weights.

The package writes the text of its configuration into the file's `meta` ("config" in 0.x, "cfg" in
1.x). It is Python code. It is parsed and never executed: only literals and calls of `dict` count.
"""

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any

from pdanet_tf.weights.sources.source import Architecture

# Strides and dilations of the four stages, by output stride.
_OUTPUT_STRIDES = {
    8: ((1, 2, 1, 1), (1, 1, 2, 4)),
    16: ((1, 2, 2, 1), (1, 1, 1, 2)),
    32: ((1, 2, 2, 2), (1, 1, 1, 1)),
}
# Options of the backbone, and the only values that the networks here have.
_FIXED = {"multi_grid": None, "dcn": None, "plugins": None, "style": "pytorch"}


def apply_config(architecture: Architecture, text: str) -> Architecture:
    """Completes what the weights of a checkpoint show by what its configuration says.

    Args:
        architecture: What the weights show.
        text: The configuration.

    Returns:
        The architecture with the output stride, dilations and pool scales of the configuration. It
        stays as it is if the text has no `model`.

    Raises:
        ValueError: If the configuration has an option that no network here has; the message names
            the option and its value.
    """
    model = _read_model(text)
    backbone, head = model.get("backbone"), model.get("decode_head")
    if not isinstance(backbone, Mapping) or not isinstance(head, Mapping):
        return architecture
    stride = _output_stride(backbone)
    _check_head(head)
    options = {**architecture.options, **_head_options(architecture.model, head)}
    return dataclasses.replace(architecture, output_stride=stride, options=options, assumed=())


def _read_model(text: str) -> Mapping[str, Any]:
    """Returns the value of `model` in a configuration; an empty dict if there is none."""
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        return {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "model" for target in statement.targets
        ):
            value = _value(statement.value)
            return value if isinstance(value, Mapping) else {}
    return {}


def _value(node: ast.expr) -> Any:
    """Returns what a literal, or a call of `dict`, stands for; None for anything else."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return tuple(_value(element) for element in elements)
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_value(key): _value(value) for key, value in pairs if key is not None}
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            return {each.arg: _value(each.value) for each in keywords}
        case _:
            return None


def _output_stride(backbone: Mapping[str, Any]) -> int:
    for option, expected in _FIXED.items():
        if backbone.get(option, expected) != expected:
            raise ValueError(
                f"its backbone must have {option}={expected!r}, not {backbone[option]!r}"
            )
    strides = backbone.get("strides", (1, 2, 2, 2))
    dilations = backbone.get("dilations", (1, 1, 1, 1))
    known = (key for key, value in _OUTPUT_STRIDES.items() if value == (strides, dilations))
    stride = next(known, None)
    if stride is None:
        raise ValueError(
            "the strides and dilations of its backbone must be those of output stride 8, 16 or 32, "
            f"not strides={strides}, dilations={dilations}"
        )
    if stride < 32 and not backbone.get("contract_dilation", False):
        raise ValueError("its backbone must have contract_dilation=True, not False")
    return stride


def _check_head(head: Mapping[str, Any]) -> None:
    if head.get("align_corners", False):
        raise ValueError("its decode head must have align_corners=False, not True")
    expected = (0, 1, 2, 3) if head.get("type") == "UPerHead" else 3
    if head.get("in_index", expected) not in (expected, -1):
        raise ValueError(f"its decode head must have in_index={expected}, not {head['in_index']!r}")
    activation = head.get("act_cfg", {"type": "ReLU"})
    if not isinstance(activation, Mapping) or activation.get("type") != "ReLU":
        raise ValueError(f"its decode head must have ReLUs, not act_cfg={activation!r}")


def _head_options(model: str, head: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a head that no weight shows."""
    family = model.partition("_")[0]
    if family == "fcn":
        dilation = head.get("dilation", 1)
        return {} if dilation == 1 else {"dilation_rate": dilation}
    if family in ("pspnet", "upernet"):
        return {"pool_scales": head["pool_scales"]} if "pool_scales" in head else {}
    if family.startswith("deeplab"):
        dilations = head.get("dilations", (1, 6, 12, 18))
        if not isinstance(dilations, tuple) or dilations[:1] != (1,) or 1 in dilations[1:]:
            raise ValueError(
                f"the dilations of its decode head must be 1 and larger ones, not {dilations!r}"
            )
        return {"dilation_rates": dilations[1:]}
    return {}
