"""Imports point one way, from the thing that uses to the thing used."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pdanet_tf

PACKAGE = Path(pdanet_tf.__file__).parent
# From the ground up: a package may import from itself and from those of lower storeys.
STOREYS = (
    ("pdanet_tf.base", "pdanet_tf.files", "pdanet_tf.version"),
    ("pdanet_tf.charts", "pdanet_tf.ops"),
    ("pdanet_tf.data", "pdanet_tf.layers", "pdanet_tf.optimizers"),
    ("pdanet_tf.backbones", "pdanet_tf.losses"),
    ("pdanet_tf.metrics", "pdanet_tf.weights"),
    ("pdanet_tf.convert", "pdanet_tf.models"),
    ("pdanet_tf.inference",),
    ("pdanet_tf.benchmark", "pdanet_tf.evaluation", "pdanet_tf.export"),
    ("pdanet_tf.training",),
    ("pdanet_tf",),
    ("pdanet_tf.cli",),
)
# Where TensorFlow is the point.
NEEDS_TENSORFLOW = {
    "pdanet_tf.benchmark.flops",  # inside functions, on the TensorFlow backend
    "pdanet_tf.data.batches.pipeline",
    "pdanet_tf.export.saved_model",
    "pdanet_tf.inference.predictor",  # inside functions, on the TensorFlow backend
    "pdanet_tf.ops.batch_norm",  # likewise
    "pdanet_tf.ops.gradients",  # likewise
    "pdanet_tf.optimizers",  # likewise
    "pdanet_tf.training.batches",
    "pdanet_tf.training.run",
}
MODULES = {
    ".".join(("pdanet_tf", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(path):
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def package(module):
    """The package, or the module of the top level, that a module belongs to."""
    return ".".join(module.split(".")[:2])


def storey(module):
    (found,) = (index for index, names in enumerate(STOREYS) if package(module) in names)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module):
    for imported in imports(MODULES[module]):
        if imported.split(".")[0] == "pdanet_tf" and package(imported) != package(module):
            assert storey(imported) < storey(module), f"{module} imports {imported}"


def definitions(module):
    """The names that a module defines itself."""
    for node in ast.parse(MODULES[module].read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id


@pytest.mark.parametrize("module", MODULES)
def test_names_are_imported_from_where_they_are_defined(module):
    """A package lists its own names; no other module hands on what it does not define."""
    if module == "pdanet_tf.convert":  # the public name of `pdanet_tf.weights.torch`
        return
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.module.startswith("pdanet_tf"):
            continue
        for alias in node.names:
            if f"{node.module}.{alias.name}" in MODULES:  # a module
                continue
            if alias.name in listed_names(module):
                assert node.module.startswith(f"{module}."), f"{module} lists {alias.name}"
            if MODULES[node.module].name != "__init__.py":
                assert alias.name in definitions(node.module), f"{module}: {alias.name}"


def listed_names(module):
    """What a package's `__all__` lists."""
    for node in ast.parse(MODULES[module].read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def test_tensorflow_is_imported_only_where_it_is_the_point():
    found = {
        module
        for module, path in MODULES.items()
        if any(name.split(".")[0] == "tensorflow" for name in imports(path))
    }
    assert found == NEEDS_TENSORFLOW


def test_no_assert_in_the_package():
    for module, path in MODULES.items():
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        assert not any(isinstance(node, ast.Assert) for node in nodes), module


def test_every_public_name_can_be_had():
    for name in pdanet_tf.__all__:
        assert hasattr(pdanet_tf, name), name
    assert {"layers", "losses", "build_model"} <= {*dir(pdanet_tf)}
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = pdanet_tf.nonsense


def test_a_fresh_import_has_what_the_documentation_names():
    script = (
        "import sys, pdanet_tf as p\n"
        "assert not {'keras', 'tensorflow_datasets', 'matplotlib'} & sys.modules.keys()\n"
        "p.convert.torch_names, p.training.TrainConfig, p.train, p.data.sources.folder\n"
        "p.ops.portable.plain_operations, p.weights.published.CHECKPOINTS, p.layers.heads\n"
        "from pdanet_tf.training.run import TrainResult\n"
        "assert callable(p.train)\n"
        "import tensorflow_datasets as tfds\n"
        "assert tfds.builder_cls('ade20k') is p.data.Ade20k\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_keras_knows_the_classes_whatever_is_imported_first():
    """Each order of imports in a child of a process that holds what they all import."""
    script = """
import os
import tensorflow
for first in (
    "import pdanet_tf, keras", "import keras, pdanet_tf", "import pdanet_tf.layers.conv",
    "import pdanet_tf.losses", "import pdanet_tf.metrics", "import pdanet_tf.optimizers",
    "import pdanet_tf.ops.gradients, pdanet_tf.ops.batch_norm", "from pdanet_tf import build_model",
):
    child = os.fork()
    if not child:
        exec(first)
        import keras
        names = ("ConvBatchNorm", "SegmentationCrossEntropy", "MeanIoU", "SGD")
        found = [keras.saving.get_registered_object(f"pdanet_tf>{name}") for name in names]
        os._exit(0 if all(found) else 1)
    assert os.waitpid(child, 0)[1] == 0, first
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["train", "--help"]])
def test_the_command_tells_its_options_without_tensorflow(command):
    script = [sys.executable, "-X", "importtime", "-m", "pdanet_tf.cli", *command]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pdanet_tf.cli.options" in imported
    assert not {"tensorflow", "keras", "matplotlib", "tensorflow_datasets"} & imported


def test_building_and_running_print_nothing():
    script = (
        "import numpy as np, pdanet_tf\n"
        "model = pdanet_tf.build_model('fcn_resnet18', 3)\n"
        "model(np.zeros((1, 40, 56, 3), 'uint8'))\n"
        "model.predict(np.zeros((1, 41, 57, 3), 'uint8'), verbose=0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={"PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        # TensorFlow's runtime tells of its CPU features and missing GPUs, whatever the level.
        if not re.match(r"[IWE]0000 ", line) and "absl::InitializeLog" not in line
    ]
    assert lines == []
