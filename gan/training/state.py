"""The state of a run between two steps, and its conversion to and from a checkpoint."""

import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from gan.checkpoint import BadCheckpoint, Checkpoint, check_tensors
from gan.config.reader import identity
from gan.config.settings import Config
from gan.latents import draw_labels, draw_latents
from gan.machine.precision import Precision, autocast, processor
from gan.machine.ranks import Ranks
from gan.machine.replay import Replay
from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator

_NORM_BATCHES, _NORM_BATCH = 16, 64  # the images that BatchNorm statistics are estimated from


@dataclass
class TrainState:
    """Networks, average of G, optimizers and counts."""

    g: Generator
    d: Discriminator
    g_ema: Generator  # in eval mode
    g_optim: torch.optim.Adam
    d_optim: torch.optim.Adam
    device: torch.device
    precision: Precision
    ranks: Ranks = field(default_factory=Ranks)
    step: int = 0
    images_seen: int = 0
    num_images: int = 1  # of the training set
    is_settled: bool = False  # whether g_ema has BatchNorm statistics of its own
    replay: Replay | None = None  # of steps on a GPU


def make_state(
    cfg: Config,
    num_classes: int,
    device: torch.device,
    precision: Precision,
    ranks: Ranks | None = None,
    num_images: int = 1,
) -> TrainState:
    """Builds the state at step 0; its weights depend on train.seed, and a little on the CPU."""
    ranks = ranks or Ranks()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.train.seed)
        g = Generator(cfg.model, cfg.data.image_shape, num_classes)
        d = Discriminator(cfg.model, cfg.data.image_shape, num_classes)
    for network in (g, d):
        network.to(device, memory_format=precision.layout)  # type: ignore[call-overload]
    return TrainState(
        g=g,
        d=d,
        g_ema=copy.deepcopy(g).eval().requires_grad_(False),
        g_optim=_adam(g, cfg.train.g_learning_rate, cfg),
        d_optim=_adam(d, cfg.train.d_learning_rate, cfg),
        device=device,
        precision=precision,
        ranks=ranks,
        num_images=num_images,
        # averaging gradients over ranks has not been tried inside a graph
        replay=Replay() if device.type == "cuda" and ranks.world_size == 1 else None,
    )


def num_parameters(network: nn.Module) -> int:
    """Returns the number of trainable values."""
    return sum(parameter.numel() for parameter in network.parameters())


def settle(state: TrainState, cfg: Config) -> None:
    """Gives the average of G BatchNorm statistics of its own, once per step.

    Until then it has G's, which belong to other weights. The new ones are estimated from fixed
    latents, so they are a function of the average alone. Whoever shows, evaluates or saves the
    average calls this first.
    """
    if state.is_settled:
        return
    if cfg.train.ema_halflife_images:  # without it the average is G itself
        # update_bn passes one input; G takes two
        unpack = state.g_ema.register_forward_pre_hook(lambda _, inputs: inputs[0])
        with unpack, autocast(state.precision, state.device):
            update_bn(_norm_batches(state, cfg), state.g_ema)
    state.is_settled = True


def _norm_batches(state: TrainState, cfg: Config) -> Iterator[tuple[tuple[Tensor, Tensor | None]]]:
    seed = cfg.train.seed
    for batch in range(_NORM_BATCHES):
        z = draw_latents(_NORM_BATCH, cfg.model, seed=seed, step=batch, purpose="norm")
        labels = draw_labels(_NORM_BATCH, state.g.num_classes, seed=seed, step=batch,
                             purpose="norm_labels")  # fmt: skip
        yield ((z.to(state.device), None if labels is None else labels.to(state.device)),)


def to_checkpoint(
    state: TrainState, cfg: Config, classes: tuple[str, ...], data: str
) -> Checkpoint:
    """Returns the state as a checkpoint; `data` is the checksum of the packed images.

    It is a function of the identifying settings, the step and the environment, not of the clock.
    """
    settle(state, cfg)
    return Checkpoint(
        config=identity(cfg),
        classes=list(classes),
        data=data,
        step=state.step,
        images_seen=state.images_seen,
        environment=environment(state),
        g=state.g.state_dict(),
        d=state.d.state_dict(),
        g_ema=state.g_ema.state_dict(),
        g_optim=state.g_optim.state_dict(),
        d_optim=state.d_optim.state_dict(),
    )


def environment(state: TrainState) -> dict[str, Any]:
    """Returns what decides the bits of a run besides its config."""
    return {
        "torch": str(torch.__version__),
        "device": state.device.type,
        "processor": processor(state.device),
        "precision": state.precision.recorded,
        "world_size": state.ranks.world_size,
    }


def restore(state: TrainState, checkpoint: Checkpoint) -> None:
    """Loads a checkpoint into a state. Raises BadCheckpoint, saying what does not match."""
    load_networks(state, checkpoint)
    if checkpoint.step:
        _load_moments(state.g_optim, checkpoint.g_optim, "g_optim")
        _load_moments(state.d_optim, checkpoint.d_optim, "d_optim")
    state.step = checkpoint.step
    state.images_seen = checkpoint.images_seen
    state.is_settled = True  # as all saved averages are


def load_networks(state: TrainState, checkpoint: Checkpoint) -> None:
    """Loads the networks alone. Raises BadCheckpoint, saying what does not match."""
    for name, module in _networks(state).items():
        weights = getattr(checkpoint, name)
        check_tensors(module.state_dict(), weights, name)
        module.load_state_dict(weights)


def _networks(state: TrainState) -> dict[str, nn.Module]:
    return {"g": state.g, "d": state.d, "g_ema": state.g_ema}


def _load_moments(optim: torch.optim.Optimizer, saved: dict[str, Any], name: str) -> None:
    parameters = [p for group in optim.param_groups for p in group["params"]]
    state = saved.get("state")
    if not isinstance(state, dict) or state.keys() != set(range(len(parameters))):
        raise BadCheckpoint(f"{name}: moments of Adam are missing")
    for index, parameter in enumerate(parameters):
        own = {"step": torch.tensor(0.0), "exp_avg": parameter, "exp_avg_sq": parameter}
        check_tensors(own, state[index], f"{name}.{index}")
    # learning rates and the kind of update are this run's and this machine's
    groups = optim.state_dict()["param_groups"]
    optim.load_state_dict({"state": state, "param_groups": groups})
    for parameter, moments in optim.state.items():
        for key in ("exp_avg", "exp_avg_sq"):
            # the fused update needs weights and moments in one memory layout
            moments[key] = torch.empty_like(parameter).copy_(moments[key])


def all_finite(state: TrainState) -> bool:
    """Tells whether every weight, buffer and moment is finite."""
    tensors = [t for module in _networks(state).values() for t in module.state_dict().values()]
    for optim in (state.g_optim, state.d_optim):
        tensors += [t for moments in optim.state.values() for t in moments.values()]
    floats = [t for t in tensors if t.is_floating_point()]
    return bool(torch.stack([t.isfinite().all().to(state.device) for t in floats]).all())


class Adam(torch.optim.Adam):
    """torch's Adam without the decorators that import torch's compiler, which takes 3 s."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


def _adam(module: nn.Module, learning_rate: float, cfg: Config) -> torch.optim.Adam:
    betas = (cfg.train.beta1, cfg.train.beta2)
    device = next(module.parameters()).device
    if device.type != "cuda":
        return Adam(module.parameters(), learning_rate, betas, fused=True)
    rate = torch.tensor(learning_rate, device=device)  # a recorded step reads it from this memory
    return Adam(module.parameters(), rate, betas, fused=True, capturable=True)
