"""Imports Keras and TensorFlow in a process of its own, and prints what they find as JSON.

Run by `python -m pdanet_tf.diagnosis.probe`.
"""

import json
import sys
import time
from importlib import import_module
from typing import Any


def probe() -> dict[str, Any]:
    """Returns the backend of Keras, the devices, and what each import raised.

    Returns:
        "errors" by module; "backend" of Keras; "gpus", a list with "name" and "capability" for
        each; "cuda", the version that TensorFlow was built with, or None; "seconds" of the imports.
    """
    found: dict[str, Any] = {"errors": {}, "backend": None, "gpus": [], "cuda": None}
    start = time.perf_counter()
    for name, describe in (("tensorflow", _describe_tensorflow), ("keras", _describe_keras)):
        try:
            found |= describe(import_module(name))
        except Exception as error:  # whatever it is, the report is to name it
            found["errors"][name] = f"{type(error).__name__}: {error}"
    return found | {"seconds": time.perf_counter() - start}


def _describe_keras(keras: Any) -> dict[str, Any]:
    return {"backend": keras.backend.backend()}


def _describe_tensorflow(tf: Any) -> dict[str, Any]:
    gpus = []
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        capability = details.get("compute_capability")
        gpus.append({"name": details.get("device_name", device.name), "capability": capability})
    build = tf.sysconfig.get_build_info()
    return {"gpus": gpus, "cuda": build.get("cuda_version") if build.get("is_cuda_build") else None}


if __name__ == "__main__":
    answer = probe()
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
