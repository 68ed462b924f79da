"""`get_config` of every registered class returns every argument of its constructor."""

import importlib
import inspect
import pkgutil

import keras
import pytest

import pdanet_tf
from pdanet_tf import layers, losses, metrics, optimizers
from pdanet_tf.layers.batch_norm import BatchNorm

# What the losses of the package have in common.
LOSS = {"ignore_label": (2, 3), "class_weights": (0.5, 2.0), "stride": 8, "first": 3.5}
# Every class with a value for each argument of its own constructor, if possible not the default.
ARGUMENTS = {
    layers.AdaptiveAveragePooling: {"output_size": 3},
    layers.AtrousSpatialPyramidPooling: {"filters": 4, "dilation_rates": (2, 5)},
    layers.AttentionLevel: {
        "filters": 4,
        "reduction": 2,
        "channel_energy": "similar",
        "dropout": 0.3,
    },
    layers.AuxiliaryHead: {"num_classes": 3, "dropout": 0.3, "filters": 4, "spatial": False},
    BatchNorm: {"beta_initializer": "ones"},
    # `align_corners` excludes a stride; it is in the test of the layer.
    layers.BilinearDeconvolution: {"stride": 4, "crop": 3},
    layers.BilinearRescale: {"scale": 0.75},
    layers.BilinearResizeLike: {"stride": 8, "first": 3.5, "align_corners": False},
    layers.ChannelAttention: {"energy": "similar"},
    layers.Classifier: {"filters": 3, "kernel_size": (5, 5)},
    layers.ContextModule: {"variant": "basic", "noise": 0.5, "num_layers": 10, "pad_once": True},
    layers.ConvBatchNorm: {
        "filters": 4,
        "kernel_size": 5,
        "strides": 2,
        "dilation_rate": 1,  # Keras excludes another one with strides
        "activation": "tanh",
        "kernel_initializer": "ones",
        "beta_initializer": "ones",
    },
    layers.DeconvolutionSum: {"crop": 3},
    layers.DenseMaxPooling: {"dilation_rate": 3},
    layers.DepthwiseConvBatchNorm: {
        "filters": 4,
        "kernel_size": 5,
        "strides": 2,
        "dilation_rate": 1,
        "activation": "relu6",
        "kernel_initializer": "ones",
        "beta_initializer": "ones",
    },
    layers.DualAttention: {
        "filters": 4,
        "reduction": 2,
        "channel_energy": "similar",
        "dropout": 0.3,
        "logits": True,
    },
    layers.FeaturePyramid: {"filters": 4},
    layers.FullPrecisionConvBatchNorm: {
        "filters": 4,
        "kernel_size": 5,
        "strides": 1,
        "dilation_rate": 3,
        "activation": "tanh",
        "kernel_initializer": "ones",
        "beta_initializer": "ones",
    },
    layers.IdentityInitializer: {"num_classes": 3, "noise": 0.5, "seed": 7},
    layers.ImagePooling: {"filters": 4},
    layers.LocalResponseNormalization: {"size": 3, "alpha": 0.5, "beta": 0.25},
    layers.MaxPoolingWithMask: {},
    layers.MaxUnpooling: {},
    layers.PixelNormalization: {"normalization": "caffe", "mean": (1.0, 2.0), "std": (3.0, 4.0)},
    layers.PositionAttention: {"reduction": 2},
    layers.PyramidDualAttention: {
        "filters": 4,
        "pool_scales": (2, 5),
        "reduction": 2,
        "channel_energy": "similar",
        "dropout": 0.3,
        "upsample": False,
    },
    layers.PyramidFusion: {"filters": 4},
    layers.PyramidPooling: {"filters": 4, "pool_scales": (2, 5), "upsample": False},
    layers.ResizedConvBatchNorm: {"filters": 4},
    layers.ResizedPyramidPooling: {"filters": 4, "pool_scales": (2, 5)},
    layers.ReflectionPadding: {"padding": 3, "multiple": 4},
    layers.ScoreMaximum: {},
    layers.ScoreSum: {},
    layers.Stretched: {},
    losses.Dice: {**LOSS, "smooth": 0.5, "average": "all"},
    losses.Focal: {**LOSS, "gamma": 3.0},
    losses.Jaccard: {**LOSS, "smooth": 0.5, "average": "all"},
    losses.LovaszSoftmax: {**LOSS, "average": "all"},
    losses.OHEM: {**LOSS, "fraction": 0.5, "threshold": 0.25},
    losses.SegmentationCrossEntropy: {**LOSS, "label_smoothing": 0.5},
    losses.Tversky: {**LOSS, "alpha": 0.25, "beta": 0.75, "smooth": 0.5, "average": "all"},
    losses.WeightedSum: {
        "losses": [keras.saving.serialize_keras_object(losses.Dice(ignore_label=3))],
        "weights": [0.5],
    },
    metrics.MeanIoU: {
        "num_classes": 4,
        "ignore_label": 3,
        "average": "present",
        "stride": 8,
        "first": 0.5,
    },
    metrics.PixelAccuracy: {"num_classes": 4, "ignore_label": 3, "stride": 8, "first": 0.5},
    optimizers.Adam: {
        "learning_rate": 0.5,
        "beta_1": 0.25,
        "beta_2": 0.75,
        "epsilon": 0.5,
        "weight_decay": 0.125,
        "rate_factors": {"stem": 0.25},
        "decay_attention_scales": False,
    },
    optimizers.AdamW: {
        "learning_rate": 0.5,
        "beta_1": 0.25,
        "beta_2": 0.75,
        "epsilon": 0.5,
        "weight_decay": 0.125,
        "rate_factors": {"stem": 0.25},
        "decay_attention_scales": False,
    },
    optimizers.LinearWarmup: {"schedule": 0.5, "steps": 3},
    optimizers.SGD: {
        "learning_rate": 0.5,
        "momentum": 0.25,
        "nesterov": True,
        "weight_decay": 0.125,
        "rate_factors": {"stem": 0.25},
        "decay_attention_scales": False,
    },
}
# What all classes of a kind take besides, with values that are no default.
COMMON = {
    keras.layers.Layer: {"name": "own", "trainable": False, "dtype": "float64"},
    keras.losses.Loss: {"name": "own", "reduction": "sum", "dtype": "float64"},
    keras.metrics.Metric: {"name": "own", "dtype": "float64"},
    keras.optimizers.Optimizer: {
        "name": "own",
        "clipnorm": 0.5,
        "use_ema": True,
        "ema_momentum": 0.5,
        "gradient_accumulation_steps": 2,
    },
}


WITHOUT_CLASSES = ("__main__", "inference.beam", "demo.app", "demo.server", "cli.demo_models")


def registered():
    """Returns the classes of the package that are registered with Keras."""
    for module in pkgutil.walk_packages(pdanet_tf.__path__, "pdanet_tf."):
        # Apache Beam and Starlette, optional packages, have no part in classes of Keras.
        if not module.name.endswith(WITHOUT_CLASSES):
            importlib.import_module(module.name)
    known = keras.saving.get_custom_objects().values()
    return {each for each in known if each.__module__.startswith("pdanet_tf.")}


def own_arguments(cls):
    """Returns the arguments of the first constructor that does not hand on all it is given."""
    for each in cls.__mro__:
        parameters = inspect.signature(each.__init__).parameters.values()
        if "__init__" not in vars(each) or any(p.kind is p.VAR_POSITIONAL for p in parameters):
            continue
        if not each.__module__.startswith("pdanet_tf."):
            return set()  # the configuration is Keras'
        return {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD} - {"self"}
    raise AssertionError(cls)


def test_every_registered_class_is_here():
    assert registered() == set(ARGUMENTS)


@pytest.mark.parametrize("cls", ARGUMENTS, ids=lambda cls: cls.__name__)
def test_every_argument_is_in_the_config(cls):
    own = ARGUMENTS[cls]
    common = next((values for kind, values in COMMON.items() if issubclass(cls, kind)), {})
    assert own_arguments(cls) <= own.keys() | common.keys()
    given = {**own, **common}
    thing = cls(**given)
    config = thing.get_config()
    assert given.keys() <= config.keys()
    for name, value in given.items():  # a constant in the configuration is noticed
        found = config[name]
        if isinstance(found, dict) and found != value:  # of a dtype policy or an initializer
            found = found["config"].get("name") or found["class_name"].lower()
        assert found == value, name
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(thing))
    assert type(twin) is cls
    assert twin.get_config() == config
