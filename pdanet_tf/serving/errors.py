"""What can go wrong between a client and a server."""

from importlib import import_module
from typing import Any


class ServingError(RuntimeError):
    """The server cannot be used: no request of this client would succeed."""


class RequestError(ServingError):
    """One request failed because of its images or its time; other requests may succeed."""


class LateError(RequestError):
    """No answer came in time."""


class UnavailableError(Exception):
    """The server cannot be reached or is not ready, for now."""


class ForeignAnswerError(Exception):
    """An answer is cut short, or is not one of the protocol."""


def import_serving(name: str) -> Any:
    """Imports a package of the extra `serving`.

    Raises:
        ImportError: If it is not installed; the message names the extra.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = {"grpc": "grpcio", "google": "protobuf"}.get(name.partition(".")[0], name)
        raise ImportError(
            f"A client of a server requires {package}: install pdanet_tf with the extra 'serving'."
        ) from error


def no_model(url: str, model: str, details: str) -> ServingError:
    """Returns the error of a server that does not know a model."""
    return ServingError(
        f"{url}: the server has no model {model!r} ({details}). Give the name under which the "
        "server serves it"
    )


def other_protocol(url: str, details: str) -> ServingError:
    """Returns the error of a server that does not know a method or a path."""
    return ServingError(
        f"{url}: the server does not speak this protocol ({details}). Try another protocol, "
        "tensorflow-serving or open-inference, or another port"
    )


def refused(url: str, details: str) -> RequestError:
    """Returns the error of a server that does not accept the content of a request."""
    return RequestError(f"{url}: the server refused the request: {details}")
