"""Owns evaluation during a run: on the averaged generator, beside the run, never in its state."""

import json

from gan.checkpoint import save_checkpoint
from gan.metrics.evaluate import score
from gan.metrics.reference import Reference, choose_network, make_reference
from gan.sampling import generate
from gan.training.run import Run
from gan.training.state import to_payload

_NUM = 2000  # images; the whole record is `gan evaluate`'s
_SEED = 0


class Judge:
    """Compares a run's generator with real images it has looked at once; keeps the best."""

    def __init__(self, run: Run) -> None:
        """Looks at the real images: seconds, once a call."""
        network = choose_network(run.cfg.data, run.state.device)
        self.reference: Reference = make_reference(
            run.packed, run.held_out, network, num=_NUM, seed=_SEED
        )
        # by this value the best checkpoint is chosen; less is better
        self.metric = "frechet_distance" if network else "sliced_wasserstein_mean"

    def evaluate(self, run: Run) -> None:
        """Measures, writes the curves, and saves best.pt when it is the best so far."""
        assert run.tracker
        state = run.state
        z, labels = run.latents(self.reference.num)
        images = generate(state.g_ema, z, labels, state.precision)
        values = score(images, self.reference)
        tags = {f"metric/{name}": value for name, value in values.items()}
        value, best = values[self.metric], self._best(run)
        better = best is None or value < best
        if better:  # before its row is kept: a value in the file has had its weights saved
            payload = to_payload(state, run.cfg, run.packed.classes, run.packed.checksum)
            save_checkpoint(run.checkpoints / "best.pt", payload)
        run.tracker.evaluation(state.step, state.images_seen, tags)
        run.latest |= tags
        run.tracker.say(
            f"step {state.step:,}: {self.metric} {value:.4g}"
            + (", the best so far" if better else f"; best {best:.4g}")
        )

    def _best(self, run: Run) -> float | None:
        """Returns the best value before this step, by the same metric; what came after the step
        that a run went back to is no longer in the file."""
        rows = map(json.loads, (run.run_dir / "evaluations.jsonl").read_text().splitlines())
        tag, step = f"metric/{self.metric}", run.state.step
        return min((row[tag] for row in rows if tag in row and row["step"] < step), default=None)
