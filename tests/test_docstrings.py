"""Examples in docstrings run as they stand, in a folder that holds the files they name."""

import ast
import builtins
import importlib
import os
import re
import shutil
import symtable
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import rich
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

import pdanet_tf
from pdanet_tf.losses import SegmentationCrossEntropy
from tests.support.folders import write_folder
from tests.support.golden_models import layout
from tests.support.state_dict import draw

PACKAGE = Path(pdanet_tf.__file__).parent
# Packages whose public names an example may use without an import, beside its module's own names.
PUBLIC = ("", "backbones", "benchmark", "data", "evaluation", "exporting", "inference", "layers")
PUBLIC += ("models", "training")
# Docstring: the optional package that its example requires.
EXTRAS = {
    "exporting.run.export": "onnxruntime",
    "inference.beam.SegmentImages": "apache_beam",
    "inference.crf.dense_crf": "pydensecrf",
    "inference.large_images.segment_large": "tifffile",
    "ops.portable.plain_operations": "onnxruntime",
    "weights.torch.load_torch_state_dict": "torch",
}
# Docstring: why its example takes long.
SLOW = {
    "exporting.saved_model.export_saved_model": "as `examples/serve.py`, which is not marked slow",
    "benchmark.runner.run_benchmark": "it times two processes",
    "training.run.resume": "it trains for 30 epochs",
}
# Docstring: why its example is not run. That its names exist is tested all the same.
NOT_RUN = {
    "sharing.pushing.push": "it uploads to Hugging Face; tests/sharing/ has a server",
    "serving.client.Client": "it requires a server; tests/serving/ has some",
    "training.run.train": "it trains PDANet for minutes; `examples/demo.py` makes the same call",
    "weights.imagenet.imagenet_weights": "it downloads KerasHub's weights",
}


def find_examples():
    """Returns the Python blocks of all docstrings by the name of what they document."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        module = module.removesuffix("__init__").removesuffix(".")

        def visit(node, name, module=module):
            text = ast.get_docstring(node) or ""
            for block in re.findall(r"^( *)```python\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE):
                indent, code = block
                code = re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
                found.setdefault(name, (module, []))[1].append(code)
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.FunctionDef | ast.ClassDef):
                    visit(child, f"{name}.{child.name}".lstrip("."))

        visit(ast.parse(path.read_text("utf-8")), module)
    return {name: (module, "\n".join(blocks)) for name, (module, blocks) in found.items()}


EXAMPLES = find_examples()


def namespace(module):
    """Returns what an example may use: modules, names of the package, and a few small objects."""
    names = {
        "images": np.zeros((1, 32, 40, 3), "uint8"),
        "features": np.zeros((1, 8, 10, 64), "float32"),
        "optimizer": keras.optimizers.SGD(),
        "loss": SegmentationCrossEntropy(),
        "keras": keras,
        "np": np,
        "pdanet_tf": pdanet_tf,
        "rich": rich,
        "tf": tf,
        "tfds": tfds,
    }
    for package in PUBLIC:
        public = importlib.import_module(f"pdanet_tf.{package}".rstrip("."))
        names |= {name: getattr(public, name) for name in public.__all__}
    return {**names, **vars(importlib.import_module(f"pdanet_tf.{module}".rstrip(".")))}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with small files under the names that the examples use."""
    root = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), "uint8")).save(root / name)
    write_folder(root / "my_data")
    write_folder(root / "CamVid", splits=("train", "val"), highest=10)
    pdanet_tf.data.write_stand_in(root / "ADEChallengeData2016", 8, 2)
    shutil.copytree(root / "ADEChallengeData2016", root / "downloads" / "ADEChallengeData2016")
    for run in ("first", "camvid"):
        (root / "runs" / run).mkdir(parents=True)
        pdanet_tf.build_model("fcn_resnet18", num_classes=11).save(
            root / "runs" / run / "best.keras"
        )
    pdanet_tf.TrainConfig("runs/first").save(root / "runs" / "first" / "config.json")
    return root


@pytest.fixture
def here(prepared, tmp_path, monkeypatch):
    """The working directory of one example, which may write into it."""
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder, copy_function=os.link)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "tfds"))
    shutil.copytree(
        prepared / "downloads", tmp_path / "tfds" / "downloads" / "manual", copy_function=os.link
    )
    return folder


def prepare_torch():
    import torch

    shapes = layout("pspnet_deepsup")
    for part in ("encoder", "decoder"):
        state = {key: torch.from_numpy(value) for key, value in draw(shapes[part]).items()}
        torch.save(state, f"{part}_epoch_20.pth")


def prepare_resuming():
    shutil.rmtree("runs/first")  # a run begins in a folder of its own
    pdanet_tf.train(
        pdanet_tf.TrainConfig(
            output_dir="runs/first",
            model="fcn_resnet18_quarter",
            dataset="folder",
            data_dir="my_data",
            num_classes=3,
            epochs=1,
            steps_per_epoch=1,
            batch_size=2,
            crop_size=(32, 32),
        )
    )


# Docstring: what is done before its example runs.
PREPARATIONS = {
    "training.run.resume": prepare_resuming,
    "weights.torch.load_torch_state_dict": prepare_torch,
}


def run(name, names):
    if name in PREPARATIONS:
        PREPARATIONS[name]()
    with warnings.catch_warnings():
        # The data set of the examples is a part of ADE20K, and says so.
        warnings.filterwarnings("ignore", ".*(only this part is prepared|from a part of ADE20K)")
        exec(compile(EXAMPLES[name][1], f"<docstring of {name}>", "exec"), names)


def parameter(name):
    marks = [pytest.mark.slow] if name in SLOW else []
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize(
    "name", [parameter(name) for name in EXAMPLES if name not in {**EXTRAS, **NOT_RUN}]
)
@pytest.mark.usefixtures("restored_registry")
def test_an_example_runs(name, here):
    names = namespace(EXAMPLES[name][0])
    names.setdefault("model", tiny_model())
    run(name, names)


@pytest.mark.extra
@pytest.mark.parametrize("name", EXTRAS)
def test_an_example_of_an_optional_package_runs(name, here):
    pytest.importorskip(EXTRAS[name])
    run(name, {**namespace(EXAMPLES[name][0]), "model": tiny_model()})


def tiny_model():
    images = keras.Input((32, 40, 3))
    model = keras.Model(images, keras.layers.Conv2D(11, 1)(images))
    model(np.zeros((1, 32, 40, 3)))
    return model


@pytest.mark.parametrize("name", NOT_RUN)
def test_the_names_of_an_example_that_is_not_run_exist(name):
    module, code = EXAMPLES[name]
    known = {**vars(builtins), **namespace(module)}
    table = symtable.symtable(code, name, "exec")
    free = {symbol.get_name() for symbol in table.get_symbols() if not symbol.is_assigned()}
    assert free
    assert free <= known.keys()
    for chain in re.findall(r"\bpdanet_tf(?:\.\w+)+", code):
        assert eval(chain, known) is not None


def test_the_lists_name_examples():
    assert {*EXTRAS, *SLOW, *NOT_RUN, *PREPARATIONS} <= EXAMPLES.keys()
    assert len(EXAMPLES) >= 25
