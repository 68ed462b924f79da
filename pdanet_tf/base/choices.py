"""The values that options choose from.

Importing this module imports neither Keras nor TensorFlow, so the command line's parser uses it.
"""

import difflib
from collections.abc import Sequence

NORMALIZATIONS = ("torch", "caffe")  # of pixels, see `pdanet_tf.layers.PixelNormalization`
STEMS = ("deep", "7x7", "v1c", "v1d")  # of ResNets, see `pdanet_tf.backbones.resnet18`
OUTPUT_STRIDES = (8, 16, 32)  # of backbones
BENCHMARK_TASKS = ("predict", "train")
BACKENDS = ("tensorflow", "jax", "torch")  # of Keras
DATASETS = ("ade20k", "camvid", "cityscapes", "folder", "synthetic", "voc")
EXPORT_FORMATS = ("saved_model", "onnx", "openvino", "litert")
RUNTIMES = ("tensorflow", "onnxruntime", "openvino")  # that run the network of a predictor
PROTOCOLS = ("tensorflow-serving", "open-inference")  # of servers
SIGNATURES = ("serving_default", "image")  # that a client asks for, of an exported model
SCHEMES = ("grpc", "grpcs", "http", "https")  # of the URL of a server
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("poly", "cosine", "constant")  # of the learning rate
LABEL_FORMATS = (  # of annotations, see `pdanet_tf.data.import_labels`
    "coco",
    "labelme",
    "cvat",
    "yolo",
    "voc",
    "colors",
    "binary",
    "masks",
    "pairs",
)
LABEL_OVERLAPS = ("larger-first", "file-order")  # of shapes
UNLABELLED_AREAS = ("background", "ignore")  # what pixels of no shape are
LOSS_SIZES = ("logits", "labels")  # at which the loss is computed
CLASS_WEIGHTS = ("balanced", "median-frequency", "log")  # computed from the training annotations

# The names of precisions are those of Keras' dtype policies:
#
# name             variables   computation
# float32          float32     float32
# mixed_bfloat16   float32     bfloat16
# mixed_float16    float32     float16; training scales the loss
# bfloat16         bfloat16    bfloat16; inference only
# float16          float16     float16; inference only
#
# Under each of them the logits, the softmax and the energies of attention are computed in float32,
# and the variables of batch norm and of classifiers are float32.
TRAINING_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
PRECISIONS = (*TRAINING_PRECISIONS, "bfloat16", "float16")


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Checks that a value is one of the known ones.

    Args:
        name: Name of the option, for the message.
        value: The value.
        known: The values that the option can have.

    Raises:
        ValueError: If it is not one of them; the message names the nearest known value.
    """
    if value in known:
        return
    near = difflib.get_close_matches(value.lower(), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"{name} must be one of {', '.join(known)}. Received: {name}={value!r}{hint}")


def check_precision(precision: str, training: bool) -> None:
    """Checks the name of a precision.

    Args:
        precision: The name.
        training: Whether a model is trained in it.

    Raises:
        ValueError: If it is not one of `PRECISIONS`; for training, of `TRAINING_PRECISIONS`.
    """
    known = TRAINING_PRECISIONS if training else PRECISIONS
    if precision in known:
        return
    received = f"Received: precision={precision!r}"
    if precision in PRECISIONS:
        raise ValueError(
            f"A model whose weights are {precision} is for inference only. Train with "
            f"precision='mixed_{precision}', which keeps float32 weights. {received}"
        )
    raise ValueError(f"precision must be one of {', '.join(known)}. {received}")
