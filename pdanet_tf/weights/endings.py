"""The extensions of checkpoints of other packages."""

TORCH_ENDINGS = (".pth", ".pt", ".bin")
STATE_ENDINGS = (*TORCH_ENDINGS, ".safetensors", ".npz")
