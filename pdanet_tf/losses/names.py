"""Losses by name."""

from collections.abc import Sequence
from typing import Any

from pdanet_tf.base.loss_names import parse_loss
from pdanet_tf.losses.base import SegmentationLoss
from pdanet_tf.losses.cross_entropy import SegmentationCrossEntropy
from pdanet_tf.losses.focal import Focal
from pdanet_tf.losses.lovasz import LovaszSoftmax
from pdanet_tf.losses.ohem import OHEM
from pdanet_tf.losses.overlap import Dice, Jaccard, Tversky
from pdanet_tf.losses.weighted_sum import WeightedSum

LOSSES: dict[str, type[SegmentationLoss]] = {
    "ce": SegmentationCrossEntropy,
    "ohem": OHEM,
    "focal": Focal,
    "dice": Dice,
    "jaccard": Jaccard,
    "tversky": Tversky,
    "lovasz": LovaszSoftmax,
}


def make_loss(
    text: str,
    ignore_label: int | Sequence[int] = 255,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    stride: int | None = None,
    first: float = 0.0,
) -> SegmentationLoss | WeightedSum:
    """Builds the loss that a text names.

    Args:
        text: A name (ce, ohem, focal, dice, jaccard, tversky or lovasz), with parameters in
            parentheses if they are not the default ones, or a weighted sum of several.
        ignore_label: The label of unlabelled pixels, or several of them.
        class_weights: One weight per class, for all losses of a sum.
        label_smoothing: See `SegmentationCrossEntropy`; only "ce" supports it.
        stride: See `pdanet_tf.losses.base.SegmentationLoss`.
        first: See `stride`.

    Raises:
        ValueError: If a name or a parameter is unknown (the message names the nearest known one),
            a value is out of range, or `label_smoothing` is given without "ce".

    Example:
        ```python
        model.compile(optimizer, loss=make_loss("0.7*ce+0.3*lovasz"))
        make_loss("ohem(threshold=0.7)")
        make_loss("ce + 2*tversky(alpha=0.3, beta=0.7)", class_weights=[1, 5])
        ```
    """
    terms = parse_loss(text)
    if label_smoothing and "ce" not in [term.name for term in terms]:
        raise ValueError(
            "label_smoothing requires the loss 'ce'. Received: "
            f"label_smoothing={label_smoothing} with loss={text!r}"
        )
    common: dict[str, Any] = {
        "ignore_label": ignore_label,
        "class_weights": class_weights,
        "stride": stride,
        "first": first,
    }
    losses = []
    for term in terms:
        options = {**common, **term.parameters}
        if term.name == "ce":
            options["label_smoothing"] = label_smoothing
        losses.append(LOSSES[term.name](**options))
    if len(losses) == 1 and terms[0].weight == 1:
        return losses[0]
    return WeightedSum(losses, [term.weight for term in terms])
