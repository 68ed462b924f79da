"""Checkpoints that others have published: their addresses, and loading them by name.

A file's hash is given here if it is publicly recorded. The hashes of the other files are not known:
they are downloaded with a warning that states their hash. Like all files of weights, they are read
without executing anything, and mapped strictly by name.
"""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import keras

from pdanet_tf.backbones.parts import find_backbone
from pdanet_tf.backbones.registry import PRETRAINED
from pdanet_tf.base.download import download, keras_home
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.sources.ade20k import ADE20K_CLASSES
from pdanet_tf.weights.fitting import LoadedWeights, all_loaded, load_stored
from pdanet_tf.weights.torch import (
    import_torch,
    load_torch_state_dict,
    read_torch_file,
    stored_torch_weights,
)

_CSAIL = "http://sceneparsing.csail.mit.edu/model/pytorch"
_CSAIL_SCORES = "https://github.com/CSAILVision/semantic-segmentation-pytorch#performance"


@dataclass(frozen=True)
class PublishedFile:
    """A file on the network.

    Attributes:
        url: Its address. The last two parts of the path are also its path below the cache folder.
        sha256: Its hash in hexadecimal digits; None if it is not known.
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
    """

    mean_iou: float
    pixel_accuracy: float
    source: str


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A trained model, as the reference's PyTorch code stores it.

    Attributes:
        model: Name of the model in this package.
        encoder: State dict of the backbone.
        decoder: State dict of the heads.
        num_classes: Number of classes.
        normalization: How its pixels are normalised, see `pdanet_tf.layers.PixelNormalization`.
        classes: Names and colours of its classes.
        scores: Its published scores; None if there are none.
    """

    model: str
    encoder: PublishedFile
    decoder: PublishedFile
    num_classes: int = 150
    normalization: str = "torch"
    classes: Classes = ADE20K_CLASSES
    scores: PublishedScores | None = None


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


# CSAIL (`semantic-segmentation-pytorch`) trained them on ADE20K, all with deep supervision. The
# scores are those on the validation split, without multi-scale inference.
CHECKPOINTS = {
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
}


def fetch(file: PublishedFile) -> Path:
    """Downloads a file to the cache, `~/.keras/pdanet_tf`, unless it is already there.

    Returns:
        Its path in the cache.

    Raises:
        OSError: If it cannot be downloaded or stored.
        ValueError: If the downloaded file has another hash than the published one; it is not kept.
    """
    *_, folder, name = urlsplit(file.url).path.split("/")
    path = keras_home() / "pdanet_tf" / folder / name
    known_hash = None if file.sha256 is None else f"sha256:{file.sha256}"
    advice = f"Check the network, or download the file by hand to {path}, and try again"
    download(file.url, path, known_hash, advice)
    if file.sha256 is None:
        with open(path, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        warnings.warn(
            f"The published hash of {file.url} is not known, so it was not checked. The SHA-256 "
            f"of {path} is {digest}",
            stacklevel=2,
        )
    return path


def load_published(model: keras.Model, checkpoint: str, strict: bool = True) -> LoadedWeights:
    """Loads a published checkpoint into a model. Files that are not cached are downloaded.

    A checkpoint with deep supervision also fits a model without it.

    Args:
        model: A model; with `strict` one of the kind that `check_published` accepts.
        checkpoint: A name in `CHECKPOINTS`.
        strict: Whether all weights must fit; otherwise, as `pdanet_tf.weights.files.load_weights`
            describes, the backbone must, and of the head those are loaded that do.

    Raises:
        ImportError: If PyTorch, which reads the files, is not installed (extra `torch`).
        OSError: If a file cannot be downloaded.
        ValueError: If a file has another hash than the published one, or does not fit.
    """
    published = CHECKPOINTS[checkpoint]
    _check_backbone(model, checkpoint)
    import_torch()  # before anything is downloaded
    encoder = read_torch_file(fetch(published.encoder))
    decoder = read_torch_file(fetch(published.decoder))
    source = f"the checkpoint {checkpoint!r}"
    if strict and model.inputs[0].shape[-1] == 3:
        load_torch_state_dict(model, encoder, decoder, source=source)
        return all_loaded(model, source, published.model)
    stored = stored_torch_weights(
        model,
        encoder,
        decoder,
        source=source,
        model_name=published.model,
        normalization=published.normalization,
    )
    return load_stored(model, stored, strict)


def _check_backbone(model: keras.Model, checkpoint: str) -> None:
    """Raises if a model has another backbone of `PRETRAINED` than a checkpoint."""
    backbone = find_backbone(model)
    stored = CHECKPOINTS[checkpoint].model
    if backbone is None or backbone.name not in PRETRAINED:
        return
    if not stored.endswith(f"_{backbone.name}"):
        raise ValueError(
            f"The checkpoint {checkpoint!r} holds {stored}, whose backbone does not fit: "
            f"{model.name!r} needs the backbone {backbone.name}; nothing was downloaded. Choose a "
            "model or a checkpoint with the same backbone"
        )


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
