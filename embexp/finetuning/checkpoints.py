"""What a killed training run leaves, and how the next one finds its way back: no torn checkpoint is read."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import EmbexpError
from embexp.finetuning.training import Training, TrainingStep
from embexp.storage.files import atomic_write, sha256_of, write_json

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


COMPLETE = "complete.json"
DONE = "done.json"
START = "start.safetensors"
TUNED = "tuned.safetensors"
MODEL = "model.safetensors"
RUN = "run.json"
WEIGHTS = "weights.safetensors"
LOSS = "loss.safetensors"
PREFIX = "checkpoint-"
KEEP = 2
MIB = 1 << 20


@dataclass(kw_only=True)
class Progress:
    """What the trainer must remember besides the weights: the log, the best so far, what it has changed.

    ``best_step`` and ``best_score`` are those of the trained weights, ``untuned_score`` that before the
    first step; ``level`` is the smoothed loss.
    """

    history: list[TrainingStep] = field(default_factory=list)
    untuned_score: float | None = None
    best_step: int | None = None
    best_score: float | None = None
    without_gain: int = 0
    level: float | None = None
    lowest_level: float | None = None
    retries: int = 0
    mini_batch_size: int | None = None

    def at(self, step: int | None, metric: str) -> float | None:
        """Return what the log holds of a metric at a step; None where it was not scored there."""
        found = (point.metrics.get(metric) for point in reversed(self.history) if point.step == step)
        return next((value for value in found if value is not None), None)


class Checkpoints:
    """The checkpoints of one run in its ``work_dir``.

    ``checkpoint-STEP/`` holds weights (the loss's own, too), optimizer, schedule and random states; it
    counts once its ``complete.json`` lists all its files with their sizes. ``start.safetensors`` holds the
    untuned weights, ``best/STEP.safetensors`` the best trained ones. ``done.json`` says that training has
    ended; ``model.safetensors`` then holds what came out, and the others are gone.
    """

    def __init__(self, work_dir: Path) -> None:
        self.folder = work_dir

    def claim(self, fingerprint: str) -> None:
        """Make the folder this run's own: what another model, loss, data set or setting left is removed.

        Raises:
            EmbexpError: The folder may not be written, or its disk is full.
        """
        note = self.folder / RUN
        before = _read(note)
        if before is not None and before.get("fingerprint") != fingerprint:
            log.warning("%s holds checkpoints of other settings or data: they are removed.", self.folder)
            for path in [self.folder / DONE, *self._of_training()]:
                _remove(path)
        write_json(note, {"fingerprint": fingerprint})

    def check_space(self, model: nn.Module) -> None:
        """Check that the disk holds what training will write.

        Raises:
            EmbexpError: It does not; the message gives both sizes.
        """
        weights = sum(value.numel() * value.element_size() for value in model.state_dict().values())
        trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
        needed = (KEEP + 1) * (weights + 2 * trained) + 5 * weights
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise EmbexpError(
                f"{self.folder}: training writes up to {needed // MIB:,} MiB of checkpoints, and the disk "
                f"has {free // MIB:,} MiB free. Free some, or set paths.cache and hydra.run.dir to another "
                "disk."
            )

    def latest(self) -> tuple[Path, Progress, int] | None:
        """Return the newest complete checkpoint, its progress and its step; torn ones are removed."""
        found = sorted(self.folder.glob(f"{PREFIX}*"), key=lambda path: _step(path.name), reverse=True)
        for path in found:
            marker = _read(path / COMPLETE)
            if marker is not None and all(
                (path / name).is_file() and (path / name).stat().st_size == size
                for name, size in marker["files"].items()
            ):
                return path, _progress(marker["progress"]), _step(path.name)
            log.warning("%s was cut off while it was written: it is skipped.", path)
            _remove(path)
        return None

    def complete(self, step: int, progress: Progress) -> None:
        """Mark a checkpoint as whole, and remove what is no longer needed."""
        path = self.path(step)
        sizes = {file.name: file.stat().st_size for file in sorted(path.iterdir())}
        write_json(path / COMPLETE, {"files": sizes, "progress": asdict(progress)})
        found = sorted(self.folder.glob(f"{PREFIX}*"), key=lambda path: _step(path.name))
        for old in found[:-KEEP]:
            _remove(old)
        markers = [_read(path / COMPLETE) for path in found[-KEEP:]]
        wanted = {marker["progress"]["best_step"] for marker in markers if marker is not None}
        for weights in (self.folder / "best").glob("*.safetensors"):
            if _number(weights.stem) not in wanted:
                weights.unlink()

    def path(self, step: int) -> Path:
        """Return the folder of a checkpoint."""
        return self.folder / f"{PREFIX}{step}"

    def drop(self, step: int) -> None:
        """Remove a checkpoint that leads nowhere; the one before it is the newest then."""
        _remove(self.path(step))

    def save_start(self, model: nn.Module) -> None:
        """Keep the untuned weights, unless an interrupted call has."""
        if not (self.folder / START).is_file():
            save_weights(self.folder / START, model)

    def load_start(self, model: nn.Module) -> None:
        """Put the untuned weights back into the model."""
        load_weights(self.folder / START, model)

    def save_tuned(self, model: nn.Module) -> None:
        """Keep the trained weights in the model's own form, whatever way they were trained in."""
        save_weights(self.folder / TUNED, model)

    def load_mix(self, model: nn.Module, *, weight: float) -> None:
        """Put a mean of untuned and tuned weights into the model; at 1 they are the tuned ones."""
        mix_weights(model, self.folder / START, self.folder / TUNED, weight=weight)

    def save_best(self, step: int, model: nn.Module) -> None:
        """Keep the weights that scored best."""
        save_weights(self._best(step), model)

    def load_best(self, step: int, model: nn.Module) -> None:
        """Put the weights of ``step`` into the model."""
        load_weights(self._best(step), model)

    def finish(self, training: Training, model: nn.Module) -> None:
        """Note that training has ended with these weights, and remove what it needed."""
        save_weights(self.folder / MODEL, model)
        write_json(self.folder / DONE, {"training": asdict(training)})
        for path in self._of_training():
            if path.name != MODEL:
                _remove(path)

    def finished(self) -> Training | None:
        """Return what a run that ended here did, if its weights are still there."""
        done = _read(self.folder / DONE)
        if done is None or not (self.folder / MODEL).is_file():
            return None
        fields = done["training"]
        history = tuple(TrainingStep(**step) for step in fields.pop("history"))
        return Training(**fields, history=history)

    def load_model(self, model: nn.Module) -> None:
        """Put what came out of a run that has ended into the model."""
        load_weights(self.folder / MODEL, model)

    def _of_training(self) -> list[Path]:
        named = [self.folder / name for name in (START, TUNED, MODEL, "best")]
        return [path for path in [*named, *self.folder.glob(f"{PREFIX}*")] if path.exists()]

    def _best(self, step: int) -> Path:
        return self.folder / "best" / f"{step}.safetensors"


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a model's weights as safetensors, atomically."""
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    with atomic_write(path, "wb") as stream:
        stream.write(save(state))


def load_weights(path: Path, model: nn.Module) -> None:
    """Load a safetensors file into a model in place."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(path))


def save_loss(folder: Path, loss: nn.Module, model: nn.Module) -> None:
    """Write what a loss trains of its own (a classifier, a projection), if it does."""
    from safetensors.torch import save

    own = own_weights(loss, model)
    if own:
        state = {str(at): value.detach().cpu().contiguous().clone() for at, value in enumerate(own)}
        with atomic_write(folder / LOSS, "wb") as stream:
            stream.write(save(state))


def load_loss(folder: Path, loss: nn.Module, model: nn.Module) -> None:
    """Load into a loss what ``save_loss`` wrote of it."""
    import torch
    from safetensors.torch import load_file

    own = own_weights(loss, model)
    stored = load_file(folder / LOSS) if own else {}
    with torch.no_grad():
        for at, value in enumerate(own):
            value.copy_(stored[str(at)])


def own_weights(loss: nn.Module, model: nn.Module) -> list[nn.Parameter]:
    """Return the trained weights of a loss that are not the model's; names would change with a wrapper."""
    of_model = {id(value) for value in model.parameters()}
    return [value for value in loss.parameters() if value.requires_grad and id(value) not in of_model]


def mix_weights(model: nn.Module, base: Path, tuned: Path, *, weight: float) -> None:
    """Set a model's weights to ``(1 - weight) * base + weight * tuned``, one tensor at a time.

    Averaging in weight space: Wortsman et al. 2022, arXiv 2109.01903. Whole numbers come from ``tuned``.
    """
    import torch
    from safetensors import safe_open

    with safe_open(base, "pt") as old, safe_open(tuned, "pt") as new, torch.no_grad():
        for name, value in model.state_dict().items():
            target = new.get_tensor(name)
            if target.is_floating_point():
                target = torch.lerp(old.get_tensor(name), target, weight)
            value.copy_(target)


def fingerprint_of(model: nn.Module, *settings: object) -> str:
    """Return a digest of a model's weights and of all settings that shape its training."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return sha256_of(digest.hexdigest(), *settings)


def _progress(stored: Mapping[str, Any]) -> Progress:
    return Progress(**{**stored, "history": [TrainingStep(**step) for step in stored["history"]]})


def _step(name: str) -> int:
    return _number(name.removeprefix(PREFIX))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else -1


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found


def _remove(path: Path) -> None:
    """Remove a file or a folder, its marker first: a folder that is cut off half-way counts no more."""
    if path.is_dir():
        (path / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
