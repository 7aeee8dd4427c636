"""A deep convolutional GAN that trains, resumes, can be judged and can be understood."""

__version__ = "0.1.0"
