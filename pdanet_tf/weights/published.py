"""Files that others have published, and where they lie.

A hash stands here where it is publicly recorded. Of the other files it is not known to us: they
are downloaded with a warning that says what their hash is, and, as all, read without executing
anything and mapped strictly name to name.
"""

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import keras

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.sources.ade20k import ADE20K_CLASSES

_CSAIL = "http://sceneparsing.csail.mit.edu/model"


@dataclass(frozen=True)
class PublishedFile:
    """A file on the network.

    Attributes:
        url: Where it lies; in the cache it lies in a folder of the same name.
        sha256: Its hash in hexadecimal digits, or None where it is not known.
    """

    url: str
    sha256: str | None = None


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A trained model, as the reference's PyTorch code stores it.

    Attributes:
        model: The model's name here.
        encoder: State dict of the backbone.
        decoder: State dict of the heads.
        num_classes: Number of classes.
        normalization: How its pixels are normalised, see `pdanet_tf.layers.PixelNormalization`.
        classes: Names and colours of its classes.
    """

    model: str
    encoder: PublishedFile
    decoder: PublishedFile
    num_classes: int = 150
    normalization: str = "torch"
    classes: Classes = ADE20K_CLASSES


def _csail(
    model: str, name: str, epoch: int, encoder_sha256: str | None = None
) -> dict[str, PublishedCheckpoint]:
    folder = f"{_CSAIL}/pytorch/{name}"
    encoder = PublishedFile(f"{folder}/encoder_epoch_{epoch}.pth", encoder_sha256)
    decoder = PublishedFile(f"{folder}/decoder_epoch_{epoch}.pth")
    return {name: PublishedCheckpoint(model, encoder, decoder)}


# Trained on ADE20K by CSAIL (`semantic-segmentation-pytorch`); all have deep supervision.
CHECKPOINTS = {
    **_csail("fcn_resnet18", "ade20k-resnet18dilated-c1_deepsup", 20),
    **_csail("pspnet_resnet18", "ade20k-resnet18dilated-ppm_deepsup", 20),
    **_csail(
        "pspnet_resnet50",
        "ade20k-resnet50dilated-ppm_deepsup",
        20,
        "d7dcb0234a2c1fd23d490d48c2c2fc5c39dc2b0ce39085b2f6f7e867fdd5d304",
    ),
    **_csail("pspnet_resnet101", "ade20k-resnet101dilated-ppm_deepsup", 25),
}


def fetch(file: PublishedFile) -> Path:
    """Downloads a file, unless it lies in Keras' cache already.

    Returns:
        Where it lies.

    Raises:
        OSError: If it cannot be downloaded or stored.
        ValueError: If it has another hash than was published; it is then downloaded anew the
            next time.
    """
    *_, folder, name = urlsplit(file.url).path.split("/")
    try:
        path = keras.utils.get_file(
            name,
            file.url,
            cache_subdir=f"pdanet_tf/{folder}",
            file_hash=file.sha256,
            hash_algorithm="sha256",
        )
    except ValueError as error:
        raise ValueError(
            f"{file.url}: not the file that was published, or incomplete: {error}"
        ) from error
    except Exception as error:  # of the network or the disk; Keras raises no other kind
        # What Keras raises repeats the URL; its cause says what the network said.
        cause = error.__context__ if isinstance(error.__context__, URLError) else error
        if isinstance(cause, OSError) and cause.filename and not isinstance(cause, URLError):
            raise OSError(f"{file.url} cannot be stored: {cause}") from error
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        raise OSError(
            f"{file.url} cannot be downloaded: {_reason(cause)}. Check the network, or download "
            f"the file by hand to {home / 'pdanet_tf' / folder / name}, and try again"
        ) from error
    if file.sha256 is None:
        with open(path, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        warnings.warn(
            f"The published hash of {file.url} is not known, so it was not checked. The SHA-256 "
            f"of {path} is {digest}",
            stacklevel=2,
        )
    return Path(path)


def _reason(error: BaseException) -> str:
    """Returns what the network said, on one line."""
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        error = error.reason if isinstance(error.reason, Exception) else OSError(error.reason)
    return " ".join(str(error).split())
