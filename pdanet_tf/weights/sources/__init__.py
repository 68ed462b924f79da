"""Checkpoints of other packages: which model they hold, and their names of its weights.

A source is a package, or a family of published files, that names the weights of a network in its
own way. `pdanet_tf.weights.sources.checkpoint` has the functions for users and the list of all
sources. To add one:

1. Write `sources/NAME.py` with a `Source` (see `pdanet_tf.weights.sources.source`), made of
   functions. They see names and shapes only, and map name to name: nothing by position, nothing by
   force. `sources/resnet.py` has the names that PyTorch's ResNets share. Add it to `SOURCES` in
   `sources/checkpoint.py`.
2. If the network differs from ours, write `models/variants/NAME.py`, which registers it with
   `pdanet_tf.models.registry.register_variant`. Import the module in `models/variants/__init__.py`,
   and list the variant in `pdanet_tf.base.catalog`.
3. Add its row to the table of `docs/checkpoints.md`, with the difference that was measured.
"""

from pdanet_tf.base.lazy import lazy_attributes

__getattr__ = lazy_attributes(__name__)
