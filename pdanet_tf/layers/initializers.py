"""Initializers of the reference implementation (CSAIL's semantic-segmentation-pytorch).

Every function returns a new initializer: an instance draws the same numbers for every variable of
the same shape, so layers must not share one.
"""

import keras


def backbone_kernel() -> keras.initializers.Initializer:
    """Returns He's normal initializer on fan-out, for the kernels of backbones.

    Source: He et al. 2015, "Delving Deep into Rectifiers"; the reference draws the kernels of its
    backbones with a standard deviation of `sqrt(2 / (kernel_size ** 2 * filters))`.
    """
    return _he_normal("fan_out")


def head_kernel() -> keras.initializers.Initializer:
    """Returns He's normal initializer on fan-in, for the kernels of heads.

    Source: He et al. 2015, "Delving Deep into Rectifiers"; the reference draws the kernels of its
    heads with PyTorch's `kaiming_normal_`.
    """
    return _he_normal("fan_in")


def head_beta() -> keras.initializers.Initializer:
    """Returns the constant 1e-4, the initial shift of the batch norm of heads in the reference."""
    return keras.initializers.Constant(1e-4)


def _he_normal(mode: str) -> keras.initializers.Initializer:
    # Keras' `HeNormal` truncates the distribution; PyTorch does not.
    return keras.initializers.VarianceScaling(
        scale=2.0, mode=mode, distribution="untruncated_normal"
    )
