"""A deep convolutional GAN that trains, resumes, can be evaluated and can be understood."""

__version__ = "0.1.0"
