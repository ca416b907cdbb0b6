"""The trainer: the only training loop there is. A single run is a cohort of one.

    for each epoch: for each batch of every run: transform, forward, backward, penalties, clip, optimizer, after-step hooks
        then evaluate every run, record, freeze what is finished or diverged, and cut theta when half of the rows are done

A frozen row's result is taken at that moment; what its row computes afterwards is not looked at. A NaN stays in its row.

Shapes: R runs of the cohort, r rows present in theta.
"""

import itertools
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dlrun.components.arrays import Array
from dlrun.components.links import sigmoid
from dlrun.engine import lanes
from dlrun.engine.batches import SUBSETS, Batches
from dlrun.engine.by_torch.process import keep_memory
from dlrun.engine.by_torch.stepper import TorchWay
from dlrun.engine.checkpoint import Checkpoint, Keeper, restore
from dlrun.engine.cohort import VECTOR, Cohort, filled, kinds
from dlrun.engine.measuring import diagnostics
from dlrun.engine.measuring.evaluation import default_metrics, derived_of, measure, thresholds
from dlrun.engine.measuring.forms import Forms
from dlrun.engine.outcome import Outcome, Status, add_jumps
from dlrun.engine.progress import Progress
from dlrun.engine.state import Best
from dlrun.engine.step import TrainStep
from dlrun.engine.way import Way

__all__ = ["EPOCH_ROWS", "Outcome", "Report", "Training", "fit"]

Report = Callable[[Progress], None]
MOST_PREDICTED = 1 << 18  # numbers of a subset's predictions that are kept of a run: 1 MiB
EPOCH_ROWS = 4096  # training rows looked at for an epoch's training loss; all rows are measured at the end


class Training:
    """A cohort while it trains. ``active`` maps the present rows of theta to the cohort's runs."""

    def __init__(self, cohort: Cohort, interrupted: Callable[[], bool] = lambda: False, keeper: Keeper | None = None) -> None:
        self.asked = len(cohort.runs)  # those behind are padding runs, whose results are dropped
        unfilled = TrainStep(cohort.runs, cohort.data, cohort.settings)
        self.cohort = cohort = filled(cohort, unfilled.row_numbers, unfilled.small)
        self.settings, self._interrupted, self._keeper = cohort.settings, interrupted, keeper
        runs = cohort.runs
        # rows with equal optimizers side by side are a slice of theta; activations and losses may be taken by index
        self.kinds = kinds(runs)
        self.order = sorted(range(len(runs)), key=lambda row: (self.kinds[row], row))
        of_splits = [runs[row].split for row in self.order]
        self.all_data = Batches(cohort.data, cohort.splits, cohort.preprocessing, of_splits, floats=self.settings.floats)
        self._bind_runs(self.order, self.all_data)
        self.steps_per_epoch = math.ceil(self.table.sizes["train"] / self.settings.batch_size)
        total = self.settings.epochs * self.steps_per_epoch
        self.total_steps = min(total, self.settings.max_steps or total)
        self.epochs = math.ceil(self.total_steps / self.steps_per_epoch)
        never = np.iinfo(np.int64).max
        self.until = np.array([never if run.until is None else run.until for run in runs])  # [R]
        self.watched = [self._watch(stop.metric or "loss") for stop in self.train_step.stops]
        evaluations = self.total_steps // (self.steps_per_epoch * self.settings.evaluate_every) + 2
        # what each early stopping watches, smaller is better: [evaluations, R]
        self.seen = [np.empty((evaluations, len(runs))) for _ in self.watched]
        # (epoch, {"train/loss": [R], ...}), all runs in the cohort's order
        self.records: list[tuple[int, dict[str, Array]]] = []
        self.outcomes = [Outcome(parameters=self.train_step.layout.size) for _ in runs]
        self.alive = np.ones(len(runs), dtype=bool)
        self.best: Best | None = None
        self.step = 0  # how many were taken
        initial = self.train_step.initial()
        self.final = (np.empty_like(initial[0]), np.empty_like(initial[1]))  # in the order of ``order``
        self.way: Way = lanes.way(self.train_step, self.table, initial) or TorchWay(self.train_step, self.table, initial)
        self.start = diagnostics.inside(self.way, self.train_step, self.table)["gradient_norm"]
        for outcome in self.outcomes:
            outcome.engine = self.way.name

    def _bind_runs(self, active: list[int], table: Batches) -> None:
        """Let these runs be the rows of theta."""
        self.active, self.table = active, table
        self.places = np.array(active)
        self.train_step = TrainStep([self.cohort.runs[row] for row in active], self.cohort.data, self.settings)

    def _watch(self, name: str) -> tuple[str, bool]:
        """What an early stopping watches: the key in the records, and whether higher is better."""
        return f"validation/{name}", name != "loss" and self.train_step.task.metrics[name].higher_is_better is True

    # One epoch

    def epoch(self, number: int) -> None:
        """Take the steps of epoch ``number`` (from 0) that are left, up to the step limit or until it is to stop."""
        first = number * self.steps_per_epoch
        count = min(self.steps_per_epoch, self.total_steps - first)
        factors = self.train_step.factors(first, count, self.steps_per_epoch, self.total_steps)
        self.step = self.way.epoch(number, self.step, range(self.step - first, count), factors, self._stops)

    def _stops(self, step: int) -> bool:
        """Whether to stop behind so many steps: interrupted, or for a checkpoint."""
        self.step = step
        return self._interrupted() or (self._keeper is not None and self._keeper.due(self.step))

    def evaluate(self, epoch: int) -> None:
        """Measure every present row after ``epoch`` epochs, record it, and freeze the rows that are through."""
        known, watched = self.train_step.task.metrics, {name.split("/")[1] for name, _ in self.watched}
        names = {name for name in {self.settings.metric, *watched} - {"loss"} if name in watched or not known[name].at_end}
        self.way.evaluated(self.step)
        found = {"train/loss": measure(self.train_step, self.table, self.way, "train", [], EPOCH_ROWS)["loss"]}
        if self.table.sizes["validation"]:
            measured = measure(self.train_step, self.table, self.way, "validation", sorted(names))
            found |= {f"validation/{name}": values for name, values in measured.items()}
        self.records.append((epoch, self._everyone(found)))
        for seen, (name, higher) in zip(self.seen, self.watched, strict=True):
            seen[len(self.records) - 1] = -found[name] if higher else found[name]
        if self.watched:
            self._keep_best(self.seen[0][len(self.records) - 1])
        self._freeze(epoch, found["train/loss"])

    def _keep_best(self, value: Array) -> None:
        value = np.where(np.isnan(value), np.inf, value)  # whatever is defined beats what is not
        if self.best is None:
            self.best = Best(value, *self.way.parameters())
            return
        better = (value < self.best.value) | np.isinf(self.best.value)  # until there is a value, the latest weights are to keep
        if better.any():
            theta, buffers = self.way.parameters(better.nonzero()[0])
            self.best.value[better], self.best.theta[better], self.best.buffers[better] = value[better], theta, buffers

    def _freeze(self, epoch: int, loss: Array) -> None:
        lost = ~(np.isfinite(loss) & self.way.finite())
        through = np.zeros_like(lost)
        for stop, seen in zip(self.train_step.stops, self.seen, strict=True):
            through |= stop.stop(seen[: len(self.records)])
        present = self.alive[self.places]
        self.finish(present & lost, "diverged", epoch)
        self.finish(present & through & ~lost, "stopped", epoch)
        self.finish(present & (self.until[self.places] <= epoch) & ~through & ~lost, "done", epoch)
        if 0 < int(self.alive[self.places].sum()) <= len(self.active) // 2:
            self._compact()

    def _kept(self) -> list[int]:
        """The places of the rows that still train; with others of their kinds where whole vectors are to stay whole."""
        places: dict[tuple[str, ...], list[int]] = {}
        for place, row in sorted(enumerate(self.active), key=lambda item: not self.alive[item[1]]):  # the living first
            places.setdefault(self.kinds[row], []).append(place)
        kept = []
        for mine in places.values():
            living = int(self.alive[[self.active[place] for place in mine]].sum())
            kept += mine[: living + (-living % VECTOR if self.train_step.innermost else 0)]
        return sorted(kept)

    def _compact(self) -> None:
        """Keep the rows that still train, where that makes them few."""
        keep = self._kept()
        if len(keep) <= len(self.active) // 2:
            self.cut(keep)

    def cut(self, keep: Sequence[int]) -> None:
        """Cut theta, and all that belongs to it, to the rows at some of the present places."""
        self._bind_runs([self.active[place] for place in keep], self.table.select(keep))
        self.seen = [seen[:, keep] for seen in self.seen]
        self.best = None if self.best is None else self.best.select(keep)
        self.way = self.way.select(self.train_step, self.table, keep)

    # The end of runs

    def finish(self, which: Array, status: Status, epoch: int) -> None:
        """Freeze present rows, a mask [r]: what they are evaluated with now is their result."""
        if not which.any():
            return
        ending = which.nonzero()[0]
        if self.best is not None and status != "diverged":
            kept = self.best.theta[ending], self.best.buffers[ending]
        else:
            kept = self.way.parameters(ending)
        places = ending.tolist()
        rows = [self.active[place] for place in places]
        place_of = {row: place for place, row in enumerate(self.order)}
        for final, now in zip(self.final, kept, strict=True):
            final[[place_of[row] for row in rows]] = now
        self.alive[rows] = False
        for place, row in zip(places, rows, strict=True):
            outcome = self.outcomes[row]
            outcome.status, outcome.epochs, outcome.steps = status, epoch, self.step
            outcome.reason = self._reason(status, row, place, epoch)

    def _reason(self, status: Status, row: int, place: int, epoch: int) -> str:
        if status == "diverged":
            rate = self.cohort.runs[row].optimizer.values["lr"]
            return (
                f"loss or weights became infinite or NaN by epoch {epoch}; "
                f"a smaller optimizer.lr (now {rate:g}) or trainer.clip_norm=1 may help"
            )
        if status == "stopped":
            return f"{self.watched[0][0]} stopped improving; the weights of the best epoch were restored"
        if status == "done" and self.best is not None and math.isinf(self.best.value[place]):
            watched = self.watched[0][0]
            other = self.train_step.task.main_metric if watched.endswith("/loss") else "loss"
            return (
                f"{watched} had no finite value in any epoch, so early stopping had nothing to go by and the last weights were "
                f"kept; type regularizer.early_stopping.metric={other}"
            )
        return ""

    def results(self) -> list[Outcome]:
        """Every run's outcome, in the cohort's order: rows measured at once with the parameters that they ended with.

        Of several, those that were interrupted are not measured, since whoever interrupts does not want to wait: their history
        is all that is known of them.
        """
        rows = [row for row in self.order if self.asked == 1 or self.outcomes[row].status != "interrupted"]
        if rows:
            self._measure(rows)
        epochs = [float(epoch) for epoch, _ in self.records]
        measured = self.records[-1][1] if self.records else {}
        columns = {name: np.stack([record[name] for _, record in self.records], 1) for name in measured}
        if columns:
            add_jumps(self.outcomes, columns["train/loss"], epochs)
        names = ("epoch", *columns)
        history = zip(itertools.repeat(epochs), *(values.tolist() for values in columns.values()))
        for outcome, mine in zip(self.outcomes, history, strict=False):
            count = bisect_right(epochs, outcome.epochs)
            outcome.history = {name: values[:count] for name, values in zip(names, mine, strict=True)}
        model = self.train_step.model
        weights = {
            slot.name: view
            for layout, matrix in zip((model.layout, model.buffers), self.final, strict=True)
            for slot, view in zip(layout.slots, itertools.chain(*layout.views(matrix)), strict=True)
        }
        for place, row in enumerate(self.order):
            self.outcomes[row].weights = {name: views[place] for name, views in weights.items()}
        return self.outcomes[: self.asked]

    def _measure(self, rows: list[int]) -> None:
        """Put the metrics and diagnostics of these runs, in the order of ``order``, into their outcomes."""
        chosen = set(rows)
        places = [place for place, row in enumerate(self.order) if row in chosen]
        if rows != self.active:
            self._bind_runs(rows, self.all_data.select(places))
            self.way = self.way.of(self.train_step, self.table, (self.final[0][places], self.final[1][places]))
        theta, buffers = (matrix[places] for matrix in self.final)
        self.way.use(theta, buffers)
        names = dict.fromkeys((*default_metrics(self.cohort.data, self.train_step.runs), self.settings.metric))
        measured: dict[str, Array] = {}
        predicted: dict[str, Array] = {}
        of_subset: dict[str, Forms] = {}
        derived, known = derived_of(self.train_step, self.table, self.way), self.train_step.task.metrics

        def keep(subset: str, forms: Forms) -> None:
            of_subset[subset] = forms
            if self.settings.predictions and subset != "train" and forms.output[0].size <= MOST_PREDICTED:
                values = forms[self.train_step.task.log_form]
                predicted[subset] = values if self.train_step.task.scaled else values.astype(np.float32)  # units may need digits

        cut = thresholds(self.train_step, self.table, self.way)
        for subset in SUBSETS:
            if self.table.sizes[subset]:
                asked = [name for name in names if subset != "train" or name == "loss" or not known[name].held_out]
                found = measure(self.train_step, self.table, self.way, subset, asked, keep=keep, cut=cut, derived=derived)
                measured |= {f"{subset}/{name}": values for name, values in found.items()}
        inside = diagnostics.diagnose(self.way, self.train_step, self.table, theta)
        inside["gradient_norm_at_start"] = self.start[places]
        if cut is not None:
            inside["threshold"] = sigmoid(cut[:, 0, 0] if cut.shape[2] == 1 else cut[:, 0])
        inside |= diagnostics.of_predictions(self.train_step, self.table, measured, of_subset.get("test"))
        columns = {name: values.tolist() for name, values in measured.items()}
        details = {name: values.tolist() for name, values in inside.items()}
        losses = {id(run.loss): run for run in self.train_step.runs}  # which of them takes quantile levels decides
        usual = {loss: {*default_metrics(self.cohort.data, [run])} for loss, run in losses.items()}
        mine = {
            loss: {
                name: values for name, values in columns.items() if name.split("/")[1] in known | {"loss", self.settings.metric}
            }
            for loss, known in usual.items()
        }
        for place, row in enumerate(rows):
            outcome, measured_here = self.outcomes[row], mine[id(self.cohort.runs[row].loss)]
            outcome.metrics = {name: values[place] for name, values in measured_here.items()}
            outcome.diagnostics = {name: values[place] for name, values in details.items()}
            outcome.cut = None if cut is None else cut[place, 0].tolist()
        for subset, values in predicted.items():
            for here, some in self.table.spans(subset):
                each = values[:, here]
                for place in some or range(len(rows)):
                    self.outcomes[rows[place]].predictions[subset] = each[place]

    def _everyone(self, found: dict[str, Array]) -> dict[str, Array]:
        """Values of the present rows [r] at their places among all runs [R]; NaN for rows that were cut."""
        out = np.full((len(found), len(self.cohort.runs)), np.nan)
        out[:, self.places] = [*found.values()]
        return dict(zip(found, out, strict=True))

    def progress(self, epoch: int, seconds: float) -> Progress:
        """How things stand after ``epoch`` epochs."""
        alive = self.alive[: self.asked].tolist()
        finished = alive.count(False)
        latest = self.records[-1][1] if self.records else {}
        name = f"validation/{self.settings.metric}" if f"validation/{self.settings.metric}" in latest else "train/loss"
        shown = alive if finished < self.asked else [True] * self.asked
        mean = {
            key: _mean(itertools.compress(latest[key].tolist(), shown)) if key in latest else math.nan
            for key in ("train/loss", name)
        }
        return Progress(
            runs=self.asked,
            finished=finished,
            diverged=finished and sum(outcome.status == "diverged" for outcome in self.outcomes[: self.asked]),
            epoch=epoch,
            epochs=self.settings.epochs,
            step=self.step,
            steps=self.total_steps,
            seconds=seconds,
            loss=mean["train/loss"],
            metric_name=name,
            metric=mean[name],
        )


def _mean(values: Iterable[float]) -> float:
    """The mean of those that are not NaN; NaN where all are."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def fit(
    cohort: Cohort,
    *,
    report: Report | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    keeper: Keeper | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Outcome]:
    """Train every run of the cohort, and return what became of each, in the cohort's order.

    Args:
        report: hears of every evaluation.
        interrupted: is asked before every step; when it says yes, runs that still train end with status "interrupted".
        keeper: takes a checkpoint whenever one is due, and when training is interrupted.
        checkpoint: where training goes on.

    Raises:
        UnfitCheckpointError: the checkpoint is not one of this cohort; nothing was trained.
    """
    keep_memory()
    started = time.perf_counter()
    training, settings = Training(cohort, interrupted, keeper), cohort.settings
    epoch, before = (0, 0.0) if checkpoint is None else restore(training, checkpoint)
    started -= before
    while training.alive[: training.asked].any() and epoch < training.epochs and not interrupted():
        training.epoch(epoch)  # of a checkpoint before an evaluation no step is left
        if keeper is not None and keeper.due(training.step):
            keeper.take(training, epoch, time.perf_counter() - started)
        if training.step < min((epoch + 1) * training.steps_per_epoch, training.total_steps):  # stopped on the way
            continue
        epoch += 1
        if epoch == training.epochs or epoch % settings.evaluate_every == 0:
            training.evaluate(epoch)
            if report is not None:
                report(training.progress(epoch, time.perf_counter() - started))
    rest = training.alive[training.active]
    status: Status = "done" if epoch == training.epochs else "interrupted"
    if keeper is not None and rest.any() and status == "interrupted":
        keeper.take(training, epoch, time.perf_counter() - started)
    training.way.evaluated(training.step)
    training.finish(rest, status, epoch)
    return training.results()
