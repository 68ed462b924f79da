"""Reads annotations of labelling tools, and writes them as a data set in a folder.

`importer` has the function that users call; each format has a module of its own, which returns
`source.Source`. Nothing here imports Keras or TensorFlow.
"""
