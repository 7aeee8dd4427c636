"""Generators to use without training: shipped ones, and folders in the layout of model hubs."""

from gan.pretrained.load import load_generator as load_generator
