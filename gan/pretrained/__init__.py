"""Generators to use without training: shipped ones, and folders in the layout of model hubs."""
