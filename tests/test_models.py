"""Every registered model goes through the same tests; a model that is not here fails one."""

import difflib

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf
from tests import golden_models as golden

# Name: golden file whose state dicts count the parameters of 150 classes (batch norm's moving
# averages included), or for heads the reference has no figures of, a number derived by hand.
PARAMETERS = {
    "danet_resnet18": "danet",
    "fcn_resnet18": "fcn",
    "pdanet_resnet18": "pdanet",
    "pspnet_resnet18": "pspnet",
}
AUXILIARY = 256 * 128 * 9 + 4 * 128 + 128 * 150 + 150
MODELS = pytest.mark.parametrize("name", PARAMETERS)


def build(name, **options):
    return pdanet_tf.build_model(name, **{"num_classes": 5, **options})


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype("uint8")


def test_every_model_is_tested():
    assert list(PARAMETERS) == pdanet_tf.list_models()


@MODELS
def test_exact_number_of_parameters(name):
    layout = golden.layout(PARAMETERS[name])
    expected = sum(
        int(np.prod(shape))
        for part in layout.values()
        for key, shape in part.items()
        if ".conv6." not in key and ".conv7." not in key  # whose outputs the author discards
    )
    assert build(name, num_classes=150).count_params() == expected
    assert build(name, num_classes=150, aux_head=True).count_params() == expected + AUXILIARY


@MODELS
def test_every_variable_gets_a_gradient(name):
    model = build(name, aux_head=True)
    with tf.GradientTape() as tape:
        outputs = model(pictures(2, 33, 41).astype("float32"), training=True)
        loss = sum(tf.reduce_mean(output**2) for output in outputs.values())
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    missing = [v.path for v, g in zip(variables, gradients, strict=True) if g is None]
    assert missing == []
    # Behind attention scales that start at 0 every gradient is 0.
    zero = [v.path for v, g in zip(variables, gradients, strict=True) if not np.any(g)]
    assert all("attention" in path for path in zero)


@MODELS
def test_one_model_takes_every_size(name):
    model = build(name)
    for size in ((40, 56), (33, 47), (1, 1), (7, 90)):
        assert model(pictures(1, *size)).shape == (1, *size, 5)
    coarse = build(name, upsample=False)
    assert coarse(pictures(1, 33, 47)).shape == (1, 5, 6, 5)


@MODELS
def test_sizes_do_not_build_new_graphs(name):
    model = build(name)
    traced = []

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
    def run(images):
        traced.append(images)
        return model(images)

    for size in ((40, 56), (33, 47)):
        images = pictures(2, *size).astype("float32")
        np.testing.assert_allclose(run(images), model(images), atol=1e-4)
    assert len(traced) == 1


@MODELS
def test_same_weights_with_and_without_upsampling_and_deep_supervision(name, tmp_path):
    full, images = build(name, aux_head=True), pictures(1, 40, 56)
    file = tmp_path / "full.weights.h5"
    full.save_weights(file)
    coarse = build(name, aux_head=True, upsample=False)
    coarse.load_weights(file)
    both = full(images)
    resized = tf.image.resize(coarse(images)["logits"], (40, 56))
    np.testing.assert_allclose(both["logits"], resized, atol=1e-4)
    assert both.keys() == {"logits", "aux_logits"}
    assert both["aux_logits"].shape == (1, 40, 56, 5)
    full.save(tmp_path / "full.keras")
    for weights in (file, tmp_path / "full.keras"):
        without = build(name, weights=weights)
        np.testing.assert_allclose(without(images), both["logits"], atol=1e-5)


@MODELS
def test_keras_file_loads_without_custom_objects(name, tmp_path):
    model, images = build(name), pictures(1, 40, 56)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(images), model(images), atol=1e-5)
    again = build(name, weights=tmp_path / "model.keras")
    np.testing.assert_allclose(again(images), model(images), atol=1e-5)


@MODELS
def test_saved_model_round_trip(name, tmp_path):
    model = build(name)
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    for size in ((40, 56), (33, 47)):
        images = pictures(1, *size).astype("float32")
        np.testing.assert_allclose(loaded.serve(images), model(images), atol=1e-4)


@MODELS
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_keeps_logits_in_float32(name, policy):
    model, half = build(name, aux_head=True), build(name, aux_head=True, dtype=policy)
    assert keras.config.dtype_policy().name == "float32"
    half.set_weights(model.get_weights())
    images = pictures(1, 40, 56)
    assert half.get_layer("resnet18").output["C5"].dtype == half.get_layer("resnet18").compute_dtype
    for key, logits in half(images).items():
        assert logits.dtype == "float32"
        spread = float(np.std(model(images)[key]))
        assert np.abs(logits - model(images)[key]).mean() < 0.1 * spread


def test_preprocessing_is_the_only_difference_that_it_makes():
    model = build("fcn_resnet18")
    bare = build("fcn_resnet18", include_preprocessing=False)
    bare.set_weights(model.get_weights())
    images = pictures(1, 40, 56)
    normalized = (images / 255 - (0.485, 0.456, 0.406)) / np.array((0.229, 0.224, 0.225))
    np.testing.assert_allclose(model(images), bare(normalized.astype("float32")), atol=1e-4)
    np.testing.assert_allclose(model(images), model(images.astype("float32")), atol=1e-6)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_dilated_features_subsampled_equal_those_of_the_strided_network(output_stride):
    """The atrous identity: dilation computes the strided network's features, and those between."""
    strided = pdanet_tf.backbones.resnet18(32)
    dilated = pdanet_tf.backbones.resnet18(output_stride)
    dilated.set_weights(strided.get_weights())
    images = np.random.default_rng(0).standard_normal((1, 97, 65, 3)).astype("float32")
    step = 32 // output_stride
    np.testing.assert_allclose(
        dilated(images)["C5"][:, ::step, ::step], strided(images)["C5"], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["pdanet_resnet18", "danet_resnet18"])
def test_options_of_the_attention_reach_it(name):
    model = build(name, reduction=1, channel_energy="similar")
    wide = [w for w in model.weights if w.path.endswith("position_attention/query/kernel")]
    assert wide
    assert all(w.shape[-1] == w.shape[-2] for w in wide)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"input_shape": (None, None, 4)}, r"input_shape=\(None, None, 4\)"),
        ({"output_stride": 4}, r"one of \(8, 16, 32\)"),
        ({"normalization": "imagenet"}, "normalization='imagenet'"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"name": "pdanet_resnet81"}, "pdanet_resnet18"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        pdanet_tf.build_model(**arguments)


def test_an_option_that_the_model_does_not_have():
    with pytest.raises(TypeError, match="reduction"):
        pdanet_tf.build_model("fcn_resnet18", reduction=4)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="pspnet_resnet18") as caught:
        pdanet_tf.build_model("pspnet-resnet18")
    assert difflib.get_close_matches("pspnet-resnet18", str(caught.value).split())


def test_an_image_without_three_channels():
    with pytest.raises(ValueError, match="shape"):
        build("fcn_resnet18")(np.zeros((1, 16, 16, 4), "float32"))


def test_weights_that_do_not_fit_name_the_layer_and_both_shapes(tmp_path):
    build("fcn_resnet18").save(tmp_path / "five.keras")
    with pytest.raises(ValueError, match="classifier/kernel") as caught:
        build("fcn_resnet18", num_classes=7, weights=tmp_path / "five.keras")
    assert "expected (1, 1, 128, 7), found (1, 1, 128, 5)" in str(caught.value)
    assert "five.keras" in str(caught.value)
    build("fcn_resnet18").save_weights(tmp_path / "five.weights.h5")
    with pytest.raises(ValueError, match="classifier") as caught:
        build("fcn_resnet18", num_classes=7, weights=tmp_path / "five.weights.h5")
    assert "(1, 1, 128, 7)" in str(caught.value)
    assert "(1, 1, 128, 5)" in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.keras"):
        build("fcn_resnet18", weights=tmp_path / "nowhere.keras")
    (tmp_path / "weights.pkl").touch()
    with pytest.raises(ValueError, match=r"weights\.pkl"):
        build("fcn_resnet18", weights=tmp_path / "weights.pkl")


def test_state_dicts_that_do_not_fit_are_listed_at_once_and_load_nothing():
    model = pdanet_tf.build_model("fcn_resnet18", num_classes=150)
    before = model.get_weights()
    layout = golden.layout("fcn")
    encoder = {name: np.zeros(shape) for name, shape in layout["encoder"].items()}
    decoder = {name: np.zeros(shape) for name, shape in layout["decoder"].items()}
    del encoder["layer1.0.conv1.weight"]
    decoder["conv_last.weight"] = np.zeros((21, 128, 1, 1))
    decoder["surprise.weight"] = np.zeros(3)
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        pdanet_tf.convert.load_torch_state_dict(model, encoder, decoder)
    message = str(caught.value)
    assert "missing: c2_block1_conv1/conv/kernel (3, 3, 128, 64)" in message
    assert "unexpected: decoder.surprise.weight (3,)" in message
    assert "classifier/kernel: expected (1, 1, 128, 150), found (1, 1, 128, 21)" in message
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_unused_names_of_a_checkpoint_are_reported():
    model = pdanet_tf.build_model("danet_resnet18", num_classes=150)
    layout = golden.layout("danet")
    encoder = {name: np.ones(shape) for name, shape in layout["encoder"].items()}
    decoder = {name: np.ones(shape) for name, shape in layout["decoder"].items()}
    encoder["bn1.num_batches_tracked"] = np.array(7)
    unused = pdanet_tf.convert.load_torch_state_dict(model, encoder, decoder)
    assert sorted(unused) == [
        *(f"decoder.dam.0.conv{n}.1.{part}" for n in (6, 7) for part in ("bias", "weight")),
        "encoder.bn1.num_batches_tracked",
    ]
