"""The code of the lesson on GANs, for its figures; a test compares it with the pages."""

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


def d_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Returns what D minimises."""
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def g_loss(fake_logits: Tensor) -> Tensor:
    """Returns what G minimises: the non-saturating loss."""
    return softplus(-fake_logits).mean()


def one_step(
    g: nn.Module,
    d: nn.Module,
    g_optim: torch.optim.Optimizer,
    d_optim: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
) -> dict[str, float]:
    """Updates D once, then G; returns both losses and D's mean outputs."""
    fake = g(z)

    real_logits, fake_logits = d(real), d(fake.detach())
    loss_d = d_loss(real_logits, fake_logits)
    d_optim.zero_grad()
    loss_d.backward()
    d_optim.step()

    d.requires_grad_(False)
    loss_g = g_loss(d(fake))
    g_optim.zero_grad()
    loss_g.backward()
    g_optim.step()
    d.requires_grad_(True)

    outputs = real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()
    values = [value.item() for value in (loss_d, loss_g, *outputs)]
    return dict(zip(["loss/d", "loss/g", "d/real", "d/fake"], values, strict=True))


def circle(angle: Tensor) -> Tensor:
    """Returns points (N, 2) on a circle of radius 2."""
    return 2 * torch.stack([angle.cos(), angle.sin()], dim=1)


def real_points(num: int) -> Tensor:
    """Returns points (N, 2) of eight clusters on the circle."""
    cluster = torch.randint(8, (num,))
    return circle(cluster * math.pi / 4) + 0.2 * torch.randn(num, 2)


def mlp(num_in: int, num_out: int) -> nn.Sequential:
    """Returns a network with two hidden layers."""
    return nn.Sequential(
        nn.Linear(num_in, 64),
        nn.LeakyReLU(0.2),
        nn.Linear(64, 64),
        nn.LeakyReLU(0.2),
        nn.Linear(64, num_out),
    )


def train(
    num_steps: int, g_rate: float = 0.002, beta1: float = 0.5
) -> Iterator[tuple[nn.Module, nn.Module, nn.Module, dict[str, float]]]:
    """Trains new networks; yields G, D, the average of G and the values after each step."""
    g, d = mlp(8, 2), mlp(2, 1)
    g_ema = copy.deepcopy(g)
    g_optim = torch.optim.Adam(g.parameters(), g_rate, (beta1, 0.999))
    d_optim = torch.optim.Adam(d.parameters(), 0.002, (beta1, 0.999))
    for _ in range(num_steps):
        values = one_step(g, d, g_optim, d_optim, real_points(64), torch.randn(64, 8))
        with torch.no_grad():
            for average, weight in zip(g_ema.parameters(), g.parameters(), strict=True):
                average.lerp_(weight, 0.01)
        yield g, d, g_ema, values


def sample(g: nn.Module, num: int) -> Tensor:
    """Returns points (N, 2)."""
    with torch.no_grad():
        return g(torch.randn(num, 8))


def num_modes(points: Tensor) -> int:
    """Returns how many clusters have at least 2 % of the points (N, 2)."""
    centres = circle(torch.arange(8) * math.pi / 4)
    near = torch.cdist(points, centres) < 0.6
    return int((near.float().mean(dim=0) >= 0.02).sum())


def play(beta1: float) -> Tensor:
    """Returns the path (300, 2) of a game: x makes x * y small, y makes it large."""
    x, y = torch.tensor(1.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    x_optim = torch.optim.Adam([x], 0.05, (beta1, 0.999))
    y_optim = torch.optim.Adam([y], 0.05, (beta1, 0.999))
    path = []
    for _ in range(300):
        y.grad = -x.detach()
        y_optim.step()
        x.grad = y.detach()
        x_optim.step()
        path.append([x.item(), y.item()])
    return torch.tensor(path)
