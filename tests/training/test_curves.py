"""The learning rate, the attention scales and the curves of a run."""

import math

import keras
import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf.charts import LineChart, line_charts
from pdanet_tf.layers import (
    ChannelAttention,
    DualAttention,
    PositionAttention,
    PyramidDualAttention,
)
from pdanet_tf.training import curves as module
from pdanet_tf.training.curves import LogState, attention_scales, curves_at_end, make_charts
from pdanet_tf.training.progress import Progress
from pdanet_tf.training.run_folder import RunFolder


def test_the_logs_of_an_epoch_have_the_rate_and_the_scales():
    keras.utils.set_random_seed(0)
    images = keras.Input((4, 6, 8))
    layer = DualAttention(3, dropout=0)
    model = keras.Model(images, layer(images))
    schedule = keras.optimizers.schedules.PolynomialDecay(0.01, 2, 0.0, power=0.9)
    model.compile(keras.optimizers.SGD(schedule), "mse", jit_compile=False)
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(2, 4, 6, 8)).astype("float32")
    logs = model.fit(
        pixels, pixels[..., :3], batch_size=2, epochs=2, verbose=0, callbacks=[LogState()]
    ).history
    # After steps 1 and 2 of 2.
    assert logs["learning_rate"] == pytest.approx([0.01 * 0.5**0.9, 0])
    for kind in ("position", "channel"):
        first, last = logs[f"gamma_{kind}"]
        assert last == float(getattr(layer, f"{kind}_attention").gamma)
        assert 0 != first != last


HISTORY = [
    {
        "epoch": epoch,
        "loss": 2.0 - epoch,
        "mean_iou": 0.1 + epoch,
        "val_mean_iou": 0.2 + epoch,
        "gamma_position_1": 0.5 + epoch,
        "learning_rate": 0.25,
    }
    for epoch in range(2)
]


def test_a_history_has_four_charts():
    assert make_charts(HISTORY) == [
        LineChart("Training loss", {"training": [2.0, 1.0]}),
        LineChart("Mean IoU", {"training": [0.1, 1.1], "validation": [0.2, 1.2]}),
        LineChart("Learning rate", {"learning rate": [0.25, 0.25]}),
        LineChart("Attention scales (gamma)", {"position 1": [0.5, 1.5]}),
    ]


def test_curves_of_a_model_without_attention_and_of_a_run_of_before():
    rows = [
        {"epoch": 0, "loss": 2.0, "logits_mean_iou": 0.1, "val_mean_iou": 0.2},
        {"epoch": 1, "loss": 1.0, "logits_mean_iou": 0.3, "val_mean_iou": 0.4, "learning_rate": 1},
    ]
    charts = make_charts(rows)
    assert [chart.title for chart in charts] == ["Training loss", "Mean IoU", "Learning rate"]
    assert charts[1].lines == {"training": [0.1, 0.3], "validation": [0.2, 0.4]}
    (rates,) = charts[2].lines.values()
    assert math.isnan(rates[0])
    assert rates[1] == 1


def test_the_figure_has_one_axes_for_each_chart():
    charts = [LineChart("a", {"x": [1, 2], "y": [3, math.nan]}), LineChart("b", {"z": [5, 6]})]
    figure = line_charts(charts, [1, 2], "epoch")
    first, second = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert [line.get_label() for line in first.lines] == ["x", "y"]
    assert [text.get_text() for text in first.get_legend().texts] == ["x", "y"]
    assert second.get_legend() is None
    np.testing.assert_array_equal(first.lines[1].get_xydata(), [[1, 3], [2, math.nan]])


def test_every_level_of_a_pyramid_has_its_two_scales():
    images = keras.Input((None, None, 16))
    levels = PyramidDualAttention(8, (1, 2, 2), upsample=False)
    model = keras.Model(images, levels(images))
    scales = attention_scales(model)
    assert [*scales] == [
        f"{kind}_{end}" for end in ("1", "2_0", "2_1") for kind in ("position", "channel")
    ]
    for index, scale in enumerate(scales.values()):
        scale.assign(index)
    found = [
        float(getattr(level.dual_attention, f"{kind}_attention").gamma)
        for level in levels.levels
        for kind in ("position", "channel")
    ]
    assert found == [*range(6)]


def test_scales_of_several_layers_are_told_apart():
    images = keras.Input((None, None, 8))
    x = ChannelAttention(name="second")(PositionAttention(name="first")(images))
    assert [*attention_scales(keras.Model(images, x))] == ["first_position", "second_channel"]
    assert attention_scales(pdanet_tf.build_model("fcn_resnet18", 3)) == {}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a run of two epochs."""
    folder = RunFolder(tmp_path)
    folder.last.touch()
    monkeypatch.setattr(Progress, "read", lambda path: Progress({}, 2, history=tuple(HISTORY)))
    return folder


def test_curves_are_drawn_at_the_end_and_after_an_error(folder):
    with curves_at_end(folder, verbose=True):
        assert not folder.curves.exists()
    with Image.open(folder.curves) as image:
        assert image.size == (1100, 800)
        colors = image.getcolors(1 << 20)
    assert len(colors) > 10
    folder.curves.unlink()
    with pytest.raises(KeyboardInterrupt), curves_at_end(folder, verbose=True):
        raise KeyboardInterrupt
    assert folder.curves.exists()


def test_without_an_epoch_there_are_no_curves(folder, monkeypatch, capsys):
    monkeypatch.setattr(Progress, "read", lambda path: Progress({}))
    with curves_at_end(folder, verbose=True):
        pass
    folder.last.unlink()
    with curves_at_end(folder, verbose=True):
        pass
    assert not folder.curves.exists()
    assert capsys.readouterr().err == ""


def test_a_drawing_that_fails_costs_nothing(folder, monkeypatch, capsys):
    def fail(*arguments):
        raise MemoryError("no memory\nfor a figure")

    monkeypatch.setattr(module, "line_charts", fail)
    with curves_at_end(folder, verbose=True):
        pass
    text = f"{folder.curves} could not be drawn: no memory for a figure\n"
    assert capsys.readouterr().err == text
    with pytest.raises(ValueError, match="the error of the run"), curves_at_end(folder, False):
        raise ValueError("the error of the run")
    assert capsys.readouterr().err == ""
    assert not folder.curves.exists()
