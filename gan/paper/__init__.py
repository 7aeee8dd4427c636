"""The experiments of the DCGAN paper's sections 5 and 6. Shapes: N images, C channels, H x W
pixels, Z latent, F features, K classes or attributes, D numbers of an image."""
