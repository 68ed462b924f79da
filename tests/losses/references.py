"""Writes `tests/golden/losses.npz`: losses and gradients computed by other packages.

    python -m tests.losses.references

It requires torch and segmentation_models.pytorch. The values are computed in float64, those
of smp's Lovasz loss in float32. `CASES` holds for each value our loss that must equal it.
"""

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden" / "losses.npz"
VOID = 255
NUM_CLASSES = 5  # of which the last does not occur
PRESENT = [0, 1, 2, 3]
WEIGHTS = [0.5, 2.0, 1.0, 3.5, 0.25]
# (height, width) of the logits and of the labels.
SIZES = {"same": ((7, 9), (7, 9)), "upsampled": ((3, 4), (22, 33))}

# Name: class of the loss, and its arguments.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ce": ("SegmentationCrossEntropy", {}),
    "ce, two ignored labels": ("SegmentationCrossEntropy", {"ignore_label": (2, VOID)}),
    "ce, weights": ("SegmentationCrossEntropy", {"class_weights": WEIGHTS}),
    "ce, smoothing": ("SegmentationCrossEntropy", {"label_smoothing": 0.1}),
    "ce, weights, smoothing": (
        "SegmentationCrossEntropy",
        {"class_weights": WEIGHTS, "label_smoothing": 0.3},
    ),
    "smp ce, smoothing": ("SegmentationCrossEntropy", {"label_smoothing": 0.2}),
    "smp focal": ("Focal", {}),
    "smp focal, gamma 0.5": ("Focal", {"gamma": 0.5}),
    "smp dice": ("Dice", {"average": "all"}),
    "smp dice, present classes": ("Dice", {}),
    "smp dice, weights": ("Dice", {"average": "all", "class_weights": WEIGHTS}),
    "smp dice, smooth": ("Dice", {"average": "all", "smooth": 1.0}),
    "smp jaccard": ("Jaccard", {"average": "all"}),
    "smp jaccard, present classes, weights": ("Jaccard", {"class_weights": WEIGHTS}),
    "smp tversky": ("Tversky", {"average": "all", "alpha": 0.3, "beta": 0.7}),
    "smp lovasz": ("LovaszSoftmax", {}),
    "ohem, fraction": ("OHEM", {"fraction": 0.3}),
    "ohem, threshold": ("OHEM", {"threshold": 0.2}),
    "ohem, threshold and fraction": ("OHEM", {"threshold": 0.1, "fraction": 0.6}),
}


def inputs(size: str, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    """Returns labels `(2, height, width)` and logits `(2, height, width, NUM_CLASSES)`."""
    small, large = SIZES[size]
    rng = np.random.default_rng(7)
    labels = rng.choice([*PRESENT, VOID], (2, *large), p=[0.4, 0.2, 0.15, 0.05, 0.2])
    # In float32 and float64 the same numbers.
    logits = (2 * rng.standard_normal((2, *small, NUM_CLASSES))).astype("float32")
    return labels, logits.astype(dtype)


def references(smp: Any = None) -> Iterator[tuple[str, Callable[[Any, Any], Any]]]:
    """Yields the name of each case, and its function of torch tensors.

    The functions take logits `(2, NUM_CLASSES, height, width)` and labels `(2, height, width)`.

    Args:
        smp: Its module of losses, see `smp_losses`; None leaves its cases out.
    """
    from functools import partial

    import torch
    from torch.nn.functional import cross_entropy

    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    entropy = partial(cross_entropy, ignore_index=VOID)
    yield "ce", entropy
    yield (
        "ce, two ignored labels",
        lambda logits, labels: entropy(logits, torch.where(labels == 2, VOID, labels)),
    )
    yield "ce, weights", partial(entropy, weight=weights)
    yield "ce, smoothing", partial(entropy, label_smoothing=0.1)
    yield "ce, weights, smoothing", partial(entropy, weight=weights, label_smoothing=0.3)
    yield "ohem, fraction", partial(hardest, fraction=0.3)
    yield "ohem, threshold", partial(hard, threshold=0.2, min_kept=0)
    yield (
        "ohem, threshold and fraction",
        lambda logits, labels: hard(logits, labels, 0.1, round(0.6 * int((labels != VOID).sum()))),
    )
    if smp is None:
        return
    losses = smp
    common: dict[str, Any] = {"mode": "multiclass", "ignore_index": VOID}
    focal = losses._functional.softmax_focal_loss_with_logits

    def soft(logits: Any, labels: Any) -> Any:
        """Its mean is over all pixels, also unlabelled ones."""
        loss = losses.SoftCrossEntropyLoss(smooth_factor=0.2, ignore_index=VOID)
        return loss(logits, labels) * labels.numel() / (labels != VOID).sum()

    def labelled(function: Callable[..., Any], logits: Any, labels: Any) -> Any:
        valid = labels != VOID
        return function(logits.movedim(1, -1)[valid], labels[valid])

    yield "smp ce, smoothing", soft
    yield "smp focal", partial(labelled, focal)
    yield "smp focal, gamma 0.5", partial(labelled, partial(focal, gamma=0.5))
    yield "smp dice", losses.DiceLoss(**common)
    yield "smp dice, present classes", losses.DiceLoss(classes=PRESENT, **common)
    yield "smp dice, weights", losses.DiceLoss(class_weights=weights, **common)
    yield "smp dice, smooth", losses.DiceLoss(smooth=1.0, **common)
    yield "smp jaccard", losses.JaccardLoss(**common)
    yield (
        "smp jaccard, present classes, weights",
        losses.JaccardLoss(classes=PRESENT, class_weights=weights, **common),
    )
    yield "smp tversky", losses.TverskyLoss(alpha=0.3, beta=0.7, **common)
    # It computes one of its factors in float32, whatever it is given.
    yield "smp lovasz", lambda logits, labels: losses.LovaszLoss(**common)(logits.float(), labels)


def hard(logits: Any, labels: Any, threshold: float, min_kept: int) -> Any:
    """HRNet's definition of OHEM: the pixels below the threshold, but at least `min_kept`."""
    import torch
    from torch.nn.functional import cross_entropy

    losses = cross_entropy(logits, labels, ignore_index=VOID, reduction="none")
    losses = losses[labels != VOID]
    shares, order = torch.exp(-losses).sort()
    limit = max(shares[min(min_kept, len(shares) - 1)].item(), threshold)
    return losses[order][shares < limit].mean()


def hardest(logits: Any, labels: Any, fraction: float) -> Any:
    """mmsegmentation's choice without a threshold: the pixels of the highest losses."""
    from torch.nn.functional import cross_entropy

    losses = cross_entropy(logits, labels, ignore_index=VOID, reduction="none")
    losses = losses[labels != VOID]
    return losses.topk(round(fraction * len(losses))).values.mean()


def evaluate(function: Callable[[Any, Any], Any], size: str) -> tuple[float, np.ndarray]:
    """Returns the value of a reference, and its gradient in the shape of our logits."""
    import torch
    from torch.nn.functional import interpolate

    labels, logits = inputs(size)
    given = torch.tensor(logits.transpose(0, 3, 1, 2), requires_grad=True)
    resized = interpolate(given, SIZES[size][1], mode="bilinear", align_corners=False)
    value = function(resized, torch.tensor(labels))
    value.backward()
    return value.item(), given.grad.numpy().transpose(0, 2, 3, 1)


def smp_losses() -> ModuleType:
    """Imports the losses of segmentation_models.pytorch.

    They need nothing but torch. The package itself imports torchvision, whose wheels do not work
    with every build of torch.
    """
    package = find_spec("segmentation_models_pytorch")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("segmentation_models_pytorch is not installed")
    file = Path(package.origin).parent / "losses" / "__init__.py"
    spec = spec_from_file_location(
        "smp_losses", file, submodule_search_locations=[str(file.parent)]
    )
    module = module_from_spec(spec)
    sys.modules["smp_losses"] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Writes the file."""
    stored: dict[str, Any] = {}
    for name, function in references(smp_losses()):
        for size in SIZES:
            value, gradient = evaluate(function, size)
            stored[f"{size}: {name}"] = np.array(value)
            stored[f"{size}: {name}: gradient"] = gradient
    np.savez_compressed(GOLDEN, **stored)


if __name__ == "__main__":
    main()
