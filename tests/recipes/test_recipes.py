"""Named recipes: their values, the command line, and the checks before training."""

import dataclasses
import re
import subprocess
import sys

import pytest

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.recipes import RECIPES, Recipe, find
from pdanet_tf.training import TrainConfig
from pdanet_tf.training.inputs import Inputs
from pdanet_tf.training.session import Session
from pdanet_tf.training.termination import Termination
from tests.support.folders import write_folder

# What the sources state, in the words of this package.
STATED = {
    # The paper's table 1, and `train.py` of its code.
    "paper-ade20k": {
        "model": "pdanet_resnet18",
        "aux_head": False,
        "stem": "deep",
        "backbone_weights": "imagenet",
        "normalization": "torch",
        "dataset": "ade20k",
        "recipe": "paper",
        "short_edges": (300, 375, 450, 525, 600),
        "short_edge": 450,
        "max_size": 1000,
        "flip": True,
        "batch_size": 8,
        "epochs": 20,
        "steps_per_epoch": 5000,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "backbone_lr": 1.0,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 1e-4,
        "schedule": "poly",
        "power": 0.9,
        "warmup_steps": 0,
        "loss": "ce",
        "loss_size": "logits",
        "class_weights": None,
        "dropout": None,  # that of the model, 0.1
    },
    # config/ade20k-resnet50dilated-ppm_deepsup.yaml of CSAIL's repository, and its 8 GPUs.
    "csail-ade20k": {
        "model": "pspnet_resnet50",
        "output_stride": None,  # that of the model, 8
        "stem": "deep",
        "backbone_weights": "imagenet",
        "dataset": "ade20k",
        "recipe": "paper",
        "short_edges": (300, 375, 450, 525, 600),  # imgSizes
        "max_size": 1000,  # imgMaxSize
        "flip": True,  # random_flip
        "batch_size": 8 * 2,  # batch_size_per_gpu: 2
        "epochs": 20,  # num_epoch
        "steps_per_epoch": 5000,  # epoch_iters
        "optimizer": "sgd",
        "learning_rate": 0.02,  # lr_encoder, lr_decoder
        "backbone_lr": 1.0,
        "power": 0.9,  # lr_pow
        "momentum": 0.9,  # beta1
        "weight_decay": 1e-4,
        "aux_head": True,  # ppm_deepsup
        "aux_weight": 0.4,  # deep_sup_scale
        "seed": 304,
        "loss": "ce",
        "loss_size": "logits",  # segm_downsampling_rate: 8
    },
    # LMFFNet's train.py with --dataset camvid --max_epochs 1000 --lr 1e-3 --batch_size 8.
    "camvid-from-scratch": {
        "dataset": "camvid",
        "weights": None,
        "backbone_weights": None,
        "recipe": "crop",
        "crop_size": (360, 480),  # input_size
        "short_edge": None,
        "scale_range": (0.75, 2.0),
        "flip": True,  # random_mirror
        "color_jitter": 0.0,
        "batch_size": 8,
        "epochs": 1000,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 2e-4,
        "schedule": "poly",
        "power": 0.9,
        "warmup_steps": 500,  # warmup_iters
        "loss": "ce",
        "loss_size": "labels",
        "class_weights": "log",
    },
    # Ours, at half the resolution.
    "camvid-comparison": {
        "dataset": "camvid",
        "weights": None,
        "backbone_weights": None,
        "recipe": "crop",
        "short_edge": 180,
        "crop_size": (180, 240),
        "scale_range": (0.5, 2.0),
        "flip": True,
        "color_jitter": 0.0,
        "batch_size": 8,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
        "decay_attention_scales": True,
        "schedule": "poly",
        "power": 0.9,
        "loss": "ce",
        "loss_size": "labels",
        "class_weights": "log",
        "precision": "float32",
        "seed": 0,
    },
    # DeepLab's rates; the rest is ours.
    "fine-tune": {
        "dataset": "folder",
        "stem": "deep",
        "backbone_weights": "imagenet",
        "learning_rate": 1e-2,  # of the classifier
        "backbone_lr": 1e-3 / 1e-2,
        "momentum": 0.9,
        "patience": 10,
        "freeze": None,
        "loss_size": "labels",
        "class_weights": "log",
    },
}


def test_a_recipe_has_the_values_of_its_source():
    assert RECIPES.keys() == STATED.keys()
    for name, stated in STATED.items():
        recipe = find(name)
        config = recipe.config.resolved()
        assert recipe.name == name
        assert {key: getattr(config, key) for key in stated} == stated
        assert "not measured here" in recipe.score or re.search(r"\d", recipe.score)
        for text in (recipe.summary, recipe.source, recipe.score, recipe.requires):
            assert text
            assert "\n" not in text


def test_the_paper_s_recipe_is_the_documented_one_with_the_backbone_of_its_code():
    documented = TrainConfig(recipe="paper", dataset="ade20k").resolved()
    ours = find("paper-ade20k").config.resolved()
    different = {
        field.name
        for field in dataclasses.fields(TrainConfig)
        if getattr(documented, field.name) != getattr(ours, field.name)
    }
    assert different == {"output_dir", "stem", "backbone_weights"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small data sets, by the names of the data sets."""
    root = tmp_path_factory.mktemp("data")
    pdanet_tf.data.write_stand_in(root / "ade20k", 16, 2)
    write_folder(root / "camvid", count=8, splits=("train", "val"), highest=10)
    write_folder(root / "folder", count=8)
    return root


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.filterwarnings("ignore:.*from a part of ADE20K")
def test_a_recipe_passes_all_checks_before_training(name, data, tmp_path):
    recipe = find(name)
    options = {"num_classes": 3} if name == "fine-tune" else {}
    config = recipe.configure(
        data_dir=data / recipe.config.dataset, output_dir=tmp_path / "run", **options
    )
    Session(config, Inputs(), Termination()).check()
    assert not (tmp_path / "run").exists()


def test_a_recipe_is_completed_and_overridden():
    config = find("camvid-from-scratch").configure(data_dir="CamVid", epochs=10, crop_size=[8, 9])
    assert config == dataclasses.replace(
        find("camvid-from-scratch").config, data_dir="CamVid", epochs=10, crop_size=(8, 9)
    )
    for options, message in (
        ({"epoch": 3}, r"^TrainConfig has no option 'epoch' \(did you mean 'epochs'\?\)$"),
        ({"epochs": 0}, r"^epochs must be at least 1. Received: epochs=0. All options that are "),
        ({"recipe": "paper"}, r"^crop_size requires recipe='crop'.* the recipe 'camvid-from-scra"),
    ):
        with pytest.raises(ValueError, match=message):
            find("camvid-from-scratch").configure(**options)


def test_unknown_names_get_the_nearest_one():
    with pytest.raises(ValueError, match=r"'camvid_scratch' \(did you mean 'camvid-from-scratch'"):
        find("camvid_scratch")
    with pytest.raises(ValueError, match=r"Named recipes .* pdanet_tf\.recipes\.find\(name\)"):
        TrainConfig(recipe="camvid-from-scratch")


def test_a_recipe_is_written_as_a_file_that_can_be_loaded(tmp_path, capsys):
    for name, recipe in RECIPES.items():
        assert cli.main(["recipes", name]) == 0
        text = capsys.readouterr().out
        (tmp_path / "run.toml").write_text(text)
        assert TrainConfig.load(tmp_path / "run.toml") == recipe.config
        comments = [line for line in text.splitlines() if line.startswith("# ")]
        assert comments == [
            f"# {name}: {recipe.summary}",
            f"# Source: {recipe.source}",
            f"# Score: {recipe.score}",
            f"# Requires: {recipe.requires}",
        ]
        assert "\nmomentum = " not in text  # a default
    own = Recipe("own", "a", "b", "c", "d", TrainConfig(head_options={"pool_scales": (1, 2)}))
    (tmp_path / "run.toml").write_text(own.to_toml())
    assert TrainConfig.load(tmp_path / "run.toml") == own.config


def test_recipes_are_listed_without_tensorflow():
    script = (
        "import sys\n"
        "from pdanet_tf.cli import main\n"
        "assert main(['recipes']) == main(['recipes', 'fine-tune']) == 0\n"
        "assert main(['recipes', 'fine-tuning']) == 1\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[: len(RECIPES)]
    assert [line.split("  ")[0] for line in lines] == [*RECIPES]
    assert lines[2] == (
        "camvid-from-scratch  PDANet on CamVid from random weights, at full resolution. "
        "Requires --data-dir"
    )
    assert lines[3].endswith("to compare models. Requires --data-dir")
    assert "--num-classes or --class-names" in lines[4]
    assert done.stderr == (
        "pdanet-tf: error: recipe must be one of paper-ade20k, csail-ade20k, camvid-from-scratch, "
        "camvid-comparison, fine-tune. Received: recipe='fine-tuning' (did you mean 'fine-tune'?)\n"
    )


@pytest.fixture
def trained(monkeypatch):
    """The configurations that the command line trains; training itself is left out."""
    trained = []
    monkeypatch.setattr("pdanet_tf.training.run.train", trained.append)
    return trained


@pytest.mark.parametrize("first", [True, False])
def test_options_override_the_recipe_wherever_they_stand(first, trained):
    recipe = ["--recipe", "camvid-from-scratch"]
    given = ["--data-dir", "CamVid", "--output-dir", "runs/x", "--epochs", "10", "--no-flip"]
    given += ["--class-weights", "balanced"]
    with pytest.raises(AttributeError):  # there is no result to print
        cli.main(["train", *(recipe if first else []), *given, *([] if first else recipe)])
    assert trained == [
        find("camvid-from-scratch").configure(
            data_dir="CamVid",
            output_dir="runs/x",
            epochs=10,
            flip=False,
            class_weights="balanced",
        )
    ]


def test_the_recipes_for_batches_keep_their_meaning(trained):
    for name in ("crop", "paper"):
        with pytest.raises(AttributeError):
            cli.main(["train", "--recipe", name])
        assert trained.pop() == TrainConfig(recipe=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["fine-tun"], "did you mean 'fine-tune'?"),
        (["papper"], "did you mean 'paper'?"),
        (["fine-tune", "--epochs", "0"], "come from the recipe 'fine-tune'"),
        (["fine-tune", "--short-edges", "8"], "--short-edges requires --recipe 'paper'"),
        (["fine-tune", "--resume"], "but --resume continues the run in --output-dir with its own"),
        (["fine-tune", "--config", "a.toml"], "pdanet-tf recipes fine-tune prints the recipe as a"),
    ],
)
def test_what_does_not_go_with_a_recipe_is_refused(options, message, trained, capsys):
    assert cli.main(["train", "--recipe", *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert trained == []
