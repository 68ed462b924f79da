"""Names that options choose from. Importing them costs nothing, so the command line does."""

NORMALIZATIONS = ("torch", "caffe")  # of pixels, see `pdanet_tf.layers.PixelNormalization`
STEMS = ("deep", "7x7")  # of ResNets, see `pdanet_tf.backbones.resnet18`
OUTPUT_STRIDES = (8, 16, 32)  # of backbones
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")  # of training
INFERENCE_PRECISIONS = (*PRECISIONS, "bfloat16", "float16")
BENCHMARK_TASKS = ("predict", "train")
BENCHMARK_PRECISIONS = ("float32", "bfloat16", "float16")
BACKENDS = ("tensorflow", "jax", "torch")  # of Keras
DATASETS = ("ade20k", "camvid", "folder", "synthetic")
