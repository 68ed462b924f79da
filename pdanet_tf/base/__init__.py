"""What every room uses. It imports neither Keras nor TensorFlow."""
