"""One small training loop into which any set of techniques plugs.

    loop = Loop(task, [FGSM(eps=8 / 255), SWA()], Settings(budget_passes=2000))
    trained = loop.run()

Budgets are passes, forward plus backward, counted by techniques.passes: a candidate that attacks its inputs has fewer
steps for the same budget. Everything random comes from generators seeded by `Settings.seed`: the network's first
weights, the order of the data and what is random in an example (the same for every set of techniques), and, apart from
those, what techniques draw. A run with a folder writes its state there now and then and goes on from it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from techniques.batchnorm import recompute_batchnorm
from techniques.checkpoint import load_state, save_state
from techniques.errors import CheckpointError, EmptyData, NonFiniteLoss
from techniques.passes import Counted, Passes
from techniques.settings import Settings, device_of, optimiser_of, share_of_rate
from techniques.task import Batch, Examples, Following, Objective, Task, Tensors
from techniques.technique import Gradient, Technique
from techniques.weight_files import begin_with, file_sha256

__all__ = ["CHECKPOINT", "Loop", "Settings", "Trained"]

CHECKPOINT = "state.safetensors"


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, and how it came about.

    Attributes:
        history: (passes so far, loss) of every step.
        reports: what techniques found out, by technique.
        techniques: the run's own, as they were at its end.
    """

    model: nn.Module
    passes: Passes
    steps: int
    seconds: float
    history: list[tuple[int, float]]
    reports: dict[str, Any]
    techniques: Sequence[Technique]


@dataclass
class Loop:
    """One training run: what techniques see and may change.

    It works on fresh copies of the techniques it is given: those objects stay as they are, and may be given to any
    number of runs.

    Attributes:
        techniques: the run's own copies.
        model: the network that is trained.
        objective: the task's, counting passes.
        generator: for what techniques draw (on the CPU).
        extra_modules: auxiliary heads, trained along and left out of the candidate.
        reports: what techniques found out.
        step, epoch: finished ones.
    """

    task: Task
    techniques: Sequence[Technique]
    settings: Settings
    folder: Path | None = None
    tell: Callable[[Loop, float], None] | None = None
    extra_modules: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    reports: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    epoch: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not len(self.task.train):
            raise EmptyData("there is no training data", where="Task.train", remedy="give it examples")
        self.techniques = [technique.fresh() for technique in self.techniques]
        device = device_of(self.settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            self.model: nn.Module = self._network().to(device).train()
        self._initial_sha256 = ""
        if self.settings.initial:
            begin_with(self.model, Path(self.settings.initial))
            self._initial_sha256 = file_sha256(Path(self.settings.initial))
        self.device = device
        self.passes = Passes()
        self.objective: Objective = Counted(self.task.objective, self.passes)
        self.generator = torch.Generator().manual_seed(self.settings.seed + 1_000_003)
        self._order = torch.Generator().manual_seed(self.settings.seed + 2_000_003)
        self._examples = torch.Generator().manual_seed(self.settings.seed + 3_000_017)
        self._other = torch.Generator().manual_seed(self.settings.seed + 4_000_037)
        self._queue = torch.empty(0, dtype=torch.long)
        self._started = False

    @property
    def progress(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        return min(self.passes.total / self.settings.budget_passes, 1.0)

    def run(self) -> Trained:
        """Train until the budget is used (or go on where the folder's state says), finish, and return the network.

        Raises:
            NonFiniteLoss: the loss is no longer finite; the last state stays in the folder.
            CheckpointError: the folder holds the state of another run.
        """
        self.begin()
        began, saved = time.perf_counter() - self.seconds, time.perf_counter()
        while self.progress < 1:
            loss = self.one_step()
            self.seconds = time.perf_counter() - began
            if self.tell is not None:
                self.tell(self, loss)
            if self.folder is not None and time.perf_counter() - saved > self.settings.checkpoint_s:
                self.save()
                saved = time.perf_counter()
        with self.passes.uncounted():
            for technique in self.techniques:
                technique.finish(self)
        self.seconds = time.perf_counter() - began
        return Trained(
            self.model.eval(), self.passes, self.step, self.seconds, self.history, self.reports, self.techniques
        )

    def begin(self) -> None:
        """Start the techniques, make the optimiser, and take up a state that the folder has."""
        if self._started:
            return
        torch.manual_seed(self.settings.seed)  # dropout draws from torch's global generator
        for technique in self.techniques:
            with self.passes.uncounted():
                technique.start(self)
        self.extra_modules.to(self.device).train()
        trained = [*self.model.parameters(), *self.extra_modules.parameters()]
        self.optimiser: torch.optim.Optimizer = optimiser_of(self.settings, trained)
        self._started = True
        if self.folder is not None and (self.folder / CHECKPOINT).exists():
            self.restore(load_state(self.folder / CHECKPOINT))

    def one_step(self) -> float:
        """One step of the optimiser; its loss."""
        self.begin()
        self.set_rate(self.scheduled_rate(self.progress))
        batch = self._next_batch()
        for technique in self.techniques:
            batch = technique.before_step(self, batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss = float(self._gradient()(batch))
        if not math.isfinite(loss):
            raise NonFiniteLoss(
                f"the loss is {loss}",
                where=f"step {self.step}, {[t.name for t in self.techniques]}",
                remedy="use a smaller rate, or a weaker technique",
            )
        self.apply_gradients()
        self.step += 1
        self.history.append((self.passes.total, loss))
        for technique in self.techniques:
            technique.after_step(self)
        if not len(self._queue):
            self.epoch += 1
            for technique in self.techniques:
                technique.after_epoch(self)
        return loss

    def apply_gradients(self) -> None:
        """Clip, let the optimiser step; techniques that take several steps on one batch call it too."""
        if self.settings.clip:
            nn.utils.clip_grad_norm_([*self.model.parameters(), *self.extra_modules.parameters()], self.settings.clip)
        self.optimiser.step()

    def scheduled_rate(self, progress: float) -> float:
        """The rate that the settings' schedule has at that progress (0 to 1)."""
        return self.settings.rate * share_of_rate(self.settings.schedule, progress)

    def set_rate(self, rate: float) -> None:
        """The learning rate of this step."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def outputs(self, inputs: Tensors) -> Tensors:
        """The objective's outputs of the network being trained, in the run's precision."""
        with self.autocast():
            return self.objective.outputs(self.model, inputs)

    def autocast(self) -> torch.autocast:
        """The run's precision."""
        precision = self.settings.precision
        mixed = precision == "bf16" or (precision == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)

    def unlabelled_batch(self, size: int | None = None) -> Batch:
        """Inputs without labels: of the task's unlabelled examples, or of its training examples if it has none."""
        examples = self.task.unlabelled if self.task.unlabelled is not None else self.task.train
        rows = torch.randint(len(examples), (size or self.settings.batch,), generator=self._other)
        batch = examples.batch(rows, self._other)
        return self._moved(replace(batch, targets=()))

    def batches(self, examples: Examples, size: int = 64, limit: int | None = None) -> Iterator[Batch]:
        """All examples, or the first `limit`, in order, on the run's device; what is random is the same every time."""
        generator = torch.Generator().manual_seed(0)
        count = min(len(examples), limit or len(examples))
        for start in range(0, count, size):
            yield self._moved(examples.batch(torch.arange(start, min(start + size, count)), generator))

    def recompute_batchnorm(self, model: nn.Module, batches: int = 32) -> None:
        """Running statistics of `model` anew from training inputs; costs no budget."""
        size = self.settings.batch
        with self.passes.uncounted(), self.autocast():
            inputs = (b.inputs for b in self._sample(self.task.train, size, batches * size))
            recompute_batchnorm(model, self.objective, inputs)

    def _sample(self, examples: Examples, size: int, limit: int) -> Iterator[Batch]:
        """At most `limit` of the examples, from all over the set; the same every time."""
        generator = torch.Generator().manual_seed(0)
        for rows in torch.split(torch.randperm(len(examples), generator=generator)[:limit], size):
            yield self._moved(examples.batch(rows, generator))

    @torch.no_grad()
    def mean_error(self, model: nn.Module, examples: Examples) -> float:
        """Mean of the objective's error over `examples` in evaluation mode, in the task's unit; costs no budget."""
        from techniques.batchnorm import evaluating

        errors = []
        with self.passes.uncounted(), evaluating(model):
            for batch in self.batches(examples):
                errors.append(self.objective.error(self.objective.outputs(model, batch.inputs), batch.targets))
        if not errors:
            raise EmptyData("there is nothing to measure the error on", where="mean_error(examples)", remedy="add data")
        return float(torch.cat(errors).nanmean())

    def save(self) -> None:
        """Write the state to the folder."""
        if self.folder is not None:
            save_state(self.folder / CHECKPOINT, self.state())

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on."""
        generators = (self.generator, self._order, self._examples, self._other)
        return {
            "identity": self._identity(),
            "model": dict(self.model.state_dict()),
            "extra": dict(self.extra_modules.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "passes": [self.passes.forward, self.passes.backward],
            "counters": [self.step, self.epoch, self.seconds],
            "history": torch.tensor(self.history, dtype=torch.float64),
            "generators": [g.get_state() for g in generators],
            "queue": self._queue,
            "global": torch.get_rng_state(),
            "own": [dict(t.state()) for t in self.techniques],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`.

        Raises:
            CheckpointError: it is of a run with other settings or techniques.
        """
        if state["identity"] != self._identity():
            raise CheckpointError(
                "it belongs to a run with other settings or techniques",
                where=str((self.folder or Path()) / CHECKPOINT),
                remedy="use another folder, or delete it and start anew",
            )
        self.model.load_state_dict(state["model"])
        self.extra_modules.load_state_dict(state["extra"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.passes.forward, self.passes.backward = state["passes"]
        self.step, self.epoch, self.seconds = state["counters"]
        self.history = [(int(p), float(loss)) for p, loss in state["history"].tolist()]
        for generator, saved in zip(
            (self.generator, self._order, self._examples, self._other), state["generators"], strict=True
        ):
            generator.set_state(saved)
        self._queue = state["queue"]
        torch.set_rng_state(state["global"])
        for technique, saved in zip(self.techniques, state["own"], strict=True):
            technique.restore(saved)

    def _identity(self) -> str:
        """Settings and techniques with their options, as far as they decide the outcome."""
        settings = {k: v for k, v in asdict(self.settings).items() if k != "checkpoint_s"}
        settings["initial"] = self._initial_sha256
        chosen = [(t.name, {**t.options(), **t.file_hashes()}) for t in self.techniques]
        return repr((settings, chosen))

    def _network(self) -> nn.Module:
        """A fresh network, with the architecture that the techniques want."""
        network: nn.Module = self.task.network()
        for technique in self.techniques:
            change = technique.architecture()
            if change is not None:
                network = change[0](network, **change[1])
        return network

    def _gradient(self) -> Gradient:
        """The loss and its gradient, wrapped by every technique; the first technique is outermost."""
        gradient: Gradient = self._plain_gradient
        for technique in reversed(self.techniques):
            gradient = partial(technique.gradient, self, inner=gradient)
        return gradient

    def _plain_gradient(self, batch: Batch) -> Tensor:
        with self.autocast():
            outputs = self.objective.outputs(self.model, batch.inputs)
            loss = self.objective.loss(outputs, batch.targets).mean()
            for technique in self.techniques:
                loss = technique.loss(self, batch, outputs, loss)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stub
        return loss.detach()

    def _next_batch(self) -> Batch:
        """The next rows of a shuffled epoch; a last short batch is left out unless it is the only one."""
        if len(self._queue) < min(self.settings.batch, len(self.task.train)):
            self._queue = torch.randperm(len(self.task.train), generator=self._order)
        rows, self._queue = self._queue[: self.settings.batch], self._queue[self.settings.batch :]
        if len(self._queue) < min(self.settings.batch, len(self.task.train)):
            self._queue = self._queue[:0]
        return self._moved(self.task.train.batch(rows, self._examples))

    def _moved(self, batch: Batch) -> Batch:
        if self.device.type == "cpu":
            return batch

        def to(tensors: Tensors) -> Tensors:
            return tuple(t.to(self.device, non_blocking=True) for t in tensors)

        following = batch.following
        if following is not None:
            following = Following(to(following.inputs), *to((following.motion,)))
        return Batch(to(batch.inputs), to(batch.targets), tuple(to(v) for v in batch.variants), following)
