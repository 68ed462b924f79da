"""The client of a server."""

import os
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, overload

import numpy as np
from PIL import Image

from pdanet_tf.base.choices import PROTOCOLS, SCHEMES, SIGNATURES, check_choice
from pdanet_tf.base.fields import convert_field
from pdanet_tf.data.class_table import read_classes
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.problems import DataError
from pdanet_tf.inference.pixels import ImageLike
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.serving import open_inference, tensorflow_serving
from pdanet_tf.serving.answers import MAIN_OUTPUTS, read_predictions
from pdanet_tf.serving.codecs import Codec, string_array
from pdanet_tf.serving.errors import ForeignAnswerError, LateError, RequestError, ServingError
from pdanet_tf.serving.grpc_transport import GrpcTransport
from pdanet_tf.serving.http_transport import HttpTransport
from pdanet_tf.serving.images import SentImage, read_image_to_send
from pdanet_tf.serving.transports import Transport, send_again

Outcome = Prediction | DataError | RequestError


class Client:
    """Segments images on a server.

    The server has a model that `pdanet-tf export` wrote. The images are read here: EXIF
    orientation is applied, and other formats than JPEG and PNG are converted. The client works
    without Keras and TensorFlow. It may be used by one thread at a time.

    Args:
        url: Address of the server. Its scheme decides how: "grpc://host:8500", "grpcs://host:443"
            (TLS), "http://host:8501" or "https://host"; a URL of HTTP may have a path, which comes
            before the path of the protocol.
        model: Name under which the server serves the model.
        protocol: "tensorflow-serving", which over HTTP is also KServe's first protocol; or
            "open-inference" (KServe's second), which KServe, Triton, OpenVINO Model Server and
            MLServer speak.
        signature: "serving_default" sends encoded images. "image" sends pixels, for models without
            a decoder, such as ONNX and OpenVINO files; images of different sizes travel in
            different requests.
        classes: Names of the classes; or the path of the `assets/classes.csv` in the SavedModel or
            of the `inference.json` beside an ONNX or OpenVINO file, or `Classes`, which also have
            their colours. By default "class 0" and so on.
        timeout: Seconds that one request may take, with its retries.
        retries: How many times a request is sent again while the server cannot be reached or says
            that it is not ready (UNAVAILABLE, 503). Other errors are not tried again.

    Raises:
        FileNotFoundError: If there is no such file of classes.
        ImportError: If the extra `serving` is not installed.
        ValueError: If an argument is not one of these.

    Example:
        ```python
        classes = "models/pdanet/1/assets/classes.csv"
        client = Client("grpc://localhost:8500", model="pdanet", classes=classes)
        prediction = client.predict("photo.jpg")
        prediction.overlay.save("overlay.png")
        ```
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        protocol: str = "tensorflow-serving",
        signature: str = "serving_default",
        classes: Classes | Sequence[str] | str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
        retries: int = 5,
    ) -> None:
        check_choice("protocol", protocol, PROTOCOLS)
        check_choice("signature", signature, SIGNATURES)
        timeout = convert_field("timeout", timeout, float)
        retries = convert_field("retries", retries, int)
        if timeout <= 0:
            raise ValueError(f"timeout must be above 0 seconds. Received: timeout={timeout:g}")
        if retries < 0:
            raise ValueError(f"retries must be at least 0. Received: retries={retries}")
        if not model:
            raise ValueError("model must be the name of the model on the server. Received: ''")
        if isinstance(classes, str | os.PathLike):
            classes = read_classes(classes)
        elif classes is not None and not isinstance(classes, Classes):
            classes = Classes.named(list(classes))
        self._url = url
        self._signature = signature
        self._classes = classes
        self._timeout = timeout
        self._retries = retries
        self._transport, self._codec = _connect(url, model, protocol, signature)

    @overload
    def predict(
        self, images: str | os.PathLike[str] | Image.Image, batch_size: int = 8
    ) -> Prediction: ...
    @overload
    def predict(
        self, images: list[ImageLike] | tuple[ImageLike, ...], batch_size: int = 8
    ) -> list[Prediction]: ...
    @overload
    def predict(self, images: np.ndarray, batch_size: int = 8) -> Prediction | list[Prediction]: ...
    def predict(self, images: Any, batch_size: int = 8) -> Any:
        """Segments an image, or several, as `pdanet_tf.Predictor.predict` does.

        Args:
            images: The path of a file or a Pillow image, both rotated as their EXIF orientation
                says; an array `(height, width, 3)`, uint8, RGB; a list or tuple of these; or an
                array `(batch, height, width, 3)`.
            batch_size: Number of images per request.

        Returns:
            A prediction at the image's own size; for several images a list of them.

        Raises:
            DataError: If a file is missing, truncated, not an image or too large.
            RequestError: If the server refuses an image, or does not answer in time.
            ServingError: If the server cannot be reached, does not have the model, or sends what is
                not an answer.
            ValueError: If an array has another shape or dtype.
        """
        several = isinstance(images, list | tuple) or (
            isinstance(images, np.ndarray) and images.ndim == 4
        )
        predictions = []
        for outcome in self.outcomes(images if several else [images], batch_size):
            if not isinstance(outcome, Prediction):
                raise outcome
            predictions.append(outcome)
        return predictions if several else predictions[0]

    def outcomes(self, images: Iterable[ImageLike], batch_size: int = 8) -> Iterator[Outcome]:
        """Segments images one batch after another, and goes on after an image that fails.

        Args:
            images: As for `predict`. They are read as they are needed.
            batch_size: Number of images per request.

        Yields:
            For each image its prediction, or the error: a `DataError` if it cannot be read, a
            `RequestError` if the server refuses it or does not answer in time.

        Raises:
            ServingError: If the server cannot be reached, does not have the model, or sends what is
                not an answer.
            ValueError: If an array has another shape or dtype.
        """
        if convert_field("batch_size", batch_size, int) < 1:
            raise ValueError(f"batch_size must be at least 1. Received: batch_size={batch_size}")
        batch: list[SentImage | DataError] = []
        for index, image in enumerate(images):
            try:
                batch.append(read_image_to_send(image, f"image {index}"))
            except DataError as error:
                batch.append(error)
            if len(batch) == batch_size:
                yield from self._segment(batch)
                batch = []
        yield from self._segment(batch)

    def _segment(self, batch: list[SentImage | DataError]) -> list[Outcome]:
        """Returns the outcome of each image of a batch, with as few requests as possible."""
        outcomes: list[Outcome | None] = []
        groups: dict[tuple[int, ...], list[tuple[int, SentImage]]] = {}
        for index, image in enumerate(batch):
            if isinstance(image, DataError):
                outcomes.append(image)
                continue
            outcomes.append(None)
            size = image.pixels.shape if self._signature == "image" else ()
            groups.setdefault(size, []).append((index, image))
        for group in groups.values():
            answers = self._request([image for _, image in group])
            for (index, _), outcome in zip(group, answers, strict=True):
                outcomes[index] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _request(self, images: list[SentImage]) -> Sequence[Outcome]:
        """Sends images in one request; one by one if the server refuses them together."""
        if self._signature == "image":
            inputs = {"image": np.stack([image.pixels for image in images])}
        else:
            inputs = {"image_bytes": string_array([image.encoded() for image in images])}
        try:
            answer = send_again(
                self._transport,
                self._url,
                self._codec.target,
                self._codec.encode(inputs),
                self._timeout,
                self._retries,
            )
        except RequestError as error:
            if len(images) == 1 or isinstance(error, LateError):
                return [type(error)(f"{image.name}: {error}") for image in images]
            return [outcome for image in images for outcome in self._request([image])]
        try:
            return read_predictions(self._codec.decode(answer), images, self._classes)
        except ForeignAnswerError as error:
            raise ServingError(
                f"{self._url}: the answer is not one of this protocol and signature: {error}. Is "
                "this a model that pdanet-tf export wrote?"
            ) from error

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _connect(url: str, model: str, protocol: str, signature: str) -> tuple[Transport, Codec]:
    """Returns the connection that a URL asks for, and the codec of the protocol for it.

    Raises:
        ImportError: If the extra `serving` is not installed.
        ValueError: If the URL is not one of those that `Client` takes.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        is_grpc = parts.scheme in ("grpc", "grpcs")
        is_address = parts.scheme in SCHEMES and parts.hostname is not None
        is_address &= not (parts.query or parts.fragment)
        is_address &= parts.username is None
        if is_grpc:
            is_address &= parts.port is not None and parts.path in ("", "/")
    except ValueError as error:
        raise ValueError(f"{error} in url={url!r}") from error
    if not is_address:
        raise ValueError(
            "The URL of a server is grpc://HOST:PORT, grpcs://HOST:PORT, http://HOST[:PORT][/PATH] "
            f"or https://HOST[:PORT][/PATH]. Received: {url!r}"
        )
    main_output = MAIN_OUTPUTS[signature]
    # A decoder's answer has several outputs that matter; of `image` the confidence is not used.
    outputs = (main_output,) if signature == "image" else ()
    if is_grpc:
        transport: Transport = GrpcTransport(url, parts.netloc, parts.scheme == "grpcs", model)
        if protocol == "open-inference":
            return transport, open_inference.GrpcCodec(model, outputs)
        return transport, tensorflow_serving.GrpcCodec(model, signature, outputs)
    transport = HttpTransport(url, model)
    if protocol == "open-inference":
        return transport, open_inference.RestCodec(model, outputs)
    return transport, tensorflow_serving.RestCodec(model, signature, main_output)
