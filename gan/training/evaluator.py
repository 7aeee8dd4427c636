"""Evaluation during a run: of the average of G, without any effect on the state."""

import json
import math

from gan.checkpoint import save_checkpoint
from gan.config.settings import Config
from gan.data.pack import PackedImages
from gan.files import read_json, read_rows, replacing
from gan.metrics.reference import choose_network, held_out_images, make_reference, num_comparable
from gan.metrics.scores import score
from gan.training.run import Run
from gan.training.state import settle

_NUM = 2000  # images; `gan evaluate` uses more
_SEED = 0


def held_out_images_of(cfg: Config, packed: PackedImages) -> PackedImages | None:
    """Returns the held-out images, None if there are none or the run does not evaluate itself.

    Raises ValueError if there are too few images to evaluate.
    """
    if not cfg.train.evaluate_every_steps:
        return None
    held_out = held_out_images(cfg.data)
    try:
        num_comparable(packed, held_out, _NUM)
    except ValueError as error:
        raise ValueError(f"{error}; or set train.evaluate_every_steps to null") from None
    return held_out


def evaluate(run: Run) -> None:
    """Evaluates the average of G, writes the curves, and saves best.pt if it is the best so far.

    A best.pt with another ruler, or with a damaged best.json, is kept as best_before.pt.
    """
    state = run.state
    settle(state, run.cfg)
    if run.reference is None:
        network = choose_network(run.cfg.data, state.device)
        run.reference = make_reference(run.packed, run.held_out, network, num=_NUM, seed=_SEED)
    reference = run.reference
    # the value that decides which checkpoint is the best; lower is better
    metric = "frechet_distance" if reference.network else "sliced_wasserstein_mean"
    sha256 = reference.network.sha256 if reference.network else None
    held_out = run.held_out.checksum if run.held_out else None
    ruler = {"metric": metric, "network": sha256, "held_out": held_out}
    labels = reference.labels(state.g_ema.num_classes)
    values = score(run.fixed_samples(state.g_ema, reference.num, labels), reference)
    run.floor = run.floor or score(reference.floor_images, reference)
    tags = {f"metric/{name}": value for name, value in values.items()}
    tags |= {f"metric/{name}_floor": value for name, value in run.floor.items()}
    value, best = values[metric], _best(run, ruler)
    is_better = best is None or value < best
    if is_better:
        path = run.checkpoint_dir / "best.pt"
        if best is None and path.exists():  # it cannot be compared with this one
            path.rename(path.with_name("best_before.pt"))
        save_checkpoint(path, run.checkpoint())
        with replacing(run.checkpoint_dir / "best.json") as part:
            part.write_text(json.dumps({"step": state.step, **ruler, "value": value}))
    run.tracker.scalars(state.step, state.images_seen, tags, file="evaluations.jsonl")
    comparison = "the best so far" if is_better else f"best {best:.4g}"
    run.tracker.console.say(f"step {state.step:,}: {metric} {value:.4g}, {comparison}")


def is_evaluated(run: Run) -> bool:
    """Tells whether the present step has been evaluated."""
    rows = read_rows(run.run_dir / "evaluations.jsonl")
    return any(row["step"] == run.state.step for row in rows)


def _best(run: Run, ruler: dict[str, str | None]) -> float | None:
    """Returns the value of best.pt, None if there is none by this ruler."""
    best = read_json(run.checkpoint_dir / "best.json")
    if not isinstance(best, dict) or not (run.checkpoint_dir / "best.pt").exists():
        return None
    if any(best.get(key, ruler[key]) != ruler[key] for key in ruler):
        return None
    value = best.get("value")
    return value if isinstance(value, float) and math.isfinite(value) else None
