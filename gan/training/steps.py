"""Owns one update of D and one of G.

Shapes: N images of this rank, (N, C, H, W) in [-1, 1]; labels (N,) or None.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gan.config import Config, TrainConfig
from gan.latents import draw_latents, rng
from gan.nn.augment import diffaugment
from gan.nn.losses import LOSSES, gradient_penalty
from gan.training.distributed import average_gradients
from gan.training.precision import autocast
from gan.training.state import TrainState


def one_step(
    state: TrainState, cfg: Config, images: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """Does one update of D and one of G on uint8 images (N, C, H, W) and counts them.

    Returns the values of both steps. G runs once: D learns from its detached images, then G from
    the same ones.
    """
    real = images.to(state.device, non_blocking=True).float().div_(127.5).sub_(1)
    real = real.contiguous(memory_format=state.precision.layout)
    # a fake gets the class of the real image beside it, so both have the data's classes
    y = labels.to(state.device) if cfg.model.conditional and labels is not None else None
    with autocast(state.precision, state.device):
        fake = state.g(_latents(state, cfg), y).float()  # (N, C, H, W)
    values = d_step(state, cfg, real, fake, y) | g_step(state, cfg, real, fake, y)
    state.step += 1
    state.images_seen += cfg.train.batch_size
    return values


def d_step(
    state: TrainState, cfg: Config, real: Tensor, fake: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """Updates D once; `fake` is taken detached. Returns scalars, and the logits (N/P,)."""
    needs_real = cfg.train.penalty != "none"
    needs_fake = cfg.train.penalty == "r1_r2"
    real = real.detach().requires_grad_(needs_real)
    fake = fake.detach().requires_grad_(needs_fake)
    with autocast(state.precision, state.device):
        real_logits = state.d(_seen(state, cfg, real, "real"), labels).float()
        fake_logits = state.d(_seen(state, cfg, fake, "fake"), labels).float()
    loss = LOSSES[cfg.train.loss].d(real_logits, fake_logits)
    values = {"loss/d": loss.detach()}
    if needs_real:
        penalty = gradient_penalty(real, real_logits)
        if needs_fake:
            penalty = penalty + gradient_penalty(fake, fake_logits)
        values["loss/penalty"] = penalty.detach()
        loss = loss + cfg.train.penalty_gamma * penalty
    state.d_optim.zero_grad()
    loss.backward()
    average_gradients(state.d, state.ranks)
    _set_learning_rate(state.d_optim, cfg.train.d_learning_rate, cfg.train, state.images_seen)
    state.d_optim.step()
    real_logits, fake_logits = real_logits.detach(), fake_logits.detach()
    correct = (real_logits > 0).float().mean() + (fake_logits < 0).float().mean()
    return values | {
        "d/real": real_logits.sigmoid().mean(),
        "d/fake": fake_logits.sigmoid().mean(),
        "d/accuracy": correct / 2,
        "d/real_logits": real_logits,
        "d/fake_logits": fake_logits,
    }


def g_step(
    state: TrainState, cfg: Config, real: Tensor, fake: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """Updates G once through `fake`, which still hangs on G's graph; then the average of G."""
    loss_of = LOSSES[cfg.train.loss]
    with frozen(state.d), autocast(state.precision, state.device):
        fake_logits = state.d(_seen(state, cfg, fake, "fake_again"), labels).float()
        real_logits = fake_logits.detach()
        if loss_of.g_needs_real:
            with torch.no_grad():
                real_logits = state.d(_seen(state, cfg, real, "real_again"), labels).float()
    loss = loss_of.g(real_logits, fake_logits)
    state.g_optim.zero_grad()
    loss.backward()
    average_gradients(state.g, state.ranks)
    _set_learning_rate(state.g_optim, cfg.train.g_learning_rate, cfg.train, state.images_seen)
    state.g_optim.step()
    state.g_ema.multi_avg_fn = get_ema_multi_avg_fn(ema_decay(cfg.train, state.images_seen))
    state.g_ema.update_parameters(state.g)
    return {"loss/g": loss.detach(), "d/fake_after": fake_logits.detach().sigmoid().mean()}


def ema_decay(train: TrainConfig, images_seen: int) -> float:
    """Returns the share of the average that one step keeps, from a half-life in images."""
    halflife = min(train.ema_halflife_images, train.ema_warmup * images_seen)
    return 0.5 ** (train.batch_size / halflife) if halflife > 0 else 0.0


def _latents(state: TrainState, cfg: Config) -> Tensor:
    """Returns this rank's slice (N, Z) of the step's latents."""
    model, train = cfg.model, cfg.train
    z = draw_latents(
        train.batch_size,
        model.z_dim,
        model.z_dist,
        seed=train.seed,
        step=state.step,
        purpose="train",
    )
    return z.chunk(state.ranks.world_size)[state.ranks.rank].to(state.device)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Spares the weight gradients of a module that only passes gradients on."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def _seen(state: TrainState, cfg: Config, images: Tensor, role: str) -> Tensor:
    """Returns the images as D sees them: augmented when asked."""
    if cfg.train.augment == "none":
        return images
    roles = ("real", "fake", "fake_again", "real_again")
    # every draw has a place of its own, also on several ranks
    place = (state.step * len(roles) + roles.index(role)) * state.ranks.world_size
    return diffaugment(images, rng(cfg.train.seed, place + state.ranks.rank, "augment"))


def _set_learning_rate(
    optim: torch.optim.Optimizer, start: float, train: TrainConfig, images_seen: int
) -> None:
    halflife = train.learning_rate_halflife_images
    rate = start if halflife is None else start / (1 + images_seen / halflife)
    for group in optim.param_groups:
        group["lr"] = rate
