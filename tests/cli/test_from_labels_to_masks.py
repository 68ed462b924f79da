"""From a folder of another tool's labels to a served mask: the commands of docs/labels.md."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pdanet_tf.cli import main
from tests.support.servers import MODEL, serve_rest
from tests.support.shapes import write_shapes


@pytest.mark.slow
def test_the_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "labelled", 12)
    data = ["--dataset", "folder", "--data-dir", "data"]
    assert main(["import-labels", "labelled", "--format", "labelme", "--output", "data"]) == 0
    assert "train, " in capsys.readouterr().out
    assert main(["validate-data", *data]) == 0
    assert "Problems: fatal: 0, warning: 0" in capsys.readouterr().out
    train = ["train", *data, "--model", "fcn_resnet18_quarter", "--epochs", "1"]
    train += ["--batch-size", "3", "--crop-size", "96", "128", "--output-dir", "runs/first"]
    assert main(train) == 0
    assert "The best model is runs/first/best.keras" in capsys.readouterr().out
    export = ["export", "--model", "runs/first/best.keras", "--output", f"models/{MODEL}"]
    assert main(export) == 0
    served = f"models/{MODEL}/1"
    with serve_rest(tf.saved_model.load(served).signatures) as url:
        request = ["request", url, "labelled/scene_00.png", "--model", MODEL, "--palette"]
        assert main([*request, "--classes", f"{served}/assets/classes.csv"]) == 0
    with Image.open("predictions/scene_00_labels.png") as mask:
        assert mask.size == (128, 96)
        assert np.asarray(mask).max() <= 2
        table = (tmp_path / "data" / "classes.csv").read_text().splitlines()[1:]
        colors = [[int(value) for value in line.split(",")[2:]] for line in table]
        assert mask.getpalette()[:9] == [value for color in colors for value in color]
