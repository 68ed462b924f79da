"""Every registered model goes through the same tests; a model that is not here fails one."""

import difflib
import itertools
import pathlib
import pickle
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf
from pdanet_tf import cli
from tests import golden_models as golden

BASIC, BOTTLENECK = 1, 4  # how many times wider a block's output is than its inside


def conv_batch_norm(size, inputs, outputs):
    """A kernel, and batch norm's scale, shift, moving mean and moving variance."""
    return size * size * inputs * outputs + 4 * outputs


def resnet(expansion, depths, stem="deep"):
    """He et al. 2015, table 1, less the classifier; every block's parameters one by one."""
    if stem == "deep":
        count = sum(conv_batch_norm(3, *shape) for shape in ((3, 64), (64, 64), (64, 128)))
        channels = 128
    else:
        count, channels = conv_batch_norm(7, 3, 64), 64
    for depth, filters in zip(depths, (64, 128, 256, 512), strict=True):
        for _ in range(depth):
            outputs = expansion * filters
            if expansion == BASIC:
                count += conv_batch_norm(3, channels, filters)
                count += conv_batch_norm(3, filters, filters)
            else:
                count += conv_batch_norm(1, channels, filters)
                count += conv_batch_norm(3, filters, filters)
                count += conv_batch_norm(1, filters, outputs)
            if channels != outputs:
                count += conv_batch_norm(1, channels, outputs)
            channels = outputs
    return count


def classifier(inputs, classes):
    return inputs * classes + classes


def dual_attention(channels, outputs):
    narrow, key = channels // 4, channels // 4 // 8
    branches = 2 * (conv_batch_norm(3, channels, narrow) + conv_batch_norm(3, narrow, narrow))
    position = 2 * classifier(narrow, key) + classifier(narrow, narrow) + 1
    return branches + position + 1 + classifier(narrow, outputs)


def pyramid(channels, level, classes):
    return 4 * level + conv_batch_norm(3, channels + 4 * 512, 512) + classifier(512, classes)


def aspp(channels):
    branches = conv_batch_norm(1, channels, 256) + 3 * conv_batch_norm(3, channels, 256)
    return branches + conv_batch_norm(1, channels, 256) + conv_batch_norm(1, 5 * 256, 256)


def decoder(channels, classes):
    detail = conv_batch_norm(1, channels // 8, 48)
    refine = conv_batch_norm(3, 256 + 48, 256) + conv_batch_norm(3, 256, 256)
    return detail + refine + classifier(256, classes)


HEADS = {
    "danet": dual_attention,
    "deeplabv3": lambda c, n: aspp(c) + conv_batch_norm(3, 256, 256) + classifier(256, n),
    "deeplabv3plus": lambda c, n: aspp(c) + decoder(c, n),
    "fcn": lambda c, n: conv_batch_norm(3, c, c // 4) + classifier(c // 4, n),
    "pdanet": lambda c, n: pyramid(c, dual_attention(c, 512) + 4 * 512, n),
    "pspnet": lambda c, n: pyramid(c, conv_batch_norm(1, c, 512), n),
}
BACKBONES = {
    "resnet101": (BOTTLENECK, (3, 4, 23, 3)),
    "resnet18": (BASIC, (2, 2, 2, 2)),
    "resnet34": (BASIC, (3, 4, 6, 3)),
    "resnet50": (BOTTLENECK, (3, 4, 6, 3)),
}
# Simonyan and Zisserman 2014, table 2: 138,357,544 less the fully connected layers.
VGG16 = 138_357_544 - classifier(25088, 4096) - classifier(4096, 4096) - classifier(4096, 1000)


def fully_connected(classes):
    return classifier(7 * 7 * 512, 4096) + classifier(4096, 4096) + classifier(4096, classes)


def atrous_branch(classes):
    return classifier(9 * 512, 1024) + classifier(1024, 1024) + classifier(1024, classes)


def context(n, widths):
    channels = [n, *(width * n for width in widths)]
    layers = [classifier(9 * a, b) for a, b in itertools.pairwise(channels)]
    return sum(layers) + classifier(channels[-1], n)


def conv_batch_norms(size, channels):
    return sum(conv_batch_norm(size, a, b) for a, b in itertools.pairwise(channels))


SEGNET_ENCODER = (64,) * 2 + (128,) * 2 + (256,) * 3 + (512,) * 6
SEGNET_DECODER = (512,) * 5 + (256,) * 3 + (128,) * 2 + (64,) * 2
# Name: parameters less deep supervision, as a function of the number of classes; channels of C4.
PARAMETERS = {
    f"{head}_{backbone}": (
        lambda n, count=count, shape=shape: resnet(*shape) + count(512 * shape[0], n),
        256 * shape[0],
    )
    for head, count in HEADS.items()
    for backbone, shape in BACKBONES.items()
} | {
    "fcn32s_vgg16": (lambda n: VGG16 + fully_connected(n), 512),
    "fcn16s_vgg16": (lambda n: VGG16 + fully_connected(n) + classifier(512, n), 512),
    "fcn8s_vgg16": (
        lambda n: VGG16 + fully_connected(n) + classifier(512, n) + classifier(256, n),
        512,
    ),
    "deeplab_largefov_vgg16": (lambda n: VGG16 + atrous_branch(n), 512),
    "deeplabv2_vgg16": (lambda n: VGG16 + 4 * atrous_branch(n), 512),
    "deeplabv2_resnet101": (
        lambda n: resnet(*BACKBONES["resnet101"]) + 4 * classifier(9 * 2048, n),
        1024,
    ),
}
PARAMETERS |= {
    "dilation_frontend_vgg16": (lambda n: VGG16 + fully_connected(n), 512),
    # Yu and Koltun 2015, table 1: all layers as wide as the classes, or up to 32 times.
    "dilation_basic_vgg16": (
        lambda n: VGG16 + fully_connected(n) + context(n, (1, 1, 1, 1, 1, 1, 1)),
        512,
    ),
    "dilation_large_vgg16": (
        lambda n: VGG16 + fully_connected(n) + context(n, (2, 2, 4, 8, 16, 32, 32)),
        512,
    ),
    "segnet_vgg16": (
        lambda n: (
            conv_batch_norms(3, (3, *SEGNET_ENCODER))
            + conv_batch_norms(3, (512, *SEGNET_DECODER))
            + classifier(64, n)
        ),
        512,
    ),
    "segnet_basic": (
        lambda n: conv_batch_norms(7, (3, 64, 64, 64, 64, 64, 64, 64, 64)) + classifier(64, n),
        64,
    ),
}
EVERY_MODEL = pytest.mark.parametrize("name", PARAMETERS)
# What does not depend on the backbone's depth is tested on the smallest one.
MODELS = pytest.mark.parametrize("name", [f"{head}_resnet18" for head in HEADS])


def build(name, **options):
    return pdanet_tf.build_model(name, **{"num_classes": 5, **options})


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype("uint8")


def test_every_model_is_tested():
    assert sorted(PARAMETERS) == pdanet_tf.list_models()


@EVERY_MODEL
def test_exact_number_of_parameters(name):
    count, channels = PARAMETERS[name]
    model = build(name, aux_head=True)
    auxiliary = conv_batch_norm(3, channels, channels // 2) + classifier(channels // 2, 5)
    assert model.count_params() == count(5) + auxiliary


@pytest.mark.parametrize("name", golden.MODELS)
def test_number_of_parameters_of_the_checkpoints(name):
    expected = sum(
        int(np.prod(shape))
        for part in golden.layout(name).values()
        for key, shape in part.items()
        if ".conv6." not in key and ".conv7." not in key  # whose outputs the author discards
    )
    model_name, aux_head = golden.MODELS[name]
    assert build(model_name, num_classes=150, aux_head=aux_head).count_params() == expected


@pytest.mark.parametrize(("backbone", "stem"), list(itertools.product(BACKBONES, ("deep", "7x7"))))
def test_number_of_parameters_of_a_backbone(backbone, stem):
    model = pdanet_tf.backbones.RESNETS[backbone](stem=stem)
    assert model.count_params() == resnet(*BACKBONES[backbone], stem)


@EVERY_MODEL
def test_every_variable_gets_a_gradient(name):
    model = build(name, aux_head=True)
    for variable in model.trainable_variables:
        if variable.path.endswith("_attention/gamma"):
            variable.assign(1.0)  # at 0, where it starts, nothing behind it has a gradient
    with tf.GradientTape() as tape:
        outputs = model(pictures(2, 17, 25).astype("float32"), training=True)
        loss = sum(tf.reduce_mean(output**2) for output in outputs.values())
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    missing = [v.path for v, g in zip(variables, gradients, strict=True) if g is None]
    assert missing == []
    # A constant added to all energies of a query changes nothing, and neither does anything
    # where there is one position.
    zero = [v.path for v, g in zip(variables, gradients, strict=True) if not np.any(g)]
    assert all(re.search(r"/(key/bias|level_0/.*/(query|key)/\w+)$", path) for path in zero), zero


@MODELS
def test_one_model_takes_every_size(name):
    model = build(name)
    for size in ((40, 56), (33, 47), (1, 1), (7, 90)):
        assert model(pictures(1, *size)).shape == (1, *size, 5)
    coarse = build(name, upsample=False)
    stride = 4 if "v3plus" in name else 8
    assert coarse(pictures(1, 33, 47)).shape == (1, -(-33 // stride), -(-47 // stride), 5)


@MODELS
def test_one_graph_takes_every_size(name):
    model = build(name)
    run = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for size in ((40, 56), (33, 47)):
        images = pictures(2, *size).astype("float32")
        np.testing.assert_allclose(run(images), model(images), atol=1e-4)


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
        # Computed in it, not merely cast to it.
        assert np.any(logits != keras.ops.cast(keras.ops.cast(logits, policy[6:]), "float32"))
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


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("backbone", [*BACKBONES, "vgg16"])
def test_dilated_features_subsampled_equal_those_of_the_strided_network(backbone, output_stride):
    """The atrous identity: dilation computes the strided network's features, and those between."""
    build_backbone = getattr(pdanet_tf.backbones, backbone)
    strided, dilated = build_backbone(32), build_backbone(output_stride)
    dilated.set_weights(strided.get_weights())
    images = np.random.default_rng(0).standard_normal((1, 97, 65, 3)).astype("float32")
    expected = strided(images)["C5"]
    step = 32 // output_stride
    spread = float(np.std(expected))
    np.testing.assert_allclose(
        dilated(images)["C5"][:, ::step, ::step], expected, atol=1e-4 * spread, rtol=1e-4
    )
    assert pdanet_tf.backbones.stage_strides(dilated)["C5"] == output_stride


def test_imagenet_weights_are_asked_for_by_name(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "pdanet_tf.models.build.imagenet_weights",
        lambda backbone, name: asked.append((name, backbone.get_layer(index=1).name)),
    )
    build("pspnet_resnet18", backbone_weights="imagenet")
    build("fcn32s_vgg16", backbone_weights="imagenet", normalization="caffe")
    assert [name for name, _ in asked] == ["resnet18", "vgg16"]
    for wrong, message in (
        ({"normalization": "caffe"}, "normalization='torch'"),
        ({"backbone_weights": "coco"}, "'coco'"),
    ):
        with pytest.raises(ValueError, match=message):
            build("pspnet_resnet18", **{"backbone_weights": "imagenet", **wrong})
    with pytest.raises(ValueError, match="normalization='caffe'"):
        build("fcn32s_vgg16", backbone_weights="imagenet")


def test_a_new_fcn8s_predicts_what_fcn32s_does():
    coarse, fine = build("fcn32s_vgg16", upsample=False), build("fcn8s_vgg16", upsample=False)
    for layer in coarse.layers:
        fine.get_layer(layer.name).set_weights(layer.get_weights())
    images = pictures(1, 64, 96)
    expected = tf.image.resize(tf.image.resize(coarse(images), (4, 6)), (8, 12))
    np.testing.assert_allclose(fine(images), expected, atol=1e-4)


def test_segnet_works_on_odd_sizes_at_the_size_of_the_image():
    for name in ("segnet_vgg16", "segnet_basic"):
        model = build(name, upsample=False)
        for size in ((33, 47), (1, 1)):
            assert model(pictures(1, *size)).shape == (1, *size, 5)


@pytest.mark.parametrize("variant", ["basic", "large"])
def test_a_new_context_module_hands_on_what_the_front_end_says(variant):
    keras.utils.set_random_seed(0)
    plain = build("dilation_frontend_vgg16", upsample=False)
    model = build(f"dilation_{variant}_vgg16", upsample=False)
    for layer in plain.layers:
        model.get_layer(layer.name).set_weights(layer.get_weights())
    images = pictures(1, 64, 96)
    expected = np.maximum(plain(images), 0)  # the module's first ReLU
    found = model(images)
    # The noise of eight layers adds up, but leaves the classes apart.
    assert np.abs(found - expected).mean() < 0.3 * expected.std()
    assert np.corrcoef(np.ravel(found), np.ravel(expected))[0, 1] > 0.95


def test_deeplabv2_sums_the_scores_of_its_rates():
    model = build("deeplabv2_vgg16", upsample=False)
    images, total = pictures(1, 33, 47), 0
    for index in range(4):
        branch = keras.Model(model.input, model.get_layer(f"branch_{index}_classifier").output)
        total = total + branch(images)
    np.testing.assert_allclose(model(images), total, atol=1e-4)


def test_any_model_that_names_its_stages_is_a_backbone():
    images = keras.Input((None, None, 3))
    stages = {}
    x = images
    for level in range(1, 6):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"conv_{level}")(x)
        stages[f"C{level}"] = x
    own = keras.Model(images, stages, name="own")
    model = build("pdanet_resnet18", backbone=own, aux_head=True)
    assert model.name == "pdanet_own"
    assert model(pictures(1, 33, 47))["logits"].shape == (1, 33, 47, 5)
    assert pdanet_tf.backbones.stage_strides(own) == {"C1": 2, "C2": 4, "C3": 8, "C4": 16, "C5": 32}

    nameless = keras.Model(images, x, name="nameless")
    with pytest.raises(ValueError, match=r"must name its stages.*'nameless'"):
        build("fcn_resnet18", backbone=nameless)
    short = keras.Model(images, {"C3": stages["C3"], "C5": x}, name="short")
    with pytest.raises(ValueError, match="also needs C4"):
        build("fcn_resnet18", backbone=short, aux_head=True)
    with pytest.raises(ValueError, match="output_stride is chosen when a backbone is built"):
        build("fcn_resnet18", backbone=own, output_stride=16)


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
        ({"output_stride": 4}, r"one of \(8, 16, 32\).*output_stride=4"),
        ({"stem": "3x3"}, r"one of \('deep', '7x7'\).*stem='3x3'"),
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


def test_weights_of_another_normalization(tmp_path):
    build("fcn_resnet18", normalization="caffe").save(tmp_path / "caffe.keras")
    with pytest.raises(ValueError, match="normalization='caffe'"):
        build("fcn_resnet18", weights=tmp_path / "caffe.keras")
    build("fcn_resnet18", normalization="caffe", weights=tmp_path / "caffe.keras")


def test_files_that_are_no_models(tmp_path):
    for name in ("a.keras", "a.weights.h5"):
        (tmp_path / name).write_text("garbage")
        with pytest.raises(ValueError, match=name):
            build("fcn_resnet18", weights=tmp_path / name)


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


class TestPyTorchFiles:
    """Checkpoints as PyTorch writes them; needs PyTorch."""

    @pytest.fixture
    def write(self, tmp_path):
        torch = pytest.importorskip("torch", reason="reading .pth files needs the extra 'torch'")

        def write(content, name="file.pth", **options):
            torch.save(content, tmp_path / name, **options)
            return str(tmp_path / name)

        write.tensors = lambda arrays: {
            name: torch.from_numpy(np.array(array)) for name, array in arrays.items()
        }
        return write

    @pytest.mark.parametrize("new_format", [True, False])
    def test_convert(self, write, tmp_path, new_format, capsys):
        shapes, files = golden.layout("fcn_deepsup"), []
        for part in ("encoder", "decoder"):
            state = write.tensors(golden.draw(shapes[part]))
            name = f"{part}_epoch_20.pth"
            files += [
                f"--{part}",
                write(state, name, _use_new_zipfile_serialization=new_format),
            ]
        output = str(tmp_path / "converted.keras")
        command = ["convert", *files, "--model", "fcn_resnet18", "--output", output]
        assert cli.main(command) == 0
        values = golden.values("fcn_deepsup")
        converted = keras.saving.load_model(output)
        bare = golden.reference_model("fcn_deepsup")
        bare.set_weights(converted.get_weights())
        logits = bare(golden.images(values))["logits"]
        found = keras.ops.log_softmax(logits, axis=-1)
        assert np.abs(found - values["log_probs"]).max() < 1e-4
        assert cli.main(command) == 1
        assert "already exists" in capsys.readouterr().err
        wrong = [*command[:-1], str(tmp_path / "wrong.keras"), "--model", "danet_resnet18"]
        assert cli.main(wrong) == 1
        assert "missing: dual_attention" in capsys.readouterr().err
        assert not (tmp_path / "wrong.keras").exists()

    def test_a_backbone_of_torchvision(self, write):
        backbone = pdanet_tf.backbones.resnet18(stem="7x7")
        names = pdanet_tf.convert.torch_names(backbone)
        state = {}
        for weight in backbone.weights:
            shape = weight.shape
            if len(shape) == 4:
                shape = (shape[3], shape[2], *shape[:2])
            name = names[weight.path].removeprefix("encoder.")
            state[name] = np.full(shape, 0.5, "float32")
        # As in torchvision: no projection in the first stage, and a classifier.
        assert "layer1.0.downsample.0.weight" not in state
        assert "layer2.0.downsample.0.weight" in state
        state["fc.weight"], state["fc.bias"] = np.zeros((1000, 512)), np.zeros(1000)
        state["bn1.num_batches_tracked"] = np.array(3)
        read = pdanet_tf.convert.read_torch_file(write(write.tensors(state)))
        unused = pdanet_tf.convert.load_torch_backbone(backbone, read)
        assert len(unused) == 3
        assert all(np.all(weight == 0.5) for weight in backbone.get_weights())

    def test_what_is_refused(self, write, tmp_path):
        class Evil:
            def __reduce__(self):
                return (pathlib.Path.touch, (tmp_path / "executed",))

        read = pdanet_tf.convert.read_torch_file
        evil = tmp_path / "evil.pth"
        evil.write_bytes(pickle.dumps({"weight": Evil()}))
        for file, message in (
            (write({"weight": Evil()}, "zip.pth"), r"zip\.pth.*refused"),
            (evil, r"evil\.pth.*refused"),
            (write({"epoch": 3}, "number.pth"), "epoch"),
            (write([1, 2], "list.pth"), "list"),
        ):
            with pytest.raises(ValueError, match=message):
                read(file)
        assert not (tmp_path / "executed").exists()
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
            read(tmp_path / "nowhere.pth")


def test_without_pytorch_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="the extra 'torch'"):
        pdanet_tf.convert.read_torch_file(tmp_path / "file.pth")
