"""Operations: tensors in, tensors out. The only place below the models that may use TensorFlow."""
