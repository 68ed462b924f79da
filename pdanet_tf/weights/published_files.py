"""Loading the checkpoints that others have published, by name.

The hash of a file is checked if its publisher or another public record gives it. Other files are
downloaded with a warning that states their hash. Like all files of weights, they are read
without executing anything, and mapped strictly by name.
"""

import hashlib
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import keras

from pdanet_tf.backbones.parts import find_backbone
from pdanet_tf.backbones.registry import PRETRAINED
from pdanet_tf.base.download import download, keras_home
from pdanet_tf.weights.fitting import LoadedWeights, all_loaded, load_stored
from pdanet_tf.weights.published import CHECKPOINTS, PublishedFile
from pdanet_tf.weights.sources.checkpoint import load_checkpoint, recognise
from pdanet_tf.weights.torch import (
    import_torch,
    load_torch_state_dict,
    read_torch_file,
    stored_torch_weights,
)


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
    source = f"the checkpoint {checkpoint!r}"
    if published.decoder is None:
        return load_checkpoint(model, recognise(encoder, source), strict)
    decoder = read_torch_file(fetch(published.decoder))
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
