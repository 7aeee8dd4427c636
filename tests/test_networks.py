"""Generator and discriminator: sizes, parameter counts, initial weights, classes."""

import pytest
import torch

from gan.config.settings import ModelConfig
from gan.config.sizes import num_levels
from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator

VALID_SIDES = [base << k for base in (4, 5, 6, 7) for k in range(2, 8) if base << k <= 512]


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("model", "shape", "g_count", "d_count"),
    [
        # those of the well-known DCGAN example of width 64 at 64x64 RGB
        ({}, (3, 64, 64), 3_576_704, 2_765_568),
        # by hand, the paper's 1024 channels at 4x4 and 5x5 kernels
        ({"g_width": 128, "d_width": 128, "kernel": 5}, (3, 64, 64), 18_855_040, 17_232_768),
        # by hand, 28x28: 100*128*49 + 2*128 + 128*64*16 + 2*64 + 64*16 and
        # 16*64 + 64*128*16 + 2*128 + 128*49
        ({}, (1, 28, 28), 759_680, 138_624),
        # by hand, as above with 2 classes: + 2*100 + 100*128*49 and + 2*128
        ({"conditional": True}, (1, 28, 28), 1_387_080, 138_880),
    ],
)
def test_parameter_counts(model: dict, shape: tuple, g_count: int, d_count: int) -> None:
    cfg = ModelConfig(**model)
    classes = 2 if cfg.conditional else 0
    assert count(Generator(cfg, shape, classes)) == g_count
    assert count(Discriminator(cfg, shape, classes)) == d_count


@pytest.mark.parametrize("upsample", ["transposed", "balanced", "resize", "subpixel", "reference"])
@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("size", [(16, 16), (28, 28), (64, 48), (48, 80)])
def test_discriminator_accepts_images_of_the_generator(
    upsample: str, kernel: int, size: tuple
) -> None:
    cfg = ModelConfig(upsample=upsample, kernel=kernel, g_width=2, d_width=2, z_dim=3)
    images = Generator(cfg, (3, *size))(torch.randn(2, 3))
    assert images.shape == (2, 3, *size)
    assert images.abs().max() <= 1
    assert Discriminator(cfg, (3, *size))(images).logits.shape == (2,)


@pytest.mark.parametrize("side", VALID_SIDES)
@pytest.mark.parametrize("stretch", [1, 2])
def test_shapes_agree_at_every_valid_size(side: int, stretch: int) -> None:
    cfg = ModelConfig(g_width=4, d_width=4)
    shape = (1, side, min(side * stretch, 512))
    with torch.device("meta"):  # shapes without memory
        images = Generator(cfg, shape).eval()(torch.zeros(2, 100))
        assert images.shape == (2, *shape)
        assert Discriminator(cfg, shape).eval()(images).logits.shape == (2,)
    assert side >> num_levels(*shape[1:]) in (4, 5, 6, 7)


def test_initial_weights_have_the_distributions_of_the_paper() -> None:
    torch.manual_seed(0)
    cfg = ModelConfig()
    for network in (Generator(cfg, (3, 64, 64)), Discriminator(cfg, (3, 64, 64))):
        convolutions = [p.flatten() for p in network.parameters() if p.dim() == 4]
        gains = torch.cat(
            [m.weight for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        )
        offsets = torch.cat(
            [m.bias for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        )
        weights = torch.cat(convolutions)
        assert abs(weights.mean()) < 1e-4
        assert abs(weights.std() - 0.02) < 1e-4
        assert abs((weights.abs() < 0.02).float().mean() - 0.6827) < 2e-3  # normal, not uniform
        assert abs(gains.mean() - 1) < 3e-3
        assert abs(gains.std() - 0.02) < 2e-3
        assert (offsets == 0).all()


def test_first_images_of_subpixel_upsampling_have_no_checkerboard() -> None:
    torch.manual_seed(0)
    g = Generator(ModelConfig(upsample="subpixel"), (3, 32, 32))
    images = g(torch.randn(4, 100))
    blocks = images.unfold(2, 2, 2).unfold(3, 2, 2)  # 2x2 blocks of equal pixels
    assert (blocks - blocks[..., :1, :1]).abs().max() < 1e-6


@pytest.mark.parametrize("kernel", [4, 5])
def test_a_balanced_layer_makes_no_pattern_of_a_constant_map(kernel: int) -> None:
    torch.manual_seed(0)
    made = {
        upsample: Generator(ModelConfig(upsample=upsample, kernel=kernel), (3, 32, 32)).layers[-2]
        for upsample in ("transposed", "balanced")
    }
    flat = torch.randn(1, 64, 1, 1).expand(1, 64, 16, 16)
    pattern, constant = (layer(flat)[..., 4:-4, 4:-4] for layer in made.values())
    assert constant.std((2, 3)).max() < 1e-5 < 0.01 < pattern.std((2, 3)).min()
    weight = made["balanced"].weight  # and the sum over all elements is the layer's own
    torch.testing.assert_close(
        made["balanced"].balanced().sum((2, 3)), weight.sum((2, 3)), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(made["balanced"].plain()(flat), made["balanced"](flat))


def test_reference_generator_equals_the_one_of_library_layers() -> None:
    torch.manual_seed(0)
    g = Generator(ModelConfig(), (3, 64, 64))
    reference = Generator(ModelConfig(upsample="reference"), (3, 64, 64))
    reference.load_state_dict(g.state_dict())
    z = torch.randn(4, 100)
    torch.testing.assert_close(reference(z), g(z), rtol=0, atol=1e-5)


def test_image_does_not_depend_on_the_batch_in_eval_mode() -> None:
    torch.manual_seed(0)
    g = Generator(ModelConfig(), (1, 28, 28))
    z = torch.randn(8, 100)
    g(z)  # gives BatchNorm statistics
    g.eval()
    torch.testing.assert_close(g(z[3:4]), g(z)[3:4], rtol=0, atol=1e-6)


def test_class_changes_image_and_logit() -> None:
    torch.manual_seed(0)
    cfg = ModelConfig(conditional=True, g_width=8, d_width=8)
    g, d = Generator(cfg, (1, 28, 28), 10).eval(), Discriminator(cfg, (1, 28, 28), 10).eval()
    z = torch.randn(1, 100).expand(2, 100)
    labels = torch.tensor([3, 7])
    images = g(z, labels)
    assert (images[0] - images[1]).abs().max() > 1e-3
    logits = d(images[:1].expand(2, -1, -1, -1), labels).logits
    assert abs(logits[0] - logits[1]) > 1e-6


def test_first_images_depend_more_on_the_latent_than_on_the_class() -> None:
    torch.manual_seed(0)
    g = Generator(ModelConfig(conditional=True), (1, 32, 32), 10)
    z, labels = torch.randn(64, 100), torch.arange(64) % 10
    images = g(z, labels)  # the batch's own statistics
    by_noise = (g(z.flip(0), labels) - images).square().mean()
    by_class = (g(z, labels.flip(0)) - images).square().mean()
    assert by_noise > 4 * by_class > 0


def test_class_does_not_dominate_the_first_logits() -> None:
    torch.manual_seed(0)
    d = Discriminator(ModelConfig(conditional=True), (1, 32, 32), 10)
    logits = d(torch.randn(64, 1, 32, 32), torch.arange(64) % 10).logits
    assert logits.abs().max() < 5


def test_extra_layers_of_d_keep_the_size_and_come_before_the_head() -> None:
    plain = Discriminator(ModelConfig(d_width=4), (3, 32, 32))
    deeper = Discriminator(ModelConfig(d_width=4, d_extra_layers=2), (3, 32, 32))
    assert [*map(str, deeper.features[: len(plain.features)])] == [*map(str, plain.features)]
    convs = [m for m in deeper.features[len(plain.features) :] if isinstance(m, torch.nn.Conv2d)]
    assert [conv.weight.shape for conv in convs] == [(16, 16, 3, 3)] * 2
    assert deeper(torch.randn(5, 3, 32, 32)).logits.shape == (5,)


def test_black_border_is_that_of_a_black_frame_around_the_image() -> None:
    grey, black = (
        Discriminator(ModelConfig(d_width=4, d_border=border), (3, 16, 16)).features[0]
        for border in ("grey", "black")
    )
    black.load_state_dict(grey.state_dict())
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    framed = torch.full((2, 3, 20, 20), -1.0)  # grey's own padding meets two rows of the frame
    framed[:, :, 2:-2, 2:-2] = images
    torch.testing.assert_close(black(images), grey(framed)[:, :, 1:-1, 1:-1])
    assert black(images).shape == grey(images).shape


def test_length_of_class_vectors_does_not_change_images() -> None:
    g = Generator(ModelConfig(conditional=True, g_width=4, z_dim=8), (1, 16, 16), 3).eval()
    z, labels = torch.randn(6, 8), torch.arange(6) % 3
    with torch.no_grad():
        before = g(z, labels)
        g.embedding.weight *= 30
        torch.testing.assert_close(g(z, labels), before)
        assert not torch.allclose(g(z, labels.flip(0)), before)
