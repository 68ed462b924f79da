"""The mean of the losses of classes."""

from keras import ops

from pdanet_tf.base.choices import check_choice
from pdanet_tf.base.types import Tensor

AVERAGES = ("present", "all")


def check_average(average: str) -> str:
    """Returns `average`.

    Raises:
        ValueError: If it is not one of `AVERAGES`.
    """
    check_choice("average", average, AVERAGES)
    return average


def mean_over_classes(
    losses: Tensor, present: Tensor, class_weights: tuple[float, ...] | None, average: str
) -> Tensor:
    """Returns the mean of the losses of classes.

    Args:
        losses: The loss of each class, `(num_classes,)`.
        present: Whether a class occurs in the labels, `(num_classes,)`. The losses of other classes
            are not looked at.
        class_weights: The weight of each class; None for equal weights.
        average: "present" for the mean over the classes that occur; "all" for the mean over all
            classes, in which classes that do not occur count as 0.

    Returns:
        A scalar; 0 if no class occurs.
    """
    weights = ops.ones_like(losses)
    if class_weights is not None:
        weights = ops.convert_to_tensor(class_weights, losses.dtype)
    kept = ops.where(present, weights, 0.0)
    total = ops.sum(weights if average == "all" else kept)
    # Both `where` are necessary: the gradient of what is not kept is multiplied by 0.
    return ops.sum(ops.where(present, losses, 0.0) * kept) / ops.where(total > 0, total, 1.0)
