"""Loading checkpoints of the reference's PyTorch code: the public face of `weights.torch`."""

from pdanet_tf.weights.torch import (
    load_torch_backbone,
    load_torch_state_dict,
    read_torch_file,
    torch_names,
    torch_stem,
)

__all__ = [
    "load_torch_backbone",
    "load_torch_state_dict",
    "read_torch_file",
    "torch_names",
    "torch_stem",
]
