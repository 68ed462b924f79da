"""Files of Keras' weights that do not fit a model, and paths that are no such files."""

import pytest

import pdanet_tf
from tests.support.models import blank


def test_weights_that_do_not_fit_name_the_layer_and_both_shapes(tmp_path):
    blank("fcn_resnet18").save(tmp_path / "five.keras")
    with pytest.raises(ValueError, match="classifier/kernel") as caught:
        blank("fcn_resnet18", num_classes=7, weights=tmp_path / "five.keras")
    assert "expected (1, 1, 128, 7), found (1, 1, 128, 5)" in str(caught.value)
    assert "five.keras" in str(caught.value)
    assert "has 5 classes, the model 7: build it with num_classes=5\n" in str(caught.value)
    blank("fcn_resnet18").save_weights(tmp_path / "five.weights.h5")
    with pytest.raises(ValueError, match="classifier") as caught:
        blank("fcn_resnet18", num_classes=7, weights=tmp_path / "five.weights.h5")
    assert "(1, 1, 128, 7)" in str(caught.value)
    assert "(1, 1, 128, 5)" in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.keras"):
        blank("fcn_resnet18", weights=tmp_path / "nowhere.keras")
    (tmp_path / "weights.pkl").touch()
    with pytest.raises(ValueError, match=r"weights\.pkl"):
        blank("fcn_resnet18", weights=tmp_path / "weights.pkl")


def test_of_weights_of_another_model_the_first_are_listed(tmp_path):
    blank("segnet_basic").save(tmp_path / "segnet.keras")
    with pytest.raises(ValueError, match="nothing was loaded:\n") as caught:
        blank("fcn_resnet18", weights=tmp_path / "segnet.keras")
    _, *lines = str(caught.value).splitlines()
    assert len(lines) == 2 * 11 + 1  # the classifiers' kernels differ, too
    assert [line for line in lines if "more" in line] == [
        "  ... and 110 more",
        "  ... and 30 more",
    ]


def test_paths_that_are_no_files(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    with pytest.raises(IsADirectoryError, match=r"run is a folder, not a weights file$"):
        blank("segnet_basic", weights=tmp_path / "run")
    (tmp_path / "run/best.keras").touch()
    with pytest.raises(IsADirectoryError, match=r"did you mean .*run/best\.keras\?"):
        pdanet_tf.Predictor(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="is an architecture, without weights"):
        pdanet_tf.Predictor("pdanet_resnet18")

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)  # the superuser could read any file
    for name in ("best.keras", "best.weights.h5"):
        (tmp_path / name).touch()
        with pytest.raises(PermissionError, match=name):
            blank("segnet_basic", weights=tmp_path / name)


def test_weights_of_another_normalization(tmp_path):
    blank("fcn_resnet18", normalization="caffe").save(tmp_path / "caffe.keras")
    with pytest.raises(ValueError, match="normalization='caffe'"):
        blank("fcn_resnet18", weights=tmp_path / "caffe.keras")
    blank("fcn_resnet18", normalization="caffe", weights=tmp_path / "caffe.keras")


def test_files_that_are_no_models(tmp_path):
    for name in ("a.keras", "a.weights.h5"):
        (tmp_path / name).write_text("garbage")
        with pytest.raises(ValueError, match=name):
            blank("fcn_resnet18", weights=tmp_path / name)
