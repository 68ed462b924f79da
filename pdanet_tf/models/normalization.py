"""The means that networks as published subtract from the pixels."""

from collections.abc import Mapping, Sequence
from typing import Any


def with_mean(mean: Sequence[float], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a model, with the published mean unless users chose another.

    Args:
        mean: The published mean of red, green and blue, from 0 to 255.
        options: Options of `segmentation_model`.

    Returns:
        The options. A model that does not normalise, and one of other images than RGB, gets no
        mean.
    """
    *_, channels = options.get("input_shape", (None, None, 3))
    chosen = dict(options)
    if options.get("include_preprocessing", True) and channels == 3:
        chosen.setdefault("mean", mean)
    return chosen
