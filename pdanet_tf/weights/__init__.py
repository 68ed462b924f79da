"""Weights: from files, from the network, and from other libraries, name to name."""
