"""What can go wrong between a client and a server."""

from typing import Any

from pdanet_tf.base.extras import import_extra


class ServingError(RuntimeError):
    """A request failed. Unless it is a `RequestError`, other requests would fail as well."""


class RequestError(ServingError):
    """A request failed because of its images or its time; other requests may succeed."""


class LateError(RequestError):
    """No answer came in time."""


class UnavailableError(Exception):
    """The server cannot be reached, for now."""


class BusyError(UnavailableError):
    """The server answers that it is not ready or has too many requests, for now."""


class ForeignAnswerError(Exception):
    """An answer is cut short, or is not one of the protocol."""


def import_serving(module: str) -> Any:
    """Imports a module of the extra `serving`.

    Raises:
        ImportError: If it is not installed; the message names the extra.
    """
    return import_extra(module, "serving", "A client of a server")


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
