"""Tests that need a CUDA GPU; skipped without one."""

import dataclasses
import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from gan.checkpoint import newest_checkpoint
from gan.config.settings import Config
from gan.data.batches import batches, resident, streamed
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.machine.precision import choose_precision, send
from gan.pretrained.load import load_generator
from gan.training.loop import train
from gan.training.state import TrainState, make_state
from gan.training.steps import d_step, g_step, one_step
from tests.conftest import tiny_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU, CPU = torch.device("cuda"), torch.device("cpu")


def state_of(cfg: Config, device: torch.device = GPU, **precision: object) -> TrainState:
    chosen = dataclasses.replace(choose_precision(cfg.hardware, device), **precision)
    return make_state(cfg, 10, device, chosen)


def images(num: int = 8, size: int = 16) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    while True:
        yield torch.randint(0, 256, (num, 3, size, size), dtype=torch.uint8, generator=generator)


def after(state: TrainState, cfg: Config, steps: int) -> list[torch.Tensor]:
    for batch in itertools.islice(images(), steps):
        values = one_step(state, cfg, batch, torch.arange(8))
    nets = (state.g, state.d, state.g_ema)
    return [*values.values(), *(t for net in nets for t in net.state_dict().values())]


@pytest.mark.parametrize("upsample", ["transposed", "balanced", "resize", "subpixel", "reference"])
@pytest.mark.parametrize("loss", ["non_saturating", "hinge"])
def test_recorded_steps_equal_plain_ones_bit_for_bit(
    tmp_path: Path, upsample: str, loss: str
) -> None:
    cfg = tiny_config(
        tmp_path,
        model={"upsample": upsample, "conditional": True},
        train={"loss": loss, "augment": "translate", "colour_noise": 8.0},
    )
    recorded, plain = state_of(cfg), state_of(cfg)
    assert recorded.replay
    plain.replay = None
    found = zip(after(recorded, cfg, 8), after(plain, cfg, 8), strict=True)
    assert all(torch.equal(a, b) for a, b in found)


def test_step_does_not_synchronise_with_the_gpu(tmp_path: Path) -> None:
    cfg = tiny_config(
        tmp_path,
        data={"flip": True},
        model={"conditional": True},
        train={"augment": "translate", "colour_noise": 8.0, "class_loss_weight": 0.5},
    )
    packed = pack(open_source(cfg.data), cfg.data)
    stream = batches(packed, 8, seed=0, flip=True, device=GPU)
    state = make_state(cfg, len(packed.classes), GPU, choose_precision(cfg.hardware, GPU))
    for _ in range(5):
        one_step(state, cfg, *next(stream))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(20):
            one_step(state, cfg, *next(stream))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_expanded_tensors_are_sent() -> None:
    assert torch.equal(send(torch.ones(1).expand(4), GPU).cpu(), torch.ones(4))


def test_resident_and_streamed_images_are_equal(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    packed: PackedImages = pack(open_source(cfg.data), cfg.data)
    indices = torch.randperm(len(packed))[:50].numpy()
    held, fetched = resident(packed, GPU)(indices), streamed(packed, GPU)(indices)
    assert held.is_cuda and fetched.is_cuda
    assert torch.equal(held.cpu(), torch.tensor(packed.images[indices]))
    assert torch.equal(held, fetched)


def last_checkpoint(run_dir: Path) -> str:
    checkpoint, _ = newest_checkpoint(run_dir / "checkpoints")
    assert checkpoint
    return f"{checkpoint.path.name} {checkpoint.sha256}"


def test_resumed_run_equals_unbroken_run(tmp_path: Path) -> None:
    sections = {"model": {"g_width": 32, "d_width": 32}, "train": {"augment": "translate"}}
    for name, ends in (("whole", (10,)), ("cut", (5, 6, 10))):
        for num_steps in ends:
            cut = {**sections, "train": {**sections["train"], "num_steps": num_steps}}
            train(tiny_config(tmp_path, **cut), tmp_path / name, "cuda")
    assert last_checkpoint(tmp_path / "whole") == last_checkpoint(tmp_path / "cut")


def test_run_may_move_from_gpu_to_cpu_and_back(tmp_path: Path) -> None:
    for num_steps, device in ((4, "cuda"), (6, "cpu"), (8, "cuda")):
        cfg = tiny_config(tmp_path, train={"num_steps": num_steps})
        assert train(cfg, tmp_path / "run", device).state.step == num_steps
    assert "not bit-identical" in (tmp_path / "run" / "log.txt").read_text()
    z = torch.randn(16, 8)
    there, here = (
        load_generator(tmp_path / "run", device).images(z).astype(float) for device in (GPU, CPU)
    )
    assert abs(there - here).mean() < 2  # grey levels


def test_recorded_samples_equal_plain_ones(tmp_path: Path) -> None:
    train(tiny_config(tmp_path), tmp_path / "run", "cuda")
    trained = load_generator(tmp_path / "run", GPU)
    for num in (16, 1):
        z = torch.randn(num, 8)
        found = [trained.images(z) for _ in range(6)]
        assert all((images == found[0]).all() for images in found)


@pytest.mark.parametrize("size", [28, 64])
def test_bf16_steps_stay_close_to_fp32_from_equal_states(tmp_path: Path, size: int) -> None:
    """Losses within 2 % of those of the CPU in fp32, gradients with a cosine above 0.98."""
    cfg = tiny_config(
        tmp_path, data={"image_size": size}, model={"g_width": 16, "d_width": 16},
        hardware={"precision": "fp32"},
    )  # fmt: skip
    exact = state_of(cfg, CPU)
    fast = state_of(cfg, dtype=torch.bfloat16, channels_last=True)
    real = next(images(8, size)).float() / 127.5 - 1
    z = torch.randn(8, 8)
    fakes = [exact.g(z), fast.g(z.to(GPU))]
    for name, first, second in (
        ("d", partial(d_step, real=real), partial(d_step, real=real.to(GPU))),
        ("g", g_step, g_step),
    ):
        fast.d.load_state_dict(exact.d.state_dict())
        a = float(first(exact, cfg, fake=fakes[0], labels=None)[f"loss/{name}"])
        b = float(second(fast, cfg, fake=fakes[1], labels=None)[f"loss/{name}"])
        assert abs(a - b) < 0.02 * max(1, a)
        u, v = (
            torch.cat([p.grad.flatten().cpu() for p in getattr(state, name).parameters()])
            for state in (exact, fast)
        )
        assert torch.nn.functional.cosine_similarity(u, v, dim=0) > 0.98
