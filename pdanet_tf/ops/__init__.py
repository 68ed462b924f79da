"""Operations: tensors in, tensors out. The only place below the models that may use TensorFlow."""

from pdanet_tf.base.lazy import lazy_attributes

__getattr__ = lazy_attributes(__name__)
