from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.support.served_model import ServedModel


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "1"
    ServedModel().save(folder)
    return folder


@pytest.fixture(scope="session")
def signatures(saved_model: Path) -> Mapping[str, Callable[..., Any]]:
    loaded = tf.saved_model.load(str(saved_model))
    return {name: loaded.signatures[name] for name in ("serving_default", "image")}
