"""Imports point one way, from the thing that uses to the thing used."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

# The files are read, not imported: a circular import would stop pytest before any rule is checked.
PACKAGE = Path(__file__).parents[1] / "pdanet_tf"
# From the ground up: a package may import from itself and from those of lower storeys.
STOREYS = (
    ("pdanet_tf.base", "pdanet_tf.files", "pdanet_tf.version"),
    ("pdanet_tf.charts", "pdanet_tf.diagnosis", "pdanet_tf.html_page", "pdanet_tf.ops"),
    ("pdanet_tf.data", "pdanet_tf.layers", "pdanet_tf.optimizers"),
    ("pdanet_tf.backbones", "pdanet_tf.losses"),
    ("pdanet_tf.metrics", "pdanet_tf.weights"),
    ("pdanet_tf.convert", "pdanet_tf.models"),
    ("pdanet_tf.runtimes",),
    ("pdanet_tf.inference",),
    (
        "pdanet_tf.benchmark",
        "pdanet_tf.demo",
        "pdanet_tf.evaluation",
        "pdanet_tf.exporting",
        "pdanet_tf.serving",
    ),
    ("pdanet_tf.training",),
    ("pdanet_tf.recipes", "pdanet_tf.sharing"),
    ("pdanet_tf",),
    ("pdanet_tf.cli",),
)
# Where TensorFlow is the point. What counts is a statement `import tensorflow...` or `from
# tensorflow...`, and a call of `import_module` or `__import__` with such a name as a constant,
# anywhere in the file. Not counted are other packages that import TensorFlow themselves, such as
# `tensorflow_datasets` (in `pdanet_tf.data`), and names that are known only at run time.
NEEDS_TENSORFLOW = {
    "pdanet_tf.base.startup",  # in a function that imports it without its log
    "pdanet_tf.benchmark.flops",  # inside functions, on the TensorFlow backend
    "pdanet_tf.data.batches.pipeline",
    "pdanet_tf.exporting.decoding",
    "pdanet_tf.exporting.gif",
    "pdanet_tf.exporting.label_maps",
    "pdanet_tf.exporting.run",
    "pdanet_tf.exporting.saved_model",
    "pdanet_tf.exporting.segmentation",
    "pdanet_tf.exporting.signatures",
    "pdanet_tf.exporting.warmup",
    "pdanet_tf.inference.explanation",  # inside a function, on the TensorFlow backend
    "pdanet_tf.inference.graphs",  # inside functions, on the TensorFlow backend
    "pdanet_tf.inference.segmenters",  # likewise
    "pdanet_tf.ops.batch_norm",  # likewise
    "pdanet_tf.ops.gradients",  # likewise
    "pdanet_tf.ops.replicas",  # likewise
    "pdanet_tf.optimizers.adam",  # likewise
    "pdanet_tf.optimizers.groups",  # likewise
    "pdanet_tf.optimizers.sgd",  # likewise
    "pdanet_tf.runtimes.graphs",
    "pdanet_tf.runtimes.litert",
    "pdanet_tf.runtimes.network",  # inside functions
    "pdanet_tf.runtimes.onnx",
    "pdanet_tf.training.batches",
    "pdanet_tf.training.cluster",  # inside a function, for Slurm
    "pdanet_tf.training.devices",
    "pdanet_tf.training.jax_engine",  # to hide the GPUs from the loader
    "pdanet_tf.training.session",
    "pdanet_tf.training.tensorboard",
    "pdanet_tf.training.tensorflow_engine",
}
MODULES = {
    ".".join(("pdanet_tf", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(path):
    """Every module that a file imports, wherever in the file, also by a constant string."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path.name}, line {node.lineno}: write the whole name of the module, "
                "not a relative import"
            )
            yield node.module
        elif isinstance(node, ast.Call) and re.fullmatch(
            r"(.*\.)?(import_module|__import__)", ast.unparse(node.func)
        ):
            names = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "name")]
            yield from (
                name.value
                for name in names
                if isinstance(name, ast.Constant) and isinstance(name.value, str)
            )


@pytest.mark.parametrize(
    "code",
    [
        "import tensorflow as tf",
        "def f():\n    from tensorflow import nn",
        "import_module('tensorflow').config",
        "importlib.import_module(name='tensorflow')",
        "__import__('tensorflow')",
    ],
)
def test_imports_are_found_however_they_are_written(code, tmp_path):
    (tmp_path / "module.py").write_text(code)
    assert [*imports(tmp_path / "module.py")] == ["tensorflow"]


def package(module):
    """The package, or the module of the top level, that a module belongs to."""
    return ".".join(module.split(".")[:2])


def storey(module):
    """Returns how far up in `STOREYS` the package of a module is, from 0."""
    found = [index for index, names in enumerate(STOREYS) if package(module) in names]
    assert found, (
        f"{package(module)} has no storey: add it to STOREYS in tests/test_architecture.py, above "
        "all that it imports, and to the picture in CONTRIBUTING.md"
    )
    return found[0]


def test_every_package_has_one_storey():
    for module in MODULES:
        assert storey(module) >= 0
    listed = [name for names in STOREYS for name in names]
    assert sorted(listed) == sorted({package(module) for module in MODULES})


def wrong_direction(module, imported):
    """Returns what is wrong with an import, and what to do about it; None if nothing is."""
    if imported.split(".")[0] != "pdanet_tf" or package(imported) == package(module):
        return None
    if storey(imported) < storey(module):
        return None
    place = "beside" if storey(imported) == storey(module) else "above"
    return (
        f"{package(module)} may not import {package(imported)}, which is {place} it in STOREYS: "
        f"{module} imports {imported}. Move what both use to a package below both, or pass it in "
        "as an argument"
    )


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module):
    for imported in imports(MODULES[module]):
        fault = wrong_direction(module, imported)
        assert fault is None, fault


def test_the_message_about_a_wrong_direction():
    assert wrong_direction("pdanet_tf.models.fcn", "pdanet_tf.layers.conv") is None
    fault = wrong_direction("pdanet_tf.layers.conv", "pdanet_tf.models.build")
    assert re.match(r"pdanet_tf\.layers may not import pdanet_tf\.models, which is above", fault)
    fault = wrong_direction("pdanet_tf.layers.conv", "pdanet_tf.data.load")
    assert "pdanet_tf.data, which is beside it" in fault
    with pytest.raises(AssertionError, match=r"pdanet_tf\.new has no storey: add it to STOREYS"):
        wrong_direction("pdanet_tf.layers.conv", "pdanet_tf.new")


def definitions(module):
    """The names that a module defines itself."""
    for node in ast.parse(MODULES[module].read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id


def wrong_home(module, home, name):
    """Returns what is wrong with `from home import name`, and what to do; None if nothing is."""
    if f"{home}.{name}" in MODULES:
        return None
    if home not in MODULES:
        return f"{module} imports from {home}, which does not exist"
    if name in listed_names(module):
        if home.startswith(f"{module}."):
            return None
        return f"{module} lists {name} in __all__, but {home} is not one of its own modules"
    if MODULES[home].name == "__init__.py" or name in definitions(home):
        return None
    homes = [other for other in MODULES if name in definitions(other)]
    advice = f"import it from {' or '.join(homes)}" if homes else "no module defines it"
    return f"{module} imports {name} from {home}, which does not define it: {advice}"


@pytest.mark.parametrize("module", MODULES)
def test_names_are_imported_from_where_they_are_defined(module):
    """A package lists its own names; no other module hands on what it does not define."""
    if module == "pdanet_tf.convert":  # the public name of `pdanet_tf.weights.torch`
        return
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("pdanet_tf"):
            for alias in node.names:
                fault = wrong_home(module, node.module, alias.name)
                assert fault is None, fault


def test_the_message_about_a_name_from_another_module():
    assert wrong_home("pdanet_tf.models.fcn", "pdanet_tf.layers.conv", "ConvBatchNorm") is None
    assert wrong_home("pdanet_tf.models.fcn", "pdanet_tf.models.build", "segmentation_model") == (
        "pdanet_tf.models.fcn imports segmentation_model from pdanet_tf.models.build, which does "
        "not define it: import it from pdanet_tf.models.segmentation"
    )


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
    new, gone = sorted(found - NEEDS_TENSORFLOW), sorted(NEEDS_TENSORFLOW - found)
    assert not new, (
        f"TensorFlow is imported in {', '.join(new)}: use keras.ops; where TensorFlow is the "
        "point, add the module to NEEDS_TENSORFLOW in tests/test_architecture.py"
    )
    assert not gone, (
        f"TensorFlow is no longer imported in {', '.join(gone)}: remove it from NEEDS_TENSORFLOW "
        "in tests/test_architecture.py"
    )


def test_no_assert_in_the_package():
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not isinstance(node, ast.Assert), (
                f"{module}, line {node.lineno}: raise an error in place of `assert`"
            )


def test_every_public_name_can_be_had():
    import pdanet_tf

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
