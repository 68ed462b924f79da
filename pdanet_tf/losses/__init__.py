"""Losses of segmentation. All of them take label maps and logits of any size.

`make_loss` builds one from a text such as "0.7*ce+0.3*lovasz".
"""

from pdanet_tf.losses.base import match_labels, match_weights
from pdanet_tf.losses.cross_entropy import SegmentationCrossEntropy
from pdanet_tf.losses.focal import Focal
from pdanet_tf.losses.lovasz import LovaszSoftmax
from pdanet_tf.losses.names import make_loss
from pdanet_tf.losses.ohem import OHEM
from pdanet_tf.losses.overlap import Dice, Jaccard, Tversky
from pdanet_tf.losses.weighted_sum import WeightedSum

__all__ = [
    "OHEM",
    "Dice",
    "Focal",
    "Jaccard",
    "LovaszSoftmax",
    "SegmentationCrossEntropy",
    "Tversky",
    "WeightedSum",
    "make_loss",
    "match_labels",
    "match_weights",
]
