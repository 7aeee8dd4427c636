"""One training step: an update of D, then an update of G.

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
from gan.nn.augment import as_d_sees, draw_augmentation
from gan.nn.discriminator import Logits
from gan.nn.losses import LOSSES
from gan.training.state import TrainState

# the passes of a step through D; each has augmentation draws of its own
_PASSES = ("real", "fake", "fake_again")
_STREAMS = 4  # of augmentation draws, per step; three are used


def one_step(
    state: TrainState, cfg: Config, images: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """Updates D and G once on uint8 images (N, C, H, W) and advances the counts.

    Returns the values of both updates; on a GPU the next step overwrites them.
    """
    _set_learning_rates(state, cfg.train)
    inputs = _inputs(state, cfg, images, labels)
    if state.replay:
        values = state.replay(partial(_update, state, cfg), inputs)
    else:
        values = _update(state, cfg, inputs)
    _update_average(state, ema_decay(cfg.train, state.images_seen))
    state.step += 1
    state.images_seen += cfg.train.batch_size
    return values


def _inputs(
    state: TrainState, cfg: Config, images: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """Returns all tensors that change from step to step, besides the networks, on the device."""
    train, ranks = cfg.train, state.ranks
    z = draw_latents(train.batch_size, cfg.model, seed=train.seed, step=state.step, purpose="train")
    inputs = {"images": images, "z": z.chunk(ranks.world_size)[ranks.rank]}
    if state.g.num_classes and labels is not None:
        # each fake gets the class of a real image, so both have the data's class frequencies
        inputs["labels"] = labels
    if train.augment or train.colour_noise:
        inputs["augmentation"] = _augmentation(state, cfg)
    return {name: send(tensor, state.device) for name, tensor in inputs.items()}


def _update(state: TrainState, cfg: Config, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Updates D, then G. G runs once: D sees its images detached, G is trained on the same ones."""
    real = inputs["images"].float().div_(127.5).sub_(1)
    real = real.contiguous(memory_format=state.precision.layout)
    labels, draws = inputs.get("labels"), inputs.get("augmentation")
    with autocast(state.precision, state.device):
        fake = state.g(inputs["z"], labels).float()  # (N, C, H, W)
    d_values = d_step(state, cfg, real, fake, labels, draws)
    return d_values | g_step(state, cfg, fake, labels, draws)


def d_step(
    state: TrainState,
    cfg: Config,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None,
    draws: Tensor | None = None,
) -> dict[str, Tensor]:
    """Updates D once on real images and detached fakes. Returns scalars, and the logits (N,)."""
    with autocast(state.precision, state.device):  # one block, so that weights are cast once
        real_logits, class_logits = _score(state.d, cfg, real, labels, draws, "real")
        fake_logits, _ = _score(state.d, cfg, fake.detach(), labels, draws, "fake")
    loss = LOSSES[cfg.train.loss].d(real_logits, fake_logits)
    values = {"loss/d": loss.detach()}
    if cfg.train.class_loss_weight and class_logits is not None and labels is not None:
        class_loss = cross_entropy(class_logits, labels)
        values["loss/classes"] = class_loss.detach()
        loss = loss + cfg.train.class_loss_weight * class_loss
    state.d_optim.zero_grad()
    loss.backward()
    average_gradients(state.d, state.ranks)
    state.d_optim.step()
    return values | _d_outputs(real_logits.detach(), fake_logits.detach())


def _d_outputs(real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
    correct = (real_logits > 0).float().mean() + (fake_logits < 0).float().mean()
    return {
        "d/real": real_logits.sigmoid().mean(),
        "d/fake": fake_logits.sigmoid().mean(),
        "d/accuracy": correct / 2,
        "d/real_logits": real_logits,
        "d/fake_logits": fake_logits,
    }


def g_step(
    state: TrainState, cfg: Config, fake: Tensor, labels: Tensor | None, draws: Tensor | None = None
) -> dict[str, Tensor]:
    """Updates G once, through the graph of `fake`."""
    with frozen(state.d), autocast(state.precision, state.device):
        fake_logits, _ = _score(state.d, cfg, fake, labels, draws, "fake_again")
    loss = LOSSES[cfg.train.loss].g(fake_logits)
    state.g_optim.zero_grad()
    loss.backward()
    average_gradients(state.g, state.ranks)
    state.g_optim.step()
    return {"loss/g": loss.detach(), "d/fake_after": fake_logits.detach().sigmoid().mean()}


def ema_decay(train: TrainConfig, images_seen: int) -> float:
    """Returns the share of the average that one step keeps, from its half-life in images."""
    halflife = min(train.ema_halflife_images or 0, train.ema_warmup * images_seen)
    return 0.5 ** (train.batch_size / halflife) if halflife > 0 else 0.0


def augmented_share(train: TrainConfig, state: TrainState) -> float:
    """Returns the share of the images of a step that are augmented or get noise."""
    if train.augment_ramp_epochs is None:
        return 1.0
    return min(1.0, state.images_seen / (train.augment_ramp_epochs * state.num_images))


def learning_rates(train: TrainConfig, images_seen: int) -> tuple[float, float]:
    """Returns the learning rates of G and D after so many images."""
    halflife = train.learning_rate_halflife_images
    fall = 1.0 if halflife is None else 1 + images_seen / halflife
    return train.g_learning_rate / fall, train.d_learning_rate / fall


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Computes no gradients of the module's weights inside the block."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def _score(
    d: nn.Module,
    cfg: Config,
    images: Tensor,
    labels: Tensor | None,
    draws: Tensor | None,
    which_pass: str,
) -> Logits:
    """Returns D's logits of images, augmented and with noise if the config says so, in float32."""
    if draws is not None:
        images = as_d_sees(images, draws[_PASSES.index(which_pass)], cfg.train)
    logits, class_logits = d(images, labels)
    return Logits(logits.float(), None if class_logits is None else class_logits.float())


def _augmentation(state: TrainState, cfg: Config) -> Tensor:
    """Returns this rank's slice (R, 5, N) of the draws of the whole batch, for each pass."""
    train, share = cfg.train, augmented_share(cfg.train, state)
    draws = [
        draw_augmentation(
            train.batch_size,
            cfg.data.image_shape,
            rng(train.seed, state.step * _STREAMS + index, "augment"),
            share,
            train.translate_pixels,
            train.colour_noise or 0.0,
        )
        for index in range(len(_PASSES))
    ]
    return torch.stack(draws).chunk(state.ranks.world_size, dim=2)[state.ranks.rank]


@torch.no_grad()
def _update_average(state: TrainState, decay: float) -> None:
    """Moves the average towards G and copies G's buffers.

    The same as torch's AveragedModel, which would synchronise with a GPU at every step.
    """
    torch._foreach_lerp_([*state.g_ema.parameters()], [*state.g.parameters()], 1 - decay)
    torch._foreach_copy_([*state.g_ema.buffers()], [*state.g.buffers()])
    state.is_settled = False


def _set_learning_rates(state: TrainState, train: TrainConfig) -> None:
    rates = learning_rates(train, state.images_seen)
    for optim, rate in zip((state.g_optim, state.d_optim), rates, strict=True):
        for group in optim.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # a recorded step reads it from this memory
            else:
                group["lr"] = rate
