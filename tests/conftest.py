import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow's own allocator keeps what the largest models took, in each process of the tests.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "true")
# Albumentations would ask for a newer version of itself when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import pytest
import tensorflow as tf

from tests.support.folders import write_folder

SHARED = Path(__file__).parents[2] / "shared" / "data"

# Two devices on the CPU, for the tests of tf.distribute; it must be said before any is used.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture
def camvid_folder() -> Path:
    return _shared("camvid")


@pytest.fixture
def ade20k_sample() -> Path:
    return _shared("ade20k_sample")


@pytest.fixture
def shared_cases() -> Path:
    folder = SHARED.parent / "cases" / "files"
    if not folder.is_dir():
        pytest.skip("the cases are not beside the repository")
    return folder


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{name} may not be distributed, and is not beside the repository")
    return folder


# Optional packages: a test that takes the fixture of one is marked "extra", and skipped without it.
EXTRAS = {
    "imagecodecs": "needs the extra 'channels'",
    "torch": "needs the extra 'torch'",
    "pydensecrf": "needs pydensecrf2 (extra 'crf')",
    "keras_hub": "needs the extra 'keras-hub'",
    "keras_cv": "needs the extra 'keras-cv'",
    "huggingface_hub": "needs the extra 'hub'",
    "onnxruntime": "needs the extra 'onnx'",
    "pycocotools": "needs pycocotools",
    "openvino": "needs the extra 'openvino'",
    "nncf": "needs the extra 'openvino'",
    "ai_edge_litert": "needs the extra 'litert'",
    "albumentations": "needs albumentations==2.0.8",
    "tensorflow_serving": "needs tensorflow-serving-api",
}


def _package_fixture(name: str) -> Callable[[], ModuleType]:
    @pytest.fixture(name=name, scope="session")
    def package() -> ModuleType:
        return pytest.importorskip(name, reason=EXTRAS[name])

    return package


for _name in EXTRAS:
    globals()[f"_{_name}"] = _package_fixture(_name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if EXTRAS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker("extra")


# One for the whole session: a second strategy would number its collective operations as the
# first one did, and TensorFlow takes them for the same.
@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture
def restored_registry() -> Iterator[None]:
    """Removes the families of models that a test registers."""
    from pdanet_tf.base.catalog import FAMILIES
    from pdanet_tf.models import registry

    stores: tuple[dict[str, Any], ...] = (FAMILIES, registry._MODELS)
    former = [dict(store) for store in stores]
    yield
    for store, content in zip(stores, former, strict=True):
        store.clear()
        store.update(content)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data set as `write_folder` does, and returns its folder."""
    return functools.partial(write_folder, tmp_path / "dataset")
