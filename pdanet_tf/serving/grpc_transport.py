"""Messages over gRPC."""

from collections.abc import Callable

from pdanet_tf.files import one_line
from pdanet_tf.serving.codecs import Message
from pdanet_tf.serving.errors import (
    ServingError,
    UnavailableError,
    import_serving,
    no_model,
    other_protocol,
    refused,
)
from pdanet_tf.serving.transports import FIRST_PAUSE


class GrpcTransport:
    """A channel of gRPC. Its messages may be of any size; gRPC's own limit is 4 MiB.

    Args:
        url: The URL, for messages.
        address: "host:port".
        secure: Whether to use TLS, with the certificates of the system.
        model: Name of the model, for messages.
    """

    def __init__(self, url: str, address: str, secure: bool, model: str) -> None:
        self._grpc = import_serving("grpc")
        self._url = url
        self._model = model
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # The pauses are those of `send_again`.
            ("grpc.initial_reconnect_backoff_ms", round(1000 * FIRST_PAUSE)),
            ("grpc.min_reconnect_backoff_ms", round(1000 * FIRST_PAUSE)),
            ("grpc.max_reconnect_backoff_ms", round(1000 * FIRST_PAUSE)),
            ("grpc.enable_retries", 0),
        ]
        if secure:
            credentials = self._grpc.ssl_channel_credentials()
            self._channel = self._grpc.secure_channel(address, credentials, options)
        else:
            self._channel = self._grpc.insecure_channel(address, options)
        self._calls: dict[str, Callable[..., bytes]] = {}

    def send(self, target: str, message: Message, seconds: float) -> Message:
        """See `Transport.send`."""
        if target not in self._calls:  # without serializers, bytes travel as they are
            self._calls[target] = self._channel.unary_unary(target)
        try:
            return Message(self._calls[target](message.body, timeout=seconds))
        except self._grpc.RpcError as error:
            code, details = error.code(), one_line(ValueError(error.details() or ""))
            codes = self._grpc.StatusCode
            if code == codes.UNAVAILABLE:
                raise UnavailableError(details) from error
            if code == codes.DEADLINE_EXCEEDED:
                raise TimeoutError from error
            if code == codes.NOT_FOUND:
                raise no_model(self._url, self._model, details) from error
            if code == codes.UNIMPLEMENTED:
                raise other_protocol(self._url, details) from error
            if code in (codes.INVALID_ARGUMENT, codes.RESOURCE_EXHAUSTED, codes.OUT_OF_RANGE):
                raise refused(self._url, details) from error
            raise ServingError(f"{self._url}: the server failed: {code.name}: {details}") from error

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()
