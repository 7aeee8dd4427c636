"""`TransposedConv2d` as a replacement for `nn.ConvTranspose2d`."""

import pytest
import torch
from torch import nn

from gan.nn.transposed_conv import TransposedConv2d

LAYERS = [
    ((6, 4, 3), {}),
    ((6, 4, (3, 5)), {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 2}),
    ((6, 4), {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False, "dilation": 2}),
]


@pytest.mark.parametrize(("sizes", "settings"), LAYERS)
def test_weights_checkpoints_and_results_equal_pytorchs(sizes: tuple, settings: dict) -> None:
    torch.manual_seed(0)
    theirs = nn.ConvTranspose2d(*sizes, **settings, dtype=torch.float64)
    torch.manual_seed(0)
    ours = TransposedConv2d(*sizes, **settings, dtype=torch.float64)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), atol=0, rtol=0)
    torch.manual_seed(1)
    other = TransposedConv2d(*sizes, **settings, dtype=torch.float64)
    other.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(other(x), theirs(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(other(x[0]), theirs(x[0]), atol=1e-12, rtol=0)
    assert other(x).is_contiguous()


def test_layer_does_not_accept_an_output_size() -> None:
    layer = TransposedConv2d(3, 4, 3, stride=2, padding=1)
    with pytest.raises(TypeError, match="output_size"):
        layer(torch.zeros(2, 3, 4, 5), output_size=(8, 10))


def test_layer_accepts_zero_padding_only() -> None:
    with pytest.raises(ValueError, match="zeros"):
        TransposedConv2d(1, 1, 3, padding_mode="reflect")


def test_layer_can_be_built_on_the_meta_device() -> None:
    assert TransposedConv2d(1, 1, 3, device="meta").weight.is_meta


def test_layers_run_in_half_precision_under_autocast() -> None:
    torch.manual_seed(0)
    # two layers: the second gets half precision inputs but has float32 weights
    layers = nn.Sequential(*(TransposedConv2d(8, 8, 4, stride=2, padding=1) for _ in range(2)))
    x = torch.randn(2, 8, 5, 5)
    exact = layers(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layers(x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, atol=0.02, rtol=0.02)
