"""The text that names a loss, such as "0.7*ce+0.3*lovasz" or "ohem(threshold=0.7)".

Importing this module imports neither Keras nor TensorFlow, so that a configuration can be checked
without them.
"""

import ast
from typing import NamedTuple

from pdanet_tf.base.choices import check_choice
from pdanet_tf.base.fields import shorten, with_nearest

# The losses, and the parameters that can be written in parentheses.
LOSS_PARAMETERS = {
    "ce": (),
    "ohem": ("fraction", "threshold"),
    "focal": ("gamma",),
    "dice": ("smooth",),
    "jaccard": ("smooth",),
    "tversky": ("alpha", "beta", "smooth"),
    "lovasz": (),
}
_LONGEST = 1000  # characters


class LossTerm(NamedTuple):
    """One term of a sum of losses.

    Attributes:
        weight: Its factor.
        name: Name of the loss, a key of `LOSS_PARAMETERS`.
        parameters: Names and values of its parameters.
    """

    weight: float
    name: str
    parameters: dict[str, float]


def parse_loss(text: str) -> list[LossTerm]:
    """Parses the name of a loss, or a weighted sum of several.

    Args:
        text: Terms joined by `+`. A term is a name, with a factor and `*` before it if it is not 1,
            and parameters in parentheses after it.

    Raises:
        ValueError: If the text is not of this form, a name or a parameter is unknown (the message
            names the nearest known one), or a factor is not above 0.

    Example:
        `parse_loss("0.7*ce+0.3*ohem(fraction=0.5)")` returns
        `[LossTerm(0.7, "ce", {}), LossTerm(0.3, "ohem", {"fraction": 0.5})]`.
    """
    try:
        if len(text) > _LONGEST:
            raise SyntaxError
        return _terms(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(
            "loss must be the name of a loss, or a sum such as '0.7*ce+0.3*lovasz' or "
            f"'ce+2*tversky(alpha=0.3,beta=0.7)'. Received: loss={shorten(text)}"
        ) from None


def _terms(node: ast.expr) -> list[LossTerm]:
    """Returns the terms of a sum; raises SyntaxError if it is anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_terms(node.left), *_terms(node.right)]
    weight = 1.0
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        weight, node = _number(node.left), node.right
        if not 0 < weight < float("inf"):
            raise ValueError(f"The factor of a loss must be above 0. Received: {weight:g}")
    parameters: dict[str, float] = {}
    if isinstance(node, ast.Call):
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise SyntaxError
        parameters = {str(word.arg): _number(word.value) for word in node.keywords}
        if len(parameters) < len(node.keywords):  # one is given twice
            raise SyntaxError
        node = node.func
    if not isinstance(node, ast.Name):
        raise SyntaxError
    check_choice("loss", node.id, tuple(LOSS_PARAMETERS))
    known = LOSS_PARAMETERS[node.id]
    unknown = [name for name in parameters if name not in known]
    if unknown:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise ValueError(
            f"The loss {node.id!r} has no parameter {with_nearest(unknown, known)}; {takes}"
        )
    return [LossTerm(weight, node.id, parameters)]


def _number(node: ast.expr) -> float:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    value = node.value if isinstance(node, ast.Constant) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise SyntaxError
    return float(value)
