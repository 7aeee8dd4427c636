"""A run from its first step to its last.

The events after a step always have the same order: log, settle the average of G, save, show,
evaluate. On a signal the state is saved and the run ends; what was due then is done on resume.
"""

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from gan.checkpoint import checkpoint_path, prune_checkpoints, read_checkpoint, save_checkpoint
from gan.config.reader import differences, identity
from gan.config.settings import Config
from gan.data.batches import Batch, batches
from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.data.source import Source
from gan.errors import ConfigError, NonFinite
from gan.files import remove_unfinished
from gan.machine.precision import choose_device, choose_precision
from gan.machine.ranks import Ranks, from_first, largest, launched_rank, process_group
from gan.machine.signals import StopRequest, stop_on_signals
from gan.training import evaluator, report
from gan.training.collapse import diversity
from gan.training.needs import require_classes, require_memory
from gan.training.resume import Reader, check_start, initialise, resume
from gan.training.run import Ending, Run, Window
from gan.training.run_dir import locked, next_run_dir
from gan.training.state import all_finite, make_state, settle
from gan.training.steps import one_step

_AGREE_EVERY_STEPS = 5  # several ranks agree on stopping at these steps
_FIRST_SAVE_S = 60.0  # a run saves once after this time of training, whatever its cadence


def train(
    cfg: Config,
    run_dir: Path | None,
    device_name: str = "auto",
    *,
    name: str = "run",
    source: Source | None = None,
    read: Reader = read_checkpoint,
) -> Run:
    """Starts or resumes the run of a directory and saves its last state.

    Without a directory the run gets a new one, runs/NNNNN-name. `source` is that of cfg.data, if it
    has been opened; `read` reads what train.init_from names. The returned run has its ending.
    Raises ValueError for what a user can fix, NonFinite if a loss or weight is not finite, OSError
    if a checkpoint cannot be written.
    """
    started = time.monotonic()
    device = choose_device(device_name)
    _check_before_data(cfg, run_dir, device, read)
    precision = choose_precision(cfg.hardware, device)
    torch.set_num_threads(precision.threads)
    # outside the process group, whose timeout is shorter than packing may take
    source = source or open_source(cfg.data, download=True)
    require_classes(cfg, len(source.classes))
    packed = pack(source, cfg.data)
    held_out = evaluator.held_out_images_of(cfg, packed)
    with process_group(device) as ranks, stop_on_signals() as stop:
        _require_equal_ranks(cfg, packed.checksum, precision.dtype, ranks)
        if run_dir is None:
            made = next_run_dir(Path("runs"), name) if ranks.is_first else None
            run_dir = from_first(made, ranks)
        with locked(run_dir) if ranks.is_first else nullcontext():
            state = make_state(cfg, len(packed.classes), device, precision, ranks, len(packed))
            run = Run(cfg, run_dir, packed, state, held_out, started)
            notes = resume(run) + initialise(run, read)
            if not run.is_first:
                run.ending = _loop(run, stop)
                return run
            for folder in (run.checkpoint_dir, run.sample_dir):
                folder.mkdir(exist_ok=True)
                remove_unfinished(folder)
            run.tracker = report.open_tracker(run)
            with closing(run.tracker):
                report.begin(run, notes)
                run.ending = _loop(run, stop)
    return run


def _check_before_data(
    cfg: Config, run_dir: Path | None, device: torch.device, read: Reader
) -> None:
    """Raises ValueError for what is known before images are downloaded and packed."""
    rank = launched_rank()
    if cfg.train.batch_size % rank.world_size:
        raise ConfigError(
            f"train.batch_size must be a multiple of the world size, {rank.world_size}; got "
            f"{cfg.train.batch_size}"
        )
    require_memory(cfg, 1, device, rank.world_size)  # more classes need little more
    if rank.is_first:
        check_start(run_dir, cfg, read)


def _require_equal_ranks(cfg: Config, data: str, dtype: torch.dtype, ranks: Ranks) -> None:
    # lengths and cadences too: the ranks must make the same collective calls
    own = identity(cfg) | {"train": dict(cfg.train), "hardware": {"precision": str(dtype)}}
    own |= {"images": {"checksum": data}, "torch": {"version": str(torch.__version__)}}
    differ = differences(from_first(own, ranks), own, "rank 0", f"rank {ranks.rank}")
    if largest(len(differ), ranks):
        raise ConfigError(
            "all ranks must have the same settings and images:\n"
            + ("\n".join(differ) or "another rank has different ones")
        )


def _loop(run: Run, stop: StopRequest) -> Ending:
    caught_up = from_first(_do_missed_events(run), run.state.ranks)
    ending = Ending.DONE if run.state.step >= run.cfg.train.num_steps else None
    if ending and not caught_up:
        if run.is_first:
            run.tracker.console.end(
                f"already done: step {run.state.step:,} of train.num_steps "
                f"{run.cfg.train.num_steps:,}"
            )
        return ending
    state, cfg = run.state, run.cfg
    stream = batches(run.packed, cfg.train.batch_size, seed=cfg.train.seed, start_step=state.step,
                     ranks=state.ranks, flip=cfg.data.flip, device=state.device)  # fmt: skip
    run.window = Window()
    run.pace.append((run.state.images_seen, 0.0))
    while not ending:
        values = _one_step(run, stream)
        ending = _ending(run, stop)
        if ending and ending.is_signal:
            with run.window.paused():
                _save(run)  # and nothing else: the sender of a signal may not wait
        else:
            _after_step(run, values, is_last=ending is not None)
    if cfg.train.on_collapse == "stop" and not ending.is_signal:
        run.collapsed = from_first(run.collapsed, state.ranks)
        if run.collapsed:  # perhaps found in the last grids, after _ending
            ending = Ending.COLLAPSED
    if run.is_first:
        report.finish(run, ending)
    return ending


def _one_step(run: Run, stream: Iterator[Batch]) -> dict[str, Tensor]:
    waiting = time.perf_counter()
    with _saved_on_error(run):
        images, labels = next(stream)
    run.window.waited_s += time.perf_counter() - waiting
    values = one_step(run.state, run.cfg, images, labels)
    run.window.add(values)
    return values


def _after_step(run: Run, values: dict[str, Tensor], *, is_last: bool) -> None:
    train, step = run.cfg.train, run.state.step
    if _is_due(train.log_every_steps, step, is_last):
        _log(run, values)
    if run.is_first:
        report.progress(run)
    shows, evaluates = _due_events(run, is_last=is_last)
    is_unsaved = run.is_first and not run.has_checkpoint and run.busy_s >= _FIRST_SAVE_S
    saves = is_unsaved or _is_due(train.checkpoint_every_steps, step, is_last)
    if not (shows or evaluates or saves):
        return
    with run.window.paused(), _saved_on_error(run):
        if saves:  # before the others, whose failure then loses nothing
            _save(run)
        else:
            _require_finite(run)
        if shows and run.is_first:
            _show(run)
        if evaluates and run.is_first:
            evaluator.evaluate(run)


@contextmanager
def _saved_on_error(run: Run) -> Iterator[None]:
    """Saves the state when what a user can fix ends the run, such as a pack that was cut short."""
    try:
        yield
    except ValueError:
        _save(run)
        raise


def _is_due(every_steps: int | None, step: int, is_last: bool) -> bool:
    return is_last or (every_steps is not None and step % every_steps == 0)


def _due_events(run: Run, *, is_last: bool) -> tuple[bool, bool]:
    """Tells whether to show and whether to evaluate the present step."""
    step, cadence = run.state.step, run.cfg.train.evaluate_every_steps
    shows = _is_due(run.cfg.train.sample_every_steps, step, is_last)
    return shows, cadence is not None and _is_due(cadence, step, is_last)  # not even the last step


def _do_missed_events(run: Run) -> bool:
    """Shows and evaluates the first step of a call if that is due and was not done; says if so."""
    if not run.is_first:
        return False
    step = run.state.step
    shows, evaluates = _due_events(run, is_last=step >= run.cfg.train.num_steps)
    shows = step == 0 or (shows and not report.is_shown(run))
    evaluates = evaluates and step > 0 and not evaluator.is_evaluated(run)
    if shows:
        _show(run)
    if evaluates:
        evaluator.evaluate(run)
    return shows or evaluates


def _log(run: Run, values: dict[str, Tensor]) -> None:
    means = run.window.means()
    for name, net in (("g", run.state.g), ("d", run.state.d)):
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        means[f"gradient_norm/{name}"] = get_total_norm(gradients).item()
    bad = [tag for tag, value in means.items() if not math.isfinite(value)]
    if largest(len(bad), run.state.ranks):
        _diverged(run, ", ".join(bad) or "another rank's loss")
    if run.is_first:
        report.log(run, means, values)
    run.logged_s = run.busy_s
    run.window = Window()


def _show(run: Run) -> None:
    """Draws the run's fixed samples and looks for signs of collapse in them."""
    state = run.state
    settle(state, run.cfg)
    nets = {"ema": state.g_ema, "raw": state.g}
    rows = None
    if k := state.g.num_classes:  # one class a row, several rows if they are few, at most 20
        rows = torch.arange(min(k, 20)).repeat_interleave(report.COLUMNS * max(1, 8 // k))
    num = report.NUM_SHOWN if rows is None else len(rows)
    shown = {name: run.fixed_samples(g, num, rows) for name, g in nets.items()}
    report.show(run, shown)
    samples = shown["ema"]
    if rows is not None:  # diversity is that of classes at random
        samples = run.fixed_samples(state.g_ema, report.NUM_SHOWN)
    real = run.real_images(report.NUM_SHOWN)
    run.latest["samples/diversity"] = diversity(samples, real)  # written by the next log
    if "loss/d" in run.latest and (new := run.watch.update(run.latest, state.images_seen)):
        run.collapsed = "; ".join(new)
        run.tracker.warn(run.collapsed, state.images_seen)


def _save(run: Run) -> None:
    _require_finite(run)
    if run.is_first:
        step = run.state.step
        save_checkpoint(checkpoint_path(run.checkpoint_dir, step), run.checkpoint())
        prune_checkpoints(run.checkpoint_dir, step, run.cfg.train.keep_checkpoints)
        run.has_checkpoint = True


def _require_finite(run: Run) -> None:
    if not all_finite(run.state):
        _diverged(run, "a weight")


def _diverged(run: Run, what: str) -> None:
    is_half = run.state.precision.dtype != torch.float32
    raise NonFinite(
        f"{what} is not finite at step {run.state.step:,}; this state was not saved. "
        + ("Resume with hardware.precision=fp32, or start" if is_half else "Start")
        + " a new run from the last checkpoint (train.init_from) with lower learning rates"
    )


def _ending(run: Run, stop: StopRequest) -> Ending | None:
    """Returns why the run must end now, if it must; all ranks return the same."""
    train, ranks, step = run.cfg.train, run.state.ranks, run.state.step
    is_last, wanted = step >= train.num_steps, 0
    if stop.signum:
        wanted = 128 + stop.signum
    elif run.collapsed and train.on_collapse == "stop":
        wanted = Ending.COLLAPSED
    elif run.minutes >= (train.max_minutes or math.inf) and not is_last:
        wanted = Ending.TIME_UP
    if ranks.world_size > 1:
        wanted = largest(wanted, ranks) if step % _AGREE_EVERY_STEPS == 0 else 0
    if wanted:
        return Ending(wanted)
    return Ending.DONE if is_last else None
