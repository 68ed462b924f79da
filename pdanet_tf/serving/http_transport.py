"""Messages over HTTP."""

import json
import time
from collections.abc import Mapping
from http.client import BadStatusLine
from typing import Any

from pdanet_tf.files import one_line
from pdanet_tf.serving.codecs import Message
from pdanet_tf.serving.errors import (
    BusyError,
    ServingError,
    UnavailableError,
    import_serving,
    no_model,
    other_protocol,
    refused,
)

_CHUNK = 2**16  # the most bytes of an answer that are read at once
# Results of HTTP.
_OK, _NOT_FOUND, _NOT_READY, _TOO_LATE = 200, 404, 503, 504
_REFUSED = (400, 413, 415, 422)


class HttpTransport:
    """A connection of HTTP that is kept open between requests.

    Args:
        url: The URL of the server, without the path of a protocol.
        model: Name of the model, for messages.
    """

    def __init__(self, url: str, model: str) -> None:
        self._requests = import_serving("requests")
        self._urllib3 = import_serving("urllib3.exceptions")
        self._url = url
        self._model = model
        self._session = self._requests.Session()

    def send(self, target: str, message: Message, seconds: float) -> Message:
        """See `Transport.send`."""
        errors = self._requests.exceptions
        end = time.monotonic() + seconds
        try:
            response = self._session.post(
                f"{self._url.rstrip('/')}{target}",
                data=message.body,
                headers=message.headers,
                timeout=max(seconds, 0.001),
                stream=True,
                allow_redirects=False,
            )
        except errors.Timeout as error:
            if isinstance(error, errors.ConnectTimeout):
                raise UnavailableError("no connection in time") from error
            raise TimeoutError from error
        except (errors.InvalidURL, errors.InvalidSchema) as error:
            raise ServingError(f"{self._url}: not an address: {one_line(error)}") from error
        except errors.SSLError as error:
            raise ServingError(
                f"{self._url}: there is no TLS connection ({_reason(error)}). Use http:// if the "
                "server has no TLS; otherwise the certificate must be one that this system trusts"
            ) from error
        except errors.ConnectionError as error:
            innermost = _innermost(error)
            if isinstance(innermost, BadStatusLine) and not isinstance(innermost, OSError):
                raise other_protocol(self._url, "it does not answer in HTTP") from error
            raise UnavailableError(_reason(error)) from error
        with response:
            body = self._read(response, end)
        return self._check(response.status_code, body, response.headers)

    def _read(self, response: Any, end: float) -> bytes:
        """Reads the body of an answer until a point of time."""
        chunks = []
        try:
            # As soon as bytes arrive, they are returned, and the clock is read.
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                if time.monotonic() > end:
                    raise TimeoutError
                chunks.append(chunk)
        except self._urllib3.ReadTimeoutError as error:
            raise TimeoutError from error
        except self._urllib3.HTTPError as error:
            raise _cut_short(self._url, error) from error
        return b"".join(chunks)

    def _check(self, status: int, body: bytes, headers: Mapping[str, str]) -> Message:
        """Returns the answer of a request that succeeded."""
        if status == _OK:
            return Message(body, {name.lower(): value for name, value in headers.items()})
        details = _error_in(body)
        told = f"{status} {details or ''}".strip()
        if status == _NOT_READY:
            raise BusyError(told)
        if status == _TOO_LATE:
            raise TimeoutError
        if status == _NOT_FOUND and details:
            raise no_model(self._url, self._model, details)
        if status == _NOT_FOUND:
            raise other_protocol(self._url, told)
        if status in _REFUSED:
            raise refused(self._url, details or told)
        raise ServingError(f"{self._url}: the server failed: {told}")

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()


def _cut_short(url: str, error: Exception) -> ServingError:
    return ServingError(
        f"{url}: the answer is cut short ({_reason(error)}). Something between client and server "
        "closes the connection; try again, or lower batch_size"
    )


def _reason(error: Exception) -> str:
    """Returns the reason of an error of requests, without the objects that are named before it."""
    return one_line(_innermost(error)).rpartition(">: ")[2].rpartition("): ")[2]


def _innermost(error: BaseException) -> BaseException:
    """Returns the error inside the errors of requests and urllib3."""
    inner = getattr(error, "reason", None) or (error.args and error.args[-1])
    return _innermost(inner) if isinstance(inner, BaseException) else error


def _error_in(body: bytes) -> str | None:
    """Returns the message of a server's JSON, {"error": message}; None if there is none."""
    try:
        found = json.loads(body)["error"]
    except (ValueError, RecursionError, TypeError, KeyError, IndexError):
        return None
    return one_line(ValueError(found)) if isinstance(found, str) else None
