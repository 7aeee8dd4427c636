"""Evaluation during a run: of the average of G, without any effect on the state."""

import json

from gan.checkpoint import save_checkpoint
from gan.metrics.evaluate import score
from gan.metrics.reference import Reference, choose_network, make_reference
from gan.training.run import Run
from gan.training.state import settle

_NUM = 2000  # images; `gan evaluate` uses more
_SEED = 0
_FILE = "evaluations.jsonl"


def evaluate(run: Run) -> None:
    """Evaluates the average of G, writes the curves, and saves best.pt if it is the best so far."""
    state = run.state
    settle(state, run.cfg)
    reference = run.reference = run.reference or _make_reference(run)
    # the value that decides which checkpoint is the best; lower is better
    metric = "frechet_distance" if reference.network else "sliced_wasserstein_mean"
    values = score(run.fixed_samples(state.g_ema, reference.num), reference)
    tags = {f"metric/{name}": value for name, value in values.items()}
    value, best = values[metric], _best(run, f"metric/{metric}")
    is_better = best is None or value < best
    if is_better:  # before its row is written, so that every best value in the file has a best.pt
        save_checkpoint(run.checkpoint_dir / "best.pt", run.checkpoint())
    run.tracker.evaluation(state.step, state.images_seen, tags)
    run.latest |= tags
    comparison = "the best so far" if is_better else f"best {best:.4g}"
    run.tracker.say(f"step {state.step:,}: {metric} {value:.4g}, {comparison}")


def is_evaluated(run: Run) -> bool:
    """Tells whether the present step has been evaluated."""
    return any(row["step"] == run.state.step for row in _rows(run))


def _make_reference(run: Run) -> Reference:
    network = choose_network(run.cfg.data, run.state.device)
    return make_reference(run.packed, run.held_out, network, num=_NUM, seed=_SEED)


def _best(run: Run, tag: str) -> float | None:
    return min((row[tag] for row in _rows(run) if tag in row), default=None)


def _rows(run: Run) -> list[dict]:
    # the tracker has removed the rows after the step that the run resumed from
    return list(map(json.loads, (run.run_dir / _FILE).read_text().splitlines()))
