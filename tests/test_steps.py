"""One training step: updates, losses, the average of G, augmentation."""

import copy
from functools import partial

import pytest
import torch
from classic import classic_state, classic_step

from gan.config.settings import Config
from gan.latents import draw_latents, rng
from gan.machine.precision import Precision
from gan.machine.ranks import Ranks
from gan.nn.augment import AUGMENTATIONS, add_noise, draw_augmentation, translate
from gan.training.state import TrainState, all_finite, make_state, settle
from gan.training.steps import (
    _augmentation,
    augmented_share,
    d_step,
    ema_decay,
    frozen,
    g_step,
    one_step,
)
from tests.conftest import tiny_config

FP32 = Precision(torch.float32, channels_last=False, threads=2)
BF16 = Precision(torch.bfloat16, channels_last=True, threads=2)
CPU = torch.device("cpu")


def state_of(cfg: Config, precision: Precision = FP32) -> TrainState:
    return make_state(cfg, 10, CPU, precision)


def images(num: int = 8, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num, 3, size, size), dtype=torch.uint8, generator=generator)


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def changed(before: list[torch.Tensor], module: torch.nn.Module) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)]


def test_d_step_updates_only_d_and_g_step_only_g(tmp_path) -> None:
    cfg = tiny_config(tmp_path)
    state = state_of(cfg)
    g, d = weights(state.g), weights(state.d)
    real = torch.rand(8, 3, 16, 16) * 2 - 1
    fake = state.g(torch.randn(8, 8))
    d_step(state, cfg, real, fake, None)
    assert all(changed(d, state.d)) and not any(changed(g, state.g))
    d = weights(state.d)
    g_step(state, cfg, fake, None)
    assert all(changed(g, state.g)) and not any(changed(d, state.d))
    assert all(p.requires_grad for p in state.d.parameters())


def test_d_learns_to_separate_and_g_to_fool_d(tmp_path) -> None:
    cfg = tiny_config(tmp_path, train={"g_learning_rate": 0.01, "d_learning_rate": 0.01})
    state = state_of(cfg)
    real = torch.ones(8, 3, 16, 16)
    for _ in range(20):
        values = d_step(state, cfg, real, -real, None)
    assert values["d/real"] > 0.8 and values["d/fake"] < 0.2
    for _ in range(20):
        after = g_step(state, cfg, state.g(torch.randn(8, 8)), None)
    assert after["d/fake_after"] > 0.5


def test_class_loss_is_the_cross_entropy_and_falls(tmp_path) -> None:
    cfg = tiny_config(
        tmp_path,
        model={"conditional": True},
        train={"class_loss_weight": 0.5, "d_learning_rate": 0.01},
    )
    state = state_of(cfg)
    labels = torch.arange(8) % 2
    real = (labels.float() * 2 - 1)[:, None, None, None].expand(-1, 3, 16, 16)
    for _ in range(20):
        classes = state.d(real, labels).class_logits
        values = d_step(state, cfg, real, -real, labels)
    # the log of the sum of exponentials minus the logit of the class
    expected = classes.exp().sum(1).log() - classes[torch.arange(8), labels]
    torch.testing.assert_close(values["loss/classes"], expected.mean(), rtol=1e-4, atol=1e-5)
    assert values["loss/classes"] < 0.1


def test_step_equals_the_classic_example_in_fp32(tmp_path) -> None:
    """scripts/classic.py has the same update in a few lines."""
    cfg = tiny_config(tmp_path)
    ours, theirs = state_of(cfg), classic_state(cfg, CPU)
    for step in range(2):
        z = draw_latents(8, cfg.model, seed=0, step=step, purpose="train")
        d_loss, g_loss = classic_step(theirs, images(), z)
        values = one_step(ours, cfg, images(), None)
        assert values["loss/d"].item() == pytest.approx(d_loss, rel=1e-4)
        assert values["loss/g"].item() == pytest.approx(g_loss, rel=1e-4)
    for a, b in ((ours.g, theirs.g), (ours.d, theirs.d)):
        for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=2e-5, msg=name)


@pytest.mark.parametrize("size", [28, 64])
def test_bf16_steps_stay_close_to_fp32_from_equal_states(tmp_path, size: int) -> None:
    """At each of three steps, losses within 2 % and gradients with a cosine above 0.98."""
    model = {"g_width": 16, "d_width": 16}
    cfg = tiny_config(tmp_path, data={"image_size": size}, model=model)
    exact = state_of(cfg)
    for step in range(3):
        real = images(8, size).float() / 127.5 - 1
        z = torch.randn(8, 8, generator=torch.Generator().manual_seed(step))
        fast = make_state(cfg, 10, CPU, BF16)
        for state in (fast, exact):
            state.g.load_state_dict(exact.g.state_dict())
            state.d.load_state_dict(exact.d.state_dict())
        fakes = [state.g(z) for state in (exact, fast)]
        for name, do in (("d", partial(d_step, real=real)), ("g", g_step)):
            fast.d.load_state_dict(exact.d.state_dict())
            a, b = (
                do(state, cfg, fake=fake, labels=None)[f"loss/{name}"]
                for state, fake in zip((exact, fast), fakes, strict=True)
            )
            assert abs(a - b) < 0.02 * max(1, a), (step, name)
            u, v = (gradients(getattr(state, name)) for state in (exact, fast))
            assert torch.nn.functional.cosine_similarity(u, v, dim=0) > 0.98, (step, name)


def gradients(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters()])


@pytest.mark.parametrize("loss", ["non_saturating", "hinge"])
@pytest.mark.parametrize("conditional", [False, True])
def test_every_recipe_takes_a_finite_step(tmp_path, loss: str, conditional: bool) -> None:
    cfg = tiny_config(
        tmp_path,
        model={"conditional": conditional},
        train={"loss": loss, "augment": "translate"},
    )
    for precision in (FP32, BF16):
        state = state_of(cfg, precision)
        values = one_step(state, cfg, images(), torch.arange(8))
        assert values["loss/d"].isfinite() and values["loss/g"].isfinite()
        assert all_finite(state)


def test_average_follows_g_with_its_halflife_and_has_its_buffers(tmp_path) -> None:
    cfg = tiny_config(tmp_path, train={"ema_halflife_images": 80.0, "ema_warmup": 1e9})
    state = state_of(cfg)
    expected = None
    for step in range(4):
        one_step(state, cfg, images(), None)
        now = next(state.g.parameters()).detach()
        decay = 0.0 if step == 0 else 0.5 ** (8 / 80)
        expected = now.clone() if expected is None else decay * expected + (1 - decay) * now
    averaged = next(state.g_ema.parameters())
    torch.testing.assert_close(averaged, expected, rtol=0, atol=1e-6)
    for ours, raw in zip(state.g_ema.buffers(), state.g.buffers(), strict=True):
        assert torch.equal(ours, raw)


@pytest.mark.parametrize("conditional", [False, True])
def test_settled_average_has_batchnorm_statistics_of_its_own(tmp_path, conditional: bool) -> None:
    cfg = tiny_config(tmp_path, model={"conditional": conditional})
    state, labels = state_of(cfg), torch.arange(8) if conditional else None
    for _ in range(3):
        one_step(state, cfg, images(), labels)
    average, found = state.g_ema, []
    before = weights(average)
    for wrong in (0.1, 30.0):  # whatever the statistics were
        for buffer in average.buffers():
            buffer.fill_(wrong)
        state.is_settled = False
        settle(state, cfg)
        found.append([buffer.clone() for buffer in average.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert not any(changed(before, average)) and not average.training
    z = draw_latents(512, cfg.model, seed=5)
    y = torch.arange(512) % 10 if conditional else None
    with torch.no_grad():
        settled, batch = average(z, y), copy.deepcopy(average).train()(z, y)
    assert (settled - batch).abs().mean() < 0.1 * batch.std()


def test_average_is_settled_once_per_step(tmp_path) -> None:
    cfg = tiny_config(tmp_path)
    state = state_of(cfg)
    one_step(state, cfg, images(), None)
    assert not state.is_settled
    settle(state, cfg)
    state.g_ema.layers[1].running_mean.fill_(7.0)
    settle(state, cfg)
    assert (state.g_ema.layers[1].running_mean == 7).all()
    one_step(state, cfg, images(), None)
    assert not state.is_settled


def test_without_averaging_g_keeps_its_statistics(tmp_path) -> None:
    cfg = tiny_config(tmp_path, train={"ema_halflife_images": None})
    state = state_of(cfg)
    one_step(state, cfg, images(), None)
    settle(state, cfg)
    pairs = zip(state.g_ema.buffers(), state.g.buffers(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_halflife_of_the_average_grows_from_zero(tmp_path) -> None:
    train = tiny_config(
        tmp_path, train={"ema_halflife_images": 1000.0, "ema_warmup": 0.1, "batch_size": 10}
    ).train
    assert ema_decay(train, 0) == 0
    assert abs(ema_decay(train, 100) - 0.5) < 1e-9  # half-life 10 images
    assert abs(ema_decay(train, 10**9) - 0.5**0.01) < 1e-9


@pytest.mark.parametrize(
    ("halflife", "wanted"), [(None, [1, 1, 1]), (16, [1, 2 / 3, 1 / 2])], ids=["constant", "16"]
)
def test_learning_rates_fall_with_the_images_seen(
    tmp_path, halflife: int | None, wanted: list[float]
) -> None:
    cfg = tiny_config(tmp_path, train={"learning_rate_halflife_images": halflife})
    state = state_of(cfg)
    rates = []
    for _ in range(3):
        one_step(state, cfg, images(), None)
        rates.append(state.g_optim.param_groups[0]["lr"] / cfg.train.g_learning_rate)
    assert rates == pytest.approx(wanted)


def test_frozen_restores_requires_grad_after_an_error() -> None:
    module = torch.nn.Linear(1, 1)
    with pytest.raises(RuntimeError), frozen(module):
        assert not module.weight.requires_grad
        raise RuntimeError
    assert module.weight.requires_grad


def test_non_finite_numbers_are_found_anywhere(tmp_path) -> None:
    cfg = tiny_config(tmp_path)
    clean = state_of(cfg)
    one_step(clean, cfg, images(), None)
    assert all_finite(clean)
    for spoil in (
        lambda s: next(s.d.parameters()).data.view(-1)[0].fill_(float("nan")),
        lambda s: s.g.layers[1].running_var.fill_(float("inf")),
        lambda s: next(iter(s.g_optim.state.values()))["exp_avg"].fill_(float("inf")),
    ):
        state = copy.deepcopy(clean)
        spoil(state)
        assert not all_finite(state)


@pytest.mark.parametrize("augment", AUGMENTATIONS.values())
def test_augmentation_is_differentiable_and_a_function_of_its_draws(augment) -> None:
    batch = torch.rand(6, 3, 16, 16, requires_grad=True)
    draws = [draw_augmentation(6, (3, 16, 16), rng(0, step, "augment")) for step in (0, 0, 1)]
    out = augment(batch, draws[0])
    assert out.shape == batch.shape
    out.sum().backward()
    assert batch.grad is not None and batch.grad.abs().sum() > 0
    assert torch.equal(out, augment(batch, draws[1]))
    assert not torch.equal(out, augment(batch, draws[2]))


def test_translation_moves_each_image_by_its_own_draw() -> None:
    batch = torch.rand(2, 3, 16, 16)
    draws = torch.full((5, 2), 0.5)
    draws[:2] = torch.tensor([[2, -1], [0, -2]])  # rows and columns
    first, second = translate(batch, draws)
    assert torch.equal(first[:, :14], batch[0, :, 2:]) and (first[:, 14:] == -1).all()
    assert torch.equal(second[:, 1:, 2:], batch[1, :, :15, :14])
    assert (second[:, 0] == -1).all() and (second[:, :, :2] == -1).all()


@pytest.mark.parametrize(
    ("border", "translated", "sees"),
    [("grey", False, False), ("grey", True, True), ("black", False, True)],
)
def test_d_sees_contrast_only_beside_a_black_border(
    tmp_path, border: str, translated: bool, sees: bool
) -> None:
    """BatchNorm removes a factor of the whole batch, but not beside a border of known value."""
    d = state_of(tiny_config(tmp_path, model={"d_border": border})).d
    for layer in d.features:
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data.mul_(50)  # as after some training, far above BatchNorm's epsilon
    batch = torch.rand(8, 3, 16, 16) * 2 - 1
    draws = draw_augmentation(8, (3, 16, 16), rng(0, 0, "augment"))
    parts = [translate(part, draws) if translated else part for part in (batch, batch / 2)]
    bright, faint = (d(part).logits for part in parts)
    difference = (bright - faint).abs().max()
    assert difference > 0.01 if sees else difference <= 1e-3


@pytest.mark.parametrize(("pixels", "reach"), [(None, 4), (1, 1), (3, 3)])
def test_translation_reaches_the_given_pixels(pixels: int | None, reach: int) -> None:
    draws = draw_augmentation(500, (3, 32, 32), rng(0, 0, "augment"), translate_pixels=pixels)
    assert draws[:2].unique().tolist() == [*range(-reach, reach + 1)]


@pytest.mark.parametrize("augment", AUGMENTATIONS.values())
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_only_a_share_of_the_images_is_augmented(augment, share: float) -> None:
    batch = torch.rand(500, 3, 8, 8)
    draws = draw_augmentation(500, (3, 8, 8), rng(0, 0, "augment"), share)
    changed = (augment(batch, draws) - batch).abs().amax((1, 2, 3)) > 1e-5
    assert abs(changed.float().mean() - share) < 0.08  # a translation may be by no pixels


YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5],
                      [0.5, -0.418688, -0.081312]])  # of JPEG  # fmt: skip


def test_noise_is_gaussian_and_of_its_own_for_each_image() -> None:
    batch = torch.rand(50, 3, 24, 32)
    draws = [
        draw_augmentation(50, (3, 24, 32), rng(0, step, "augment"), noise=12.75) for step in (0, 1)
    ]
    noise, other = (add_noise(batch, own) - batch for own in draws)
    assert torch.equal(noise, add_noise(batch, draws[0]) - batch)
    brightness, *colours = torch.einsum("kc,nchw->knhw", YCBCR, noise)
    assert brightness.abs().max() < 1e-5
    for values in colours:
        assert abs(values.mean()) < 2e-3 and abs(values.std() - 0.1) < 2e-3
        assert abs((values.abs() < 0.1).float().mean() - 0.683) < 0.01  # a normal distribution
    flat = torch.cat([noise, other]).flatten(1)
    similar = torch.corrcoef(flat) - torch.eye(100)
    assert similar.abs().max() < 0.2  # of 1,536 values each


def test_a_share_of_the_images_gets_noise() -> None:
    draws = draw_augmentation(1000, (3, 16, 16), rng(0, 0, "augment"), share=0.3, noise=8.0)
    noise = add_noise(torch.zeros(1000, 3, 16, 16), draws).flatten(1).std(1) * 127.5
    assert abs((noise > 0).float().mean() - 0.3) < 0.05
    assert noise[noise > 0].min() > 8


def test_noise_leaves_grey_and_opacity_as_they_are() -> None:
    draws = draw_augmentation(2, (4, 16, 16), rng(0, 0, "augment"), noise=25.5)
    grey, batch = torch.rand(2, 1, 16, 16), torch.rand(2, 4, 16, 16)
    assert torch.equal(add_noise(grey, draws), grey)
    noise = add_noise(batch, draws) - batch
    assert (noise[:, 3] == 0).all() and (noise[:, :3] != 0).float().mean() > 0.9


@pytest.mark.parametrize("augment", [None, "translate"])
def test_d_sees_noise_on_real_images_and_on_samples(tmp_path, augment: str | None) -> None:
    seen = []
    for noise in (None, 12.75):
        cfg = tiny_config(tmp_path, train={"augment": augment, "colour_noise": noise})
        state = state_of(cfg)
        inputs: list[torch.Tensor] = []
        state.d.register_forward_pre_hook(lambda _, args, to=inputs: to.append(args[0].detach()))
        one_step(state, cfg, torch.full((8, 3, 16, 16), 99, dtype=torch.uint8), None)
        seen.append(inputs)
    assert len(seen[0]) == len(seen[1]) == 3
    for plain, noisy in zip(*seen, strict=True):
        assert abs((noisy - plain).std() - 0.138) < 0.01  # of red, green and blue


def test_augmented_share_rises_over_the_epochs(tmp_path) -> None:
    cfg = tiny_config(tmp_path, train={"augment": "translate", "augment_ramp_epochs": 2.0})
    state = make_state(cfg, 0, CPU, FP32, num_images=100)
    for images_seen, share in ((0, 0), (50, 0.25), (200, 1), (900, 1)):
        state.images_seen = images_seen
        assert augmented_share(cfg.train, state) == share
    assert augmented_share(tiny_config(tmp_path).train, state) == 1


def test_ranks_use_slices_of_the_augmentation_of_the_whole_batch(tmp_path) -> None:
    cfg = tiny_config(tmp_path, train={"augment": "translate"})
    whole, *parts = (
        _augmentation(make_state(cfg, 0, CPU, FP32, ranks), cfg)
        for ranks in (Ranks(0, 1), Ranks(0, 2), Ranks(1, 2))
    )
    assert torch.equal(whole, torch.cat(parts, dim=2))
