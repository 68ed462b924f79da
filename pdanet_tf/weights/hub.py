"""Models in repositories of Hugging Face, by addresses such as `hf://owner/name` (extra `hub`)."""

import difflib
import functools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdanet_tf.base.extras import import_extra
from pdanet_tf.weights.endings import STATE_ENDINGS

PREFIX = "hf://"
_SETTINGS = "inference.json"  # beside a model, see `pdanet_tf.inference.settings`
_WORD = r"[\w.-]+"
_ADDRESS = re.compile(
    rf"hf://(?P<repo>{_WORD}/{_WORD})(@(?P<revision>refs/\w+/{_WORD}|{_WORD}))?(/(?P<file>.+))?"
)
_SHOWN = 5


@dataclass(frozen=True)
class HubAddress:
    """Where a model is on the Hub.

    Attributes:
        repo: Owner and name of the repository.
        file: Path of the file in the repository; None for its only model.
        revision: A branch, a tag or a commit; None for the main branch.
    """

    repo: str
    file: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> "HubAddress":
        """Parses `hf://owner/name`, `hf://owner/name@revision` or `hf://owner/name/folder/file`.

        Raises:
            ValueError: If it has another form.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or ".." in (match["file"] or "").split("/"):
            raise ValueError(
                "An address of the Hub must be hf://owner/name, hf://owner/name/file or "
                f"hf://owner/name@revision/file. Received: {text!r}"
            )
        return cls(match["repo"], match["file"], match["revision"])

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repo}{revision}{f'/{self.file}' if self.file else ''}"


def is_hub_address(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is an address of the Hub."""
    return isinstance(path, str) and path.startswith(PREFIX)


def local_file(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Returns the file in the cache of an address of the Hub; anything else as it is.

    A file that is not in the cache of huggingface_hub is downloaded, and the `inference.json`
    beside it as well. In one process an address always means the same file. Without network, a
    model that was downloaded before is used.

    Args:
        path: A path, the name of a checkpoint, or an address, see `HubAddress.parse`.

    Raises:
        FileNotFoundError: If there is no such repository, revision or file.
        ImportError: If huggingface_hub is not installed.
        OSError: If the Hub cannot be reached, or refuses access.
        ValueError: If the address has another form, or names a repository that holds several
            models or none.
    """
    return _fetch(str(path)) if is_hub_address(path) else path


@functools.cache
def _fetch(text: str) -> Path:
    address = HubAddress.parse(text)
    hub = import_hub()
    with explained_errors(hub, address):
        try:
            info = hub.HfApi().model_info(address.repo, revision=address.revision)
            files = [each.rfilename for each in info.siblings or []]
        except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError):
            raise
        except Exception as error:  # the network; the class depends on huggingface_hub's version
            files = _cached_files(hub, address)
            if not files:
                raise error
        file = address.file or _only_model(files, address)
        if file not in files:
            raise FileNotFoundError(f"{address}: {_missing(file, files)}")
        settings = f"{file.rpartition('/')[0]}/{_SETTINGS}".lstrip("/")
        if settings in files:
            hub.hf_hub_download(address.repo, settings, revision=address.revision)
        return Path(hub.hf_hub_download(address.repo, file, revision=address.revision))


def import_hub() -> Any:
    """Imports huggingface_hub.

    Raises:
        ImportError: If it is not installed; the message has the command that installs it.
    """
    what = "An address hf://owner/name"
    import_extra("huggingface_hub.errors", "hub", what)  # becomes an attribute of the package
    return import_extra("huggingface_hub", "hub", what)


def _cached_files(hub: Any, address: HubAddress) -> list[str]:
    """Returns the files of a repository that were downloaded before."""
    wanted = address.revision or "main"
    try:
        repositories = hub.scan_cache_dir().repos
    except hub.errors.CacheNotFound:
        return []
    return [
        file.file_path.relative_to(revision.snapshot_path).as_posix()
        for repository in repositories
        if (repository.repo_id, repository.repo_type) == (address.repo, "model")
        for revision in repository.revisions
        if wanted == revision.commit_hash or wanted in revision.refs
        for file in revision.files
    ]


def _only_model(files: Sequence[str], address: HubAddress) -> str:
    """Returns the only model of a repository: a `.keras` file, else one of another package."""
    for endings in ((".keras",), STATE_ENDINGS):
        models = [file for file in files if file.endswith(endings)]
        if len(models) == 1:
            return models[0]
        if models:
            names = ", ".join(f"{PREFIX}{address.repo}/{file}" for file in models[:_SHOWN])
            more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
            raise ValueError(f"{address} holds {len(models)} models. Choose one: {names}{more}")
    raise ValueError(
        f"{address} holds no .keras file, but {_listed(files) or 'nothing'}. Name the file of the "
        f"weights: {PREFIX}{address.repo}/FILE"
    )


def _missing(file: str, files: Sequence[str]) -> str:
    near = difflib.get_close_matches(file, files, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"It holds {_listed(files) or 'nothing'}"
    return f"the repository has no file {file}. {hint}"


def _listed(files: Sequence[str]) -> str:
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return f"{', '.join(files[:_SHOWN])}{more}"


@contextmanager
def explained_errors(hub: Any, address: HubAddress) -> Iterator[None]:
    """Turns errors of huggingface_hub into one sentence with what to do.

    Args:
        hub: The module.
        address: What was asked for.
    """
    errors, endpoint = hub.errors, hub.HfApi().endpoint
    log_in = "log in with 'hf auth login' or set HF_TOKEN"
    try:
        yield
    except errors.LocalEntryNotFoundError as error:
        raise OSError(
            f"{address}: the Hub cannot be reached at {endpoint}, and the file is "
            "not in the cache. Check the network"
        ) from error
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"{address}: access to the repository is restricted. Accept its conditions on "
            f"{endpoint}/{address.repo}, and {log_in}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{address}: there is no repository {address.repo}, or it is private. Check the name; "
            f"if it is private, {log_in}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"{address}: the repository has no revision {address.revision or 'main'!r}, that is "
            "branch, tag or commit"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise PermissionError(
                f"{address}: the Hub refuses access ({status}). Use a token that may read (to "
                f"push: write) this repository: {log_in}"
            ) from error
        raise OSError(f"{address}: the Hub answers {status}: {_reason(error)}") from error
    except errors.HFValidationError as error:
        raise ValueError(f"{address}: {_reason(error)}") from error
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:  # the network; the class depends on huggingface_hub's version
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
            raise  # of the disk
        wrapped = isinstance(error, RuntimeError)  # by an upload
        reason = _reason(error.__cause__ or error if wrapped else error)
        raise OSError(
            f"{address}: the Hub cannot be reached at {endpoint}: {reason}. "
            "Check the network; models that were loaded before are used without it"
        ) from error


def _reason(error: BaseException) -> str:
    """Returns what an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
