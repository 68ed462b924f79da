"""What TensorFlow Serving reads beside a model: version folders, configurations, its command."""

import re
import shlex
from pathlib import Path

from pdanet_tf.files import write_atomically

MODELS_FILE = "models.config"
_IMAGE = "tensorflow/serving:2.20.0"
_PORTS = (8500, 8501)  # of gRPC and REST
_BATCHING = """\
max_batch_size { value: 8 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 64 }
num_batch_threads { value: 2 }
"""
_MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def version_folder(folder: Path) -> Path:
    """Returns the folder to which a SavedModel is written.

    Args:
        folder: The folder of a version, whose name is an integer; or that of a model, which holds
            nothing but such folders, or does not exist.

    Returns:
        The given folder of a version; or in a model's folder the next version: 1 if there is none.

    Raises:
        FileExistsError: If the folder is neither.
    """
    if _is_version(folder):
        return folder
    if not folder.exists():
        return folder / "1"
    # Hidden files are those of the system, and of exports that were interrupted.
    inside = [path for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []
    others = sorted(path.name for path in inside if not _is_version(path))
    if others or not folder.is_dir():
        what = f"holds {others[0]}" if others else "is not a folder"
        raise FileExistsError(
            f"{folder} {what}; expected a new folder, or that of a model that holds only versions: "
            f"{folder.name}/1, {folder.name}/2"
        )
    return folder / str(1 + max((int(path.name) for path in inside), default=0))


def _is_version(path: Path) -> bool:
    return re.fullmatch("[0-9]+", path.name) is not None


def write_server_files(version: Path) -> list[Path]:
    """Writes `models.config`, `batching.config` and `monitoring.config` beside a model's folder.

    Files that exist are not changed.

    Args:
        version: The folder of a version, `models/pdanet/1`.

    Returns:
        The existing files that differ from what would have been written.
    """
    models = version.absolute().parent.parent
    kept = []
    for name, text in (
        (MODELS_FILE, f"model_config_list {{\n{describe_model(version)}}}\n"),
        ("batching.config", _BATCHING),
        ("monitoring.config", _MONITORING),
    ):
        path = models / name
        if not path.exists():
            write_atomically(path, text)
        elif path.read_bytes() != text.encode():
            kept.append(path)
    return kept


def describe_model(version: Path) -> str:
    """Returns the entry of a model in `models.config`.

    The server loads the newest version. The base path is that in the container of
    `docker_command`.
    """
    name = version.absolute().parent.name
    return f"""\
  config {{
    name: {_quote(name)}
    base_path: {_quote(f"/models/{name}")}
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
"""


def _quote(text: str) -> str:
    """Returns a string of the text format of protocol buffers."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def docker_command(version: Path) -> str:
    """Returns the command that serves all models of a folder, for a shell.

    Args:
        version: The folder of a version, `models/pdanet/1`.
    """
    models = version.absolute().parent.parent
    words = [
        *("docker", "run", "--rm"),
        *(word for port in _PORTS for word in ("-p", f"{port}:{port}")),
        *("-v", f"{models}:/models:ro", _IMAGE),
        "--model_config_file=/models/models.config",
        "--monitoring_config_file=/models/monitoring.config",
    ]
    return shlex.join(words)
