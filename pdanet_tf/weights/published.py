"""The checkpoints that others have published, as a table. Importing it does not import Keras."""

from dataclasses import dataclass
from typing import Any

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.sources.ade20k import ADE20K_CLASSES
from pdanet_tf.data.sources.voc import VOC_CLASSES

_CSAIL = "http://sceneparsing.csail.mit.edu/model/pytorch"
_CSAIL_SCORES = "https://github.com/CSAILVision/semantic-segmentation-pytorch#performance"
_TORCHVISION = "https://download.pytorch.org/models"
_TORCHVISION_SCORES = "https://pytorch.org/vision/stable/models.html#semantic-segmentation"
_BSD = "BSD-3-Clause"
_NO_LIMIT = 65_535  # pixels, the largest side of a JPEG


@dataclass(frozen=True)
class PublishedFile:
    """A file on the network.

    Attributes:
        url: Its address. The last two parts of the path are also its path below the cache folder.
        sha256: Its hash in hexadecimal digits, or the first of them, at least 8, if the publisher
            gives no more; None if it is not known.
    """

    url: str
    sha256: str | None = None


@dataclass(frozen=True)
class PublishedScores:
    """Scores that the makers of a checkpoint have published, for one scale.

    Attributes:
        mean_iou: Mean intersection over union of the validation split, from 0 to 1.
        pixel_accuracy: Share of the correct pixels, from 0 to 1.
        source: Where they are published.
        images: The images that were scored.
    """

    mean_iou: float
    pixel_accuracy: float
    source: str
    images: str = "ADE20K validation"


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A trained model of another package.

    The score belongs to the protocol, up to the sizes of images: here both sides are rounded up to
    multiples of 8. CSAIL does the same, but rounds up to multiples of 32 for UPerNet. torchvision
    does not round.

    Attributes:
        model: Name of the model in this package.
        encoder: State dict of the backbone, or of the whole network if there is no `decoder`.
        decoder: State dict of the heads; None if `encoder` has them.
        num_classes: Number of classes.
        normalization: How its pixels are normalised, see `pdanet_tf.layers.PixelNormalization`.
        classes: Names and colours of its classes.
        scores: Its published scores; None if there are none.
        variant: Variant of the model, see `pdanet_tf.build_model`.
        licence: Licence of the project that publishes it, as an SPDX identifier. The images that it
            was trained with have terms of their own.
        short_edges: The protocol: short edges that images are resized to, in pixels.
        max_size: The protocol: upper limit of the long edge, in pixels.
    """

    model: str
    encoder: PublishedFile
    decoder: PublishedFile | None = None
    num_classes: int = 150
    normalization: str = "torch"
    classes: Classes = ADE20K_CLASSES
    scores: PublishedScores | None = None
    variant: str | None = None
    licence: str = _BSD
    short_edges: tuple[int, ...] = (450,)
    max_size: int = 1000


def _csail(
    model: str,
    name: str,
    epoch: int,
    mean_iou: float,
    pixel_accuracy: float,
    encoder_sha256: str | None = None,
) -> dict[str, PublishedCheckpoint]:
    encoder = PublishedFile(f"{_CSAIL}/{name}/encoder_epoch_{epoch}.pth", encoder_sha256)
    decoder = PublishedFile(f"{_CSAIL}/{name}/decoder_epoch_{epoch}.pth")
    scores = PublishedScores(mean_iou, pixel_accuracy, _CSAIL_SCORES)
    return {name: PublishedCheckpoint(model, encoder, decoder, scores=scores)}


def _torchvision(
    model: str, digits: str, mean_iou: float, pixel_accuracy: float
) -> dict[str, PublishedCheckpoint]:
    """Returns a checkpoint of torchvision, whose file name ends in the first digits of its hash."""
    scores = PublishedScores(
        mean_iou, pixel_accuracy, _TORCHVISION_SCORES, "COCO val2017, the classes of Pascal VOC"
    )
    checkpoint = PublishedCheckpoint(
        model,
        PublishedFile(f"{_TORCHVISION}/{model}_coco-{digits}.pth", digits),
        num_classes=21,
        classes=VOC_CLASSES,
        scores=scores,
        variant="torchvision",
        short_edges=(520,),
        max_size=_NO_LIMIT,
    )
    return {f"{model}_coco": checkpoint}


# CSAIL (`semantic-segmentation-pytorch`) trained its models on ADE20K, those with dilated backbones
# with deep supervision. The scores are those on the validation split, without multi-scale
# inference. The mean IoU of MobileNetV2 with c1_deepsup is that of the table's first version, whose
# mean with the pixel accuracy is the printed "overall score", 54.07; that of the present table,
# 34.84, is not consistent with it.
#
# torchvision trained its models on the images of COCO train2017 that show a class of Pascal VOC.
CHECKPOINTS = {
    **_csail("fcn_mobilenetv2", "ade20k-mobilenetv2dilated-c1_deepsup", 20, 0.3239, 0.7575),
    **_csail("fcn_resnet18", "ade20k-resnet18dilated-c1_deepsup", 20, 0.3382, 0.7605),
    **_csail("pspnet_resnet18", "ade20k-resnet18dilated-ppm_deepsup", 20, 0.3800, 0.7864),
    **_csail(
        "pspnet_resnet50",
        "ade20k-resnet50dilated-ppm_deepsup",
        20,
        0.4126,
        0.7973,
        "d7dcb0234a2c1fd23d490d48c2c2fc5c39dc2b0ce39085b2f6f7e867fdd5d304",
    ),
    **_csail("pspnet_resnet101", "ade20k-resnet101dilated-ppm_deepsup", 25, 0.4219, 0.8059),
    **_csail("upernet_resnet50", "ade20k-resnet50-upernet", 30, 0.4044, 0.7980),
    **_csail("upernet_resnet101", "ade20k-resnet101-upernet", 50, 0.4200, 0.8079),
    **_torchvision("fcn_resnet50", "1167a1af", 0.605, 0.914),
    **_torchvision("fcn_resnet101", "7ecb50ca", 0.637, 0.919),
    **_torchvision("deeplabv3_resnet50", "cd0a2569", 0.664, 0.924),
    **_torchvision("deeplabv3_resnet101", "586e9e4e", 0.674, 0.924),
}


def check_published(checkpoint: str, **arguments: Any) -> None:
    """Checks that a published checkpoint fits models that are built with the given arguments.

    Args:
        checkpoint: A name in `CHECKPOINTS`.
        **arguments: Arguments of the model, by the names of the checkpoint's attributes.

    Raises:
        ValueError: If an argument differs from the checkpoint's.
    """
    published = CHECKPOINTS[checkpoint]
    for name, value in arguments.items():
        expected = getattr(published, name)
        if value != expected:
            raise ValueError(
                f"The checkpoint {checkpoint!r} belongs to {name}={expected!r}. "
                f"Received: {name}={value!r}"
            )
