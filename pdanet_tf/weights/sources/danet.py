"""DANet's authors (`junfu1115/DANet`), whose network no model of this package is equal to."""

import re
from collections.abc import Iterable

from pdanet_tf.weights.sources.source import Architecture, Source, State


def _recognises(state: State) -> bool:
    return any(name.startswith("head.conv5a.") for name in state) and any(
        name.startswith("pretrained.") for name in state
    )


def _architecture(state: State) -> Architecture:
    del state
    raise ValueError(
        "the blocks of its C5 have dilations of 4, 8 and 16 (multi-grid), which no backbone here "
        "has and no weight shows, and its logits are resized with aligned corners"
    )


def _names(paths: Iterable[str]) -> dict[str, str]:
    del paths
    return {}


DANET = Source(
    "DANet's authors",
    _recognises,
    _architecture,
    _names,
    backbone=re.compile(r"pretrained\."),
)
