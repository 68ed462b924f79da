"""Every registered model passes the same tests; a model that is not listed here fails one."""

import gc
import inspect
import itertools
import pathlib
import re
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf
from pdanet_tf.backbones import Backbone
from pdanet_tf.base.catalog import FAMILIES as FAMILIES_IN_WORDS
from pdanet_tf.base.catalog import model_names
from pdanet_tf.layers import ConvBatchNorm
from pdanet_tf.models import fold_batch_norm, with_dtype_policy
from pdanet_tf.models.build import resolve_backbone_options
from pdanet_tf.models.registry import find_model
from pdanet_tf.ops.resize import bilinear_resize
from tests.support import golden_models as golden
from tests.support.models import blank, build, pictures, zero_kernels

BASIC, BOTTLENECK = 1, 4  # output channels of a block divided by its inner ones


def conv_batch_norm(size, inputs, outputs):
    """Counts a kernel, and the scale, shift, moving mean and moving variance of batch norm."""
    return size * size * inputs * outputs + 4 * outputs


def resnet(expansion, depths, stem="deep", first=64):
    """Counts the parameters of He et al. 2015, table 1, without the classifier, by block."""
    if stem == "deep":
        shapes = (3, first), (first, first), (first, 2 * first)
        count, channels = sum(conv_batch_norm(3, *shape) for shape in shapes), 2 * first
    else:
        count, channels = conv_batch_norm(7, 3, first), first
    for depth, filters in zip(depths, (first, 2 * first, 4 * first, 8 * first), strict=True):
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


def pyramid(channels, level, classes, filters=512):
    fusion = conv_batch_norm(3, channels + 4 * filters, filters)
    return 4 * level(filters) + fusion + classifier(filters, classes)


def aspp(channels):
    branches = conv_batch_norm(1, channels, 256) + 3 * conv_batch_norm(3, channels, 256)
    return branches + conv_batch_norm(1, channels, 256) + conv_batch_norm(1, 5 * 256, 256)


def decoder(channels, classes):
    detail = conv_batch_norm(1, channels // 8, 48)
    refine = conv_batch_norm(3, 256 + 48, 256) + conv_batch_norm(3, 256, 256)
    return detail + refine + classifier(256, classes)


def feature_pyramid(channels, classes, filters=512):
    """Counts Xiao et al. 2018, figure 4, for C5 of a number of channels and C4 to C2 of fewer."""
    pooled = 4 * conv_batch_norm(1, channels, filters)
    pooled += conv_batch_norm(3, channels + 4 * filters, filters)
    finer = (channels // 2, channels // 4, channels // 8)
    laterals = sum(conv_batch_norm(1, each, filters) for each in finer)
    outputs = 3 * conv_batch_norm(3, filters, filters) + conv_batch_norm(3, 4 * filters, filters)
    return pooled + laterals + outputs + classifier(filters, classes)


HEADS = {
    "danet": dual_attention,
    "deeplabv3": lambda c, n: aspp(c) + conv_batch_norm(3, 256, 256) + classifier(256, n),
    "deeplabv3plus": lambda c, n: aspp(c) + decoder(c, n),
    "fcn": lambda c, n: conv_batch_norm(3, c, c // 4) + classifier(c // 4, n),
    "pdanet": lambda c, n, **width: pyramid(c, lambda f: dual_attention(c, f) + 4 * f, n, **width),
    "pspnet": lambda c, n, **width: pyramid(c, lambda f: conv_batch_norm(1, c, f), n, **width),
    "upernet": feature_pyramid,
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
            + classifier(9 * 64, n)
        ),
        512,
    ),
    "segnet_basic": (
        lambda n: conv_batch_norms(7, (3, 64, 64, 64, 64, 64, 64, 64, 64)) + classifier(64, n),
        64,
    ),
}


# ResNet18 with a share of the channels, and heads in proportion.
PARAMETERS |= {
    f"{head}_resnet18_{word}": (
        lambda n, count=HEADS[head], first=first, width=width: (
            resnet(*BACKBONES["resnet18"], first=first) + count(8 * first, n, **width)
        ),
        4 * first,
    )
    for word, first in (("half", 32), ("quarter", 16))
    for head, width in (
        ("danet", {}),
        ("fcn", {}),
        ("pdanet", {"filters": 8 * first}),
        ("pspnet", {"filters": 8 * first}),
        ("upernet", {"filters": 8 * first}),
    )
}


def mobilenetv2():
    """Counts Sandler et al. 2018, table 2, without the convolution and the classifier behind it."""
    groups = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
    count, channels = conv_batch_norm(3, 3, 32), 32
    for expansion, outputs, depth in groups:
        for _ in range(depth):
            wide = expansion * channels
            count += conv_batch_norm(1, channels, wide) if expansion > 1 else 0
            count += conv_batch_norm(3, 1, wide) + conv_batch_norm(1, wide, outputs)
            channels = outputs
    return count


PARAMETERS |= {
    f"{head}_mobilenetv2": (lambda n, count=HEADS[head]: mobilenetv2() + count(320, n), 160)
    for head in ("fcn", "pspnet")
}


def families():
    """Returns the smallest model of each family, and of each set of options but the width."""
    smallest = {}
    for name in sorted(PARAMETERS, key=lambda name: PARAMETERS[name][0](5)):
        entry = find_model(name)
        options = {key: value for key, value in entry.options.items() if key != "filters"}
        smallest.setdefault((entry.family, repr(options)), name)
    return sorted(smallest.values())


FAMILIES = families()
# The same layers as in a model that is not slow, FCN-8s, the basic context module or DeepLab v2
# on VGG16, in other numbers; but half a gigabyte per file or more, or the layers of a ResNet101.
TWINS = {
    "fcn32s_vgg16",
    "fcn16s_vgg16",
    "dilation_frontend_vgg16",
    "dilation_large_vgg16",
    "deeplabv2_resnet101",
}


def each(names, quick):
    """Runs a test with each model; those that are not quick are marked as slow."""
    marks = [[] if name in quick else [pytest.mark.slow] for name in names]
    models = [pytest.param(name, marks=mark) for name, mark in zip(names, marks, strict=True)]
    return pytest.mark.parametrize("model", models, indirect=True)


QUICK = [name for name in FAMILIES if name not in TWINS]
# What is the same code for all: quickly with PDANet, which has attention, a pyramid and factored
# fusion; with every family but the twins when slow tests are asked for.
EVERY_FAMILY = each(QUICK, ["pdanet_resnet18_quarter"])
# Families first, so that tests of the same model follow one another.
EVERY_MODEL = each([*FAMILIES, *(name for name in PARAMETERS if name not in FAMILIES)], QUICK)
# Strides of the logits that are not upsampled, where it is not 8.
STRIDES = {"deeplabv3plus": 4, "fcn16s": 16, "fcn32s": 32, "segnet": 1, "upernet": 4}
# Rates that reach inside the features of small images. Wide ones see zeros alone, and the
# gradient takes seconds.
RATES = {"deeplabv2": (1, 2, 3, 4), "deeplabv3": (1, 2, 3), "deeplabv3plus": (1, 2, 3)}


@pytest.fixture(scope="module")
def model(request):
    """A model with deep supervision, for all tests that do not change its trained variables.

    What starts at 0 or 1 in every model is drawn, as a file without it would still fit: biases,
    scales, statistics, and the scores that FCN-8s adds. So attention counts, too.
    """
    keras.utils.set_random_seed(0)
    model, rng = build(request.param, aux_head=True), np.random.default_rng(0)
    for variable in model.weights:
        # These scales keep the features of a hundred layers within the range of float16.
        if variable.path.endswith("gamma"):
            variable.assign(rng.uniform(0.5, 1.0, variable.shape))
        elif variable.path.endswith("moving_variance"):
            variable.assign(rng.uniform(1.0, 2.0, variable.shape))
        elif re.search(r"^c\d_classifier/|/(beta|bias|moving_mean)$", variable.path):
            variable.assign(rng.normal(0, 0.02, variable.shape))
    yield model
    del model
    gc.collect()  # layers refer to one another, and some have half a gigabyte


@pytest.fixture
def folder():
    """A folder that is removed after the test: some models have files of half a gigabyte."""
    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder)


def assert_close(found, expected, tolerance=1e-4):
    """Compares logits; the tolerance is in units of their standard deviation if that exceeds 1."""
    atol = tolerance * max(1.0, float(np.std(expected)))
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)


def own_models():
    """The models of this package; others may have been registered by other tests."""
    return [
        name
        for name in pdanet_tf.list_models()
        if find_model(name).family.__module__.startswith("pdanet_tf.")
    ]


def test_every_model_is_tested():
    missing = {*own_models()} - {*PARAMETERS}
    assert not missing, f"no row in HEADS or PARAMETERS: {sorted(missing)}"
    assert sorted(PARAMETERS) == own_models()


def test_the_catalog_has_every_model_and_its_size():
    assert model_names()[0] == "pdanet_resnet18"
    assert sorted(model_names()) == pdanet_tf.list_models()
    for name in own_models():
        entry = find_model(name)
        count = FAMILIES_IN_WORDS[entry.family.__name__].parameters[entry.backbone_name]
        # `test_exact_number_of_parameters` compares this number with the model.
        assert count == PARAMETERS[name][0](150), f"{name} in pdanet_tf/base/catalog.py"


def test_the_catalog_describes_a_family_as_its_docstring_does():
    for name in own_models():
        family = find_model(name).family
        title = inspect.getdoc(family).splitlines()[0].rstrip(".")
        assert FAMILIES_IN_WORDS[family.__name__].title == title, family.__name__


def test_every_model_family_is_a_public_name():
    families = {find_model(name).family for name in own_models()}
    missing = {family.__name__ for family in families} - {*pdanet_tf.models.__all__}
    assert not missing, f"import and list in pdanet_tf/models/__init__.py: {missing}"
    for family in families:
        assert getattr(pdanet_tf.models, family.__name__) is family


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name.endswith("resnet101") else name
        for name in PARAMETERS
    ],
)
def test_exact_number_of_parameters(name):
    count, channels = PARAMETERS[name]
    auxiliary = conv_batch_norm(3, channels, channels // 2) + classifier(channels // 2, 5)
    model = blank(name, aux_head=True)
    assert model.name == name
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
    assert blank(model_name, num_classes=150, aux_head=aux_head).count_params() == expected


@pytest.mark.parametrize(("backbone", "stem"), list(itertools.product(BACKBONES, ("deep", "7x7"))))
def test_number_of_parameters_of_a_backbone(backbone, stem):
    with zero_kernels():
        model = pdanet_tf.backbones.RESNETS[backbone](stem=stem)
    assert model.count_params() == resnet(*BACKBONES[backbone], stem)


@EVERY_FAMILY
def test_one_graph_takes_every_size(model):
    run = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for size in ((33, 47), (8, 64), (1, 1)):
        images = pictures(1, *size)
        expected, found = model(images), run(images.astype("float32"))
        assert expected.keys() == found.keys() == {"logits", "aux_logits"}
        for key, logits in expected.items():
            assert logits.shape == (1, *size, 5)
            assert_close(found[key], logits)


@EVERY_FAMILY
def test_same_weights_with_and_without_upsampling_and_deep_supervision(model, folder):
    files = folder / "full.weights.h5", folder / "full.keras"
    model.save_weights(files[0])
    model.save(files[1])
    coarse = blank(model.name, aux_head=True, upsample=False)
    coarse.load_weights(files[0])
    images = pictures(1, 40, 56)
    expected = model(images)
    for key, logits in coarse(images).items():
        grid = model.get_layer(key).grid  # see tests/models/test_grids.py
        upsampled = (
            tf.image.resize(logits, (40, 56))
            if grid is None
            else bilinear_resize(logits, (40, 56), grid)
        )
        assert_close(upsampled, expected[key])
    stride = STRIDES.get(find_model(model.name).family.__name__, 8)
    for height, width in ((33, 47), (1, 1)):
        logits = coarse(pictures(1, height, width))["logits"]
        assert logits.shape == (1, -(-height // stride), -(-width // stride), 5)
    for file in files:
        without = blank(model.name, weights=file)
        assert_close(without(images), expected["logits"], 1e-5)


@EVERY_FAMILY
def test_keras_file_loads_without_custom_objects(model, folder):
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    images = pictures(1, 40, 56)
    for key, logits in model(images).items():
        assert_close(loaded(images)[key], logits, 1e-5)


@EVERY_FAMILY
def test_saved_model_round_trip(model, folder):
    model.export(folder / "exported", verbose=False)
    loaded = tf.saved_model.load(str(folder / "exported"))
    for size in ((40, 56), (33, 47)):
        images = pictures(1, *size).astype("float32")
        for key, logits in model(images).items():
            assert_close(loaded.serve(images)[key], logits)


@EVERY_FAMILY
def test_folded_batch_norm_changes_nothing_but_rounding(model):
    before = [np.array(variable.numpy()) for variable in model.variables]
    with zero_kernels():
        folded = fold_batch_norm(model)
    images = pictures(1, 40, 56)
    expected = model(images)
    # A model with batch norm that loads the variables computes the same.
    loaded = blank(model.name, aux_head=True)
    for ours, theirs in zip(loaded.variables, folded.variables, strict=True):
        ours.assign(theirs)
    for key in expected:
        assert_close(folded(images)[key], expected[key], 1e-5)
        assert_close(loaded(images)[key], expected[key], 1e-5)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    if any(isinstance(layer, ConvBatchNorm) for layer in folded._flatten_layers()):
        with pytest.raises(ValueError, match="folded"):
            folded(images, training=True)


def policies(model):
    """Returns the class and the dtype policy of every layer."""
    layers = model._flatten_layers(include_self=False)
    return [(type(layer), layer.dtype_policy.name) for layer in layers]


@EVERY_FAMILY
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_keeps_logits_in_float32(model, policy):
    half = blank(model.name, aux_head=True, dtype=policy)
    assert keras.config.dtype_policy().name == "float32"
    for ours, theirs in zip(half.variables, model.variables, strict=True):
        ours.assign(theirs)  # NumPy arrays between them would take seconds
    entry = find_model(model.name)
    stages = half.get_layer(entry.backbone_name).output.values()
    assert {stage.dtype for stage in stages} == {policy[6:]}
    copy = with_dtype_policy(model, policy)
    assert policies(copy) == policies(half)
    images = pictures(1, 40, 56)
    for key, logits in half(images).items():
        assert_close(copy(images)[key], logits, 1e-5)
        assert logits.dtype == "float32"
        # The logits are computed in float32, not only cast to it.
        assert np.any(logits != keras.ops.cast(keras.ops.cast(logits, policy[6:]), "float32"))
        expected = model(images)[key]
        # SegNet's maxima move to a neighbour where rounding makes that the larger value.
        limit = 0.3 if entry.family.__name__ == "segnet" and key == "logits" else 0.1
        assert np.abs(logits - expected).mean() < limit * np.std(expected)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_masks_of_segnet_in_half_precision_are_those_of_float32(policy):
    keras.utils.set_random_seed(0)
    model = build("segnet_basic", include_preprocessing=False)
    half = with_dtype_policy(model, policy)
    # Smooth like photographs, and exact in half precision.
    images = tf.image.resize(pictures(1, 6, 8), (48, 64), "bicubic") / 64 - 2
    images = tf.cast(tf.cast(images, policy.removeprefix("mixed_")), "float32")
    expected, found = (each.get_layer("basic")(images) for each in (model, half))
    np.testing.assert_array_equal(tf.cast(found["mask1"], "float32"), expected["mask1"])
    for name in ("mask2", "mask3", "mask4"):
        maxima = np.array(expected[name]) == 1
        # The others are maxima that differ by less than the rounding of their inputs.
        assert np.mean(np.array(tf.cast(found[name], "float32"))[maxima]) > 0.99
    folded = fold_batch_norm(half)
    assert folded.get_layer("basic").get_layer("block1_conv1").compute_dtype == "float32"


@pytest.mark.slow
def test_a_loaded_model_knows_which_layers_compute_scores(folder):
    build("pdanet_resnet18").save(folder / "model.keras")
    loaded = with_dtype_policy(keras.saving.load_model(folder / "model.keras"), "mixed_bfloat16")
    assert policies(loaded) == policies(blank("pdanet_resnet18", dtype="mixed_bfloat16"))
    back = with_dtype_policy(loaded, "float32")
    assert {policy for _, policy in policies(back)} == {"float32"}
    assert with_dtype_policy(back, "float64").output.dtype == "float64"
    half = with_dtype_policy(loaded, "bfloat16")
    kinds = {variable.path: variable.dtype for variable in half.weights}
    assert kinds["c5_block1_conv1/conv/kernel"] == kinds["fusion/conv/kernel"] == "bfloat16"
    assert kinds["fusion/batch_norm/moving_variance"] == kinds["classifier/kernel"] == "float32"
    images = pictures(1, 40, 56)
    assert_close(half(images), loaded(images), 0.05)
    with pytest.raises(ValueError, match="nonsense"):
        with_dtype_policy(loaded, "nonsense")


@EVERY_MODEL
def test_every_variable_gets_a_gradient(model):
    rates = RATES.get(find_model(model.name).family.__name__)
    if rates is not None:
        model = build(model.name, aux_head=True, dilation_rates=rates)
    with tf.GradientTape() as tape:
        outputs = model(pictures(2, 17, 25).astype("float32"), training=True)
        loss = sum(tf.reduce_mean(output**2) for output in outputs.values())
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    missing = [v.path for v, g in zip(variables, gradients, strict=True) if g is None]
    assert missing == []
    # A constant that is added to all energies of a query changes nothing, and with one position
    # no energy changes anything.
    zero = [v.path for v, g in zip(variables, gradients, strict=True) if not np.any(g)]
    assert all(re.search(r"/(key/bias|level_0/.*/(query|key)/\w+)$", path) for path in zero), zero


def test_preprocessing_is_the_only_difference_that_it_makes():
    model = build("fcn_resnet18")
    bare = build("fcn_resnet18", include_preprocessing=False)
    bare.set_weights(model.get_weights())
    images = pictures(1, 40, 56)
    normalized = (images / 255 - (0.485, 0.456, 0.406)) / np.array((0.229, 0.224, 0.225))
    np.testing.assert_allclose(model(images), bare(normalized.astype("float32")), atol=1e-4)
    np.testing.assert_allclose(model(images), model(images.astype("float32")), atol=1e-6)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    "backbone",
    ["resnet18", "resnet50", "vgg16", "mobilenetv2"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet34", "resnet101")],
)
def test_dilated_features_subsampled_equal_those_of_the_strided_network(backbone, output_stride):
    """The atrous identity: a dilated network computes the features of the strided one, and more."""
    build_backbone = getattr(pdanet_tf.backbones, backbone)
    strided = build_backbone(32)
    with zero_kernels():
        dilated = build_backbone(output_stride)
    dilated.set_weights(strided.get_weights())
    images = np.random.default_rng(0).standard_normal((1, 97, 65, 3)).astype("float32")
    expected = strided(images)["C5"]
    step = 32 // output_stride
    spread = float(np.std(expected))
    np.testing.assert_allclose(
        dilated(images)["C5"][:, ::step, ::step], expected, atol=1e-4 * spread, rtol=1e-4
    )
    assert pdanet_tf.backbones.stage_strides(dilated)["C5"] == output_stride


def test_imagenet_weights_are_those_of_the_backbone_and_its_stem(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "pdanet_tf.models.build.load_imagenet_weights",
        lambda backbone, source: asked.append((source.name, backbone.get_layer(index=1).name)),
    )
    blank("pspnet_resnet18", backbone_weights="imagenet")
    blank("fcn32s_vgg16", backbone_weights="imagenet", normalization="caffe")
    assert asked == [("resnet_18_imagenet", "stem_conv1"), ("VGG16", "block1_conv1")]
    for wrong, message in (
        ({"normalization": "caffe"}, "normalization='torch'"),
        ({"backbone_weights": "coco"}, "'coco'"),
    ):
        with pytest.raises(ValueError, match=message):
            blank("pspnet_resnet18", **{"backbone_weights": "imagenet", **wrong})
    with pytest.raises(ValueError, match="normalization='caffe'"):
        blank("fcn32s_vgg16", backbone_weights="imagenet")


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("fcn_resnet18", {}, {}),
        ("fcn_resnet18", {"backbone_weights": "imagenet"}, {"stem": "7x7"}),
        ("fcn_resnet18", {"backbone_weights": "imagenet", "stem": "deep"}, {"stem": "deep"}),
        (
            "fcn_resnet18",
            {"stem": "7x7", "output_stride": 16},
            {"stem": "7x7", "output_stride": 16},
        ),
        ("fcn32s_vgg16", {"backbone_weights": "imagenet", "output_stride": 32}, {}),
    ],
)
def test_options_of_the_backbone(name, given, expected):
    assert resolve_backbone_options(name, **given) == expected


@pytest.mark.slow
def test_a_new_fcn8s_predicts_what_fcn32s_does():
    coarse, fine = build("fcn32s_vgg16", upsample=False), build("fcn8s_vgg16", upsample=False)
    for layer in coarse.layers:
        fine.get_layer(layer.name).set_weights(layer.get_weights())
    images = pictures(1, 64, 96)
    expected = tf.image.resize(tf.image.resize(coarse(images), (4, 6)), (8, 12))
    np.testing.assert_allclose(fine(images), expected, atol=1e-4)


@pytest.mark.slow
def test_a_new_context_module_hands_on_what_the_front_end_says():
    keras.utils.set_random_seed(0)
    plain = build("dilation_frontend_vgg16", upsample=False)
    images = pictures(1, 40, 56)
    expected = np.maximum(plain(images), 0)  # the module's first ReLU
    for variant in ("basic", "large"):
        model = blank(f"dilation_{variant}_vgg16", upsample=False)
        for layer in plain.layers:
            model.get_layer(layer.name).set_weights(layer.get_weights())
        found = model(images)
        # The noise of eight layers adds up, but does not mix the classes.
        assert np.abs(found - expected).mean() < 0.3 * expected.std()
        assert np.corrcoef(np.ravel(found), np.ravel(expected))[0, 1] > 0.95


@pytest.mark.slow
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
    with pytest.raises(
        ValueError, match=r"output_stride can be chosen only if .*: output_stride and backbone"
    ):
        build("fcn_resnet18", backbone=own, output_stride=16)


def backbone(strides):
    """Builds a backbone with a stage at each stride; 0 stands for the average of the image."""
    images = keras.Input((None, None, 3))
    stages = {
        name: keras.layers.AveragePooling2D(stride, padding="same")(images)
        if stride
        else keras.layers.GlobalAveragePooling2D(keepdims=True)(images)
        for name, stride in strides.items()
    }
    return keras.Model(images, stages, name="own")


@pytest.mark.parametrize(
    ("name", "strides", "message"),
    [
        ("deeplabv3_resnet18", {"C2": 4}, "'own' has the stages C2; the model also needs C5"),
        ("deeplabv3_resnet18", {"C4": 8, "C5": 0}, "'own', whose C5 is not proportional"),
        (
            "pdanet_resnet18",
            {"C4": 16, "C5": 8},
            "no stage may be finer.*'own' with C4 at stride 16, C5 at stride 8",
        ),
        (
            "fcn8s_vgg16",
            {"C3": 32, "C4": 16, "C5": 32},
            "no stage may be finer.*'own' with C3 at stride 32, C4 at stride 16, C5 at stride 32",
        ),
        ("upernet_resnet18", {"C2": 4, "C5": 32}, "'own' has the stages C2, C5; .* needs C3, C4"),
        (
            "deeplabv3plus_resnet18",
            {"C2": 8, "C4": 8, "C5": 8},
            "C2.* must be finer than C5.*'own' with C2 at stride 8, C5 at stride 8",
        ),
        (
            "segnet_basic",
            {"mask1": 1, "mask2": 2, "mask3": 4, "mask4": 4, "C4": 16},
            "half the stride of the next.*'own' with C4 at stride 16, .*mask4 at stride 4",
        ),
    ],
)
def test_stages_that_do_not_fit(name, strides, message):
    with pytest.raises(ValueError, match=message):
        blank(name, backbone=backbone(strides), aux_head=True)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(
    ("name", "stride"),
    [("deeplabv3plus_resnet18", 4), ("fcn8s_vgg16", 8), ("upernet_resnet18", 4)],
)
def test_heads_that_join_stages_take_every_output_stride(name, stride, output_stride):
    build_backbone = getattr(pdanet_tf.backbones, name.partition("_")[2])
    model = blank(name, backbone=build_backbone(output_stride), upsample=False)
    assert model(pictures(1, 33, 47)).shape == (1, -(-33 // stride), -(-47 // stride), 5)


@pytest.mark.parametrize("shape", [(None, None, 3), (299, 224, 3)])
def test_strides_of_convolutions_without_padding(shape):
    images = keras.Input(shape)
    x, stages = images, {}
    for level in range(1, 4):
        x = stages[f"C{level}"] = keras.layers.Conv2D(1, 3, strides=2)(x)
    strides = pdanet_tf.backbones.stage_strides(keras.Model(images, stages))
    assert strides == {"C1": 2, "C2": 4, "C3": 8}


@pytest.mark.parametrize("channels", [1, 4])
def test_a_backbone_of_other_than_three_channels(channels):
    images = keras.Input((None, None, channels))
    stages = {"C5": keras.layers.Conv2D(8, 3, strides=32, padding="same")(images)}
    own = keras.Model(images, stages, name="own")
    with pytest.raises(ValueError, match=rf"'own' takes images of {channels} channels.*with 3"):
        blank("fcn_resnet18", backbone=own)
    shape = (None, None, channels)
    model = blank("fcn_resnet18", backbone=own, input_shape=shape, include_preprocessing=False)
    assert model.compute_output_shape((1, 64, 64, channels)) == (1, 64, 64, 5)


@pytest.mark.parametrize("name", ["pdanet_resnet18", "danet_resnet18"])
def test_options_of_the_attention_reach_it(name):
    model = blank(name, reduction=1, channel_energy="similar")
    wide = [w for w in model.weights if w.path.endswith("position_attention/query/kernel")]
    assert wide
    assert all(w.shape[-1] == w.shape[-2] for w in wide)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"input_shape": (None, None, 0)}, r"input_shape=\(None, None, 0\)"),
        ({"input_shape": (None, None, None)}, r"input_shape=\(None, None, None\)"),
        ({"input_shape": (None, None, 4)}, "4 channels have no standard normalisation: give mean"),
        ({"output_stride": 4}, r"one of \(8, 16, 32\).*output_stride=4"),
        ({"stem": "3x3"}, r"one of \('deep', '7x7', 'v1c', 'v1d'\).*stem='3x3'"),
        ({"normalization": "imagenet"}, "normalization='imagenet'"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"name": "pdanet_resnet81"}, "pdanet_resnet18"),
        ({"name": None}, r"name must be a string.*None"),
        ({"num_classes": "5"}, r"num_classes must be an integer.*num_classes='5' \(str\)"),
        ({"num_classes": 2.5}, r"num_classes must be an integer.*num_classes=2.5 \(float\)"),
        ({"dropout": "a"}, r"dropout must be a finite number.*dropout='a' \(str\)"),
        ({"aux_head": "yes"}, "aux_head must be a boolean"),
        ({"weights": 5}, "weights must be a string or None"),
        ({"input_shape": ("a", None, 3)}, r"input_shape=\('a', None, 3\)"),
        ({"output_stride": "16"}, "output_stride must be an integer or None"),
        ({"backbone": "resnet50"}, "must be a Keras model.*'resnet50'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        pdanet_tf.build_model(**arguments)


@pytest.mark.parametrize(
    "name",
    [
        "deeplab_largefov_vgg16",
        "deeplabv2_vgg16",
        "deeplabv2_resnet101",
        "deeplabv3_resnet18",
        "deeplabv3plus_resnet18",
    ],
)
@pytest.mark.parametrize("rates", [(), (6, 0), "12", 6])
def test_bad_dilation_rates(name, rates):
    stages = backbone({"C2": 4, "C5": 16})
    with pytest.raises(ValueError, match=r"^dilation_rates must .*Received: dilation_rates="):
        pdanet_tf.build_model(name, num_classes=2, backbone=stages, dilation_rates=rates)


@pytest.mark.parametrize("name", ["pspnet_resnet18", "pdanet_resnet18", "upernet_resnet18"])
@pytest.mark.parametrize("scales", [(), (1, 0), "12", 6])
def test_bad_pool_scales(name, scales):
    stages = backbone({"C2": 4, "C3": 8, "C4": 16, "C5": 16})
    with pytest.raises(ValueError, match=r"^pool_scales must .*Received: pool_scales="):
        pdanet_tf.build_model(name, num_classes=2, backbone=stages, pool_scales=scales)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("fcn_resnet18", "reduction", "no option 'reduction'. Options of its head: dropout"),
        (
            "pdanet_resnet18",
            "reductions",
            "Did you mean reduction? Options of its head: dropout, pool_scales, reduction, "
            "channel_energy",
        ),
        ("deeplabv3_resnet18", "rates", "Options of its head: dropout, dilation_rates"),
        ("fcn8s_vgg16", "skips", "Options of its head: dropout"),
        ("fcn_resnet18", "num_class", "Did you mean num_classes?"),
    ],
)
@pytest.mark.parametrize("value", [4, None])
def test_an_option_that_the_model_does_not_have(name, option, message, value, monkeypatch):
    monkeypatch.setattr(Backbone, "__call__", None)  # which takes seconds
    with pytest.raises(TypeError, match=re.escape(message) + "$" * message.startswith("no")):
        pdanet_tf.build_model(name, **{option: value})


@pytest.mark.parametrize(
    ("name", "option", "value", "message"),
    [
        ("segnet_basic", "output_stride", 16, "has no choice of output_stride.*: pdanet, pspnet, "),
        ("segnet_vgg16", "backbone_weights", "imagenet", "has no choice of backbone_weights"),
        ("fcn32s_vgg16", "stem", "deep", "has no choice of stem.*deeplabv3, deeplabv2_resnet101$"),
        ("fcn8s_vgg16", "output_stride", 16, "always has output_stride=32.*output_stride=16"),
        ("dilation_basic_vgg16", "output_stride", 32, "always has output_stride=8"),
    ],
)
def test_an_option_that_the_backbone_does_not_have(name, option, value, message, monkeypatch):
    monkeypatch.setattr(Backbone, "__call__", None)  # which takes seconds
    with pytest.raises(ValueError, match=f"^{name} {message}"):
        pdanet_tf.build_model(name, **{option: value})


def test_the_published_output_stride_may_be_named():
    model = blank("fcn32s_vgg16", output_stride=32, upsample=False)
    assert model(pictures(1, 33, 47)).shape == (1, 2, 2, 5)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_option_is_known(name):
    entry = find_model(name)
    assert {"dropout", *entry.options} <= set(entry.option_names)
    assert not {"backbone", "stages", "num_classes", "options"} & set(entry.option_names)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("pdanet", "pdanet_resnet18, pdanet_resnet34, pdanet_resnet50, pdanet_resnet101"),
        ("PDANet_ResNet", "pdanet_resnet18, pdanet_resnet34, pdanet_resnet50, pdanet_resnet101"),
        ("pspnet-resnet18", "pspnet_resnet18, "),
        ("fcn8", "fcn8s_vgg16"),
        ("nothing alike at all", "pdanet_resnet18, pdanet_resnet34"),
        ("", "pdanet_resnet18, pdanet_resnet34"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"Did you mean: {nearest}"):
        pdanet_tf.build_model(name)


def test_an_image_without_three_channels():
    with pytest.raises(ValueError, match="shape"):
        blank("fcn_resnet18")(np.zeros((1, 16, 16, 4), "float32"))
