"""Owns one update of D and one of G.

Shapes: N images of this rank, (N, C, H, W) in [-1, 1]; labels (N,) or None.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan.config.settings import Config, TrainConfig
from gan.latents import draw_latents, rng
from gan.machine.precision import autocast, send
from gan.machine.ranks import average_gradients
from gan.nn.augment import AUGMENTATIONS, draw_augmentation
from gan.nn.discriminator import Judgement
from gan.nn.losses import LOSSES, gradient_penalty
from gan.training.state import TrainState

_ROLES = ("real", "fake", "fake_again", "real_again")  # in which D sees images


def one_step(
    state: TrainState, cfg: Config, images: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """Does one update of D and one of G on uint8 images (N, C, H, W) and counts them.

    Returns the values of both steps; those of a GPU are overwritten by the next step.
    """
    _set_learning_rates(state, cfg.train)
    inputs = _inputs(state, cfg, images, labels)
    if state.replay:
        values = state.replay(partial(_update, state, cfg), inputs)
    else:
        values = _update(state, cfg, inputs)
    _average(state, ema_decay(cfg.train, state.images_seen))
    state.step += 1
    state.images_seen += cfg.train.batch_size
    return values


def _inputs(
    state: TrainState, cfg: Config, images: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """Returns all that differs from step to step but the networks, on the device."""
    inputs = {"images": images, "z": _latents(state, cfg)}
    if cfg.model.conditional and labels is not None:
        # a fake gets the class of the real image beside it, so both have the data's classes
        inputs["labels"] = labels
    if cfg.train.augment != "none":
        inputs["augmentation"] = _augmentation(state, cfg)
    return {name: send(tensor, state.device) for name, tensor in inputs.items()}


def _update(state: TrainState, cfg: Config, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Updates D, then G. G runs once: D learns from its detached images, G from the same ones."""
    real = inputs["images"].float().div_(127.5).sub_(1)
    real = real.contiguous(memory_format=state.precision.layout)
    y, draws = inputs.get("labels"), inputs.get("augmentation")
    with autocast(state.precision, state.device):
        fake = state.g(inputs["z"], y).float()  # (N, C, H, W)
    return d_step(state, cfg, real, fake, y, draws) | g_step(state, cfg, real, fake, y, draws)


def d_step(
    state: TrainState,
    cfg: Config,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None,
    draws: Tensor | None = None,
) -> dict[str, Tensor]:
    """Updates D once; `fake` is taken detached. Returns scalars, and the logits (N/P,)."""
    needs_real = cfg.train.penalty != "none"
    needs_fake = cfg.train.penalty == "r1_r2"
    real = real.detach().requires_grad_(needs_real)
    fake = fake.detach().requires_grad_(needs_fake)
    with autocast(state.precision, state.device):  # once, so that weights are cast once
        real_logits, classes = _judge(state.d, cfg, real, labels, draws, "real")
        fake_logits, _ = _judge(state.d, cfg, fake, labels, draws, "fake")
    loss = LOSSES[cfg.train.loss].d(real_logits, fake_logits)
    values = {"loss/d": loss.detach()}
    if cfg.train.class_loss_weight and classes is not None and labels is not None:
        naming = cross_entropy(classes, labels)
        values["loss/classes"] = naming.detach()
        loss = loss + cfg.train.class_loss_weight * naming
    if needs_real:
        penalty = gradient_penalty(real, real_logits)
        if needs_fake:
            penalty = penalty + gradient_penalty(fake, fake_logits)
        values["loss/penalty"] = penalty.detach()
        loss = loss + cfg.train.penalty_gamma * penalty
    state.d_optim.zero_grad()
    loss.backward()
    average_gradients(state.d, state.ranks)
    state.d_optim.step()
    return values | _opinions(real_logits.detach(), fake_logits.detach())


def _opinions(real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
    correct = (real_logits > 0).float().mean() + (fake_logits < 0).float().mean()
    return {
        "d/real": real_logits.sigmoid().mean(),
        "d/fake": fake_logits.sigmoid().mean(),
        "d/accuracy": correct / 2,
        "d/real_logits": real_logits,
        "d/fake_logits": fake_logits,
    }


def g_step(
    state: TrainState,
    cfg: Config,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None,
    draws: Tensor | None = None,
) -> dict[str, Tensor]:
    """Updates G once through `fake`, which still hangs on G's graph."""
    loss_of = LOSSES[cfg.train.loss]
    with frozen(state.d), autocast(state.precision, state.device):
        fake_logits, _ = _judge(state.d, cfg, fake, labels, draws, "fake_again")
        real_logits = fake_logits.detach()
        if loss_of.g_needs_real:
            with torch.no_grad():
                real_logits, _ = _judge(state.d, cfg, real, labels, draws, "real_again")
    loss = loss_of.g(real_logits, fake_logits)
    state.g_optim.zero_grad()
    loss.backward()
    average_gradients(state.g, state.ranks)
    state.g_optim.step()
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
    return z.chunk(state.ranks.world_size)[state.ranks.rank]


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Spares the weight gradients of a module that only passes gradients on."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def _augmentation(state: TrainState, cfg: Config) -> Tensor:
    """Returns this rank's draws of the step (R, 7, N), for each role that images are seen in."""
    num = cfg.train.batch_size // state.ranks.world_size
    used = _ROLES if LOSSES[cfg.train.loss].g_needs_real else _ROLES[:-1]
    draws = []
    for role in range(len(used)):
        # every draw has a place of its own, also on several ranks
        place = (state.step * len(_ROLES) + role) * state.ranks.world_size + state.ranks.rank
        stream = rng(cfg.train.seed, place, "augment")
        draws.append(draw_augmentation(num, cfg.data.image_shape, stream))
    return torch.stack(draws)


def _judge(
    d: nn.Module,
    cfg: Config,
    images: Tensor,
    labels: Tensor | None,
    draws: Tensor | None,
    role: str,
) -> Judgement:
    """Returns in float32 what D says of images, augmented when asked."""
    if draws is not None:
        images = AUGMENTATIONS[cfg.train.augment](images, draws[_ROLES.index(role)])
    logits, classes = d(images, labels)
    return Judgement(logits.float(), None if classes is None else classes.float())


@torch.no_grad()
def _average(state: TrainState, decay: float) -> None:
    """Moves the average towards G; its buffers are G's.

    As torch's AveragedModel does, which would have the CPU wait for a GPU at every step.
    """
    torch._foreach_lerp_([*state.g_ema.parameters()], [*state.g.parameters()], 1 - decay)
    torch._foreach_copy_([*state.g_ema.buffers()], [*state.g.buffers()])


def learning_rates(train: TrainConfig, images_seen: int) -> tuple[float, float]:
    """Returns those of G and D after so many images."""
    halflife = train.learning_rate_halflife_images
    fall = 1.0 if halflife is None else 1 + images_seen / halflife
    return train.g_learning_rate / fall, train.d_learning_rate / fall


def _set_learning_rates(state: TrainState, train: TrainConfig) -> None:
    rates = learning_rates(train, state.images_seen)
    for optim, rate in zip((state.g_optim, state.d_optim), rates, strict=True):
        for group in optim.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # in the place that a recorded step reads
            else:
                group["lr"] = rate
