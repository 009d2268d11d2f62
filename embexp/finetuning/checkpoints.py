"""Checkpoints of a training that can be killed at any moment.

An incomplete or damaged checkpoint is never resumed from: there are checksums of the weights and of every
other file of a checkpoint.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import DamagedError, EmbexpError
from embexp.finetuning.training import Training, TrainingStep
from embexp.storage.checksums import find_damage, read_checked_json, record_files, write_checked_json
from embexp.storage.files import atomic_write, sha256_of

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)


_COMPLETE = "complete.json"
_DONE = "done.json"
_START = "start.safetensors"
_TUNED = "tuned.safetensors"
_MODEL = "model.safetensors"
_RUN = "run.json"
_WEIGHTS = "weights.safetensors"
_LOSS = "loss.safetensors"
_PREFIX = "checkpoint-"
_KEEP = 2
_MIB = 1 << 20


@dataclass(kw_only=True)
class Progress:
    """The state of a training besides its weights: the log, the best score so far, what recovery changed.

    ``best_step`` and ``best_score`` are those of the trained weights, ``untuned_score`` is the one before the
    first step; ``untuned_questions`` and ``best_questions`` are those of each dev question. ``level`` is the
    smoothed loss.
    """

    history: list[TrainingStep] = field(default_factory=list)
    untuned_score: float | None = None
    best_step: int | None = None
    best_score: float | None = None
    untuned_questions: list[float] = field(default_factory=list)
    best_questions: list[float] = field(default_factory=list)
    without_gain: int = 0
    level: float | None = None
    lowest_level: float | None = None
    retries: int = 0
    mini_batch_size: int | None = None

    def at(self, step: int | None, metric: str) -> float | None:
        """Return a metric's value at a step; None if it was not scored there."""
        values = (point.metrics.get(metric) for point in reversed(self.history) if point.step == step)
        return next((value for value in values if value is not None), None)


@dataclass(kw_only=True)
class TrainingLog:
    """The log of a training, shared by its callbacks and its recovery.

    ``progress`` is what a checkpoint stores; ``step`` is the last finished step.
    """

    on_step: Callable[[TrainingStep], None]
    progress: Progress = field(default_factory=Progress)
    step: int = 0

    def record(self, step: int, metrics: dict[str, float]) -> None:
        """Add a point to the log."""
        point = TrainingStep(step, metrics)
        self.progress.history.append(point)
        self.on_step(point)

    def replay(self) -> None:
        """Repeat the points of a resumed training."""
        for point in self.progress.history:
            self.on_step(point)


class Checkpoints:
    """The checkpoints of one run in its ``work_dir``.

    ``checkpoint-STEP/`` holds weights (including the loss's own), optimizer, schedule and random states; it
    is valid once its ``complete.json`` lists all its files with their sizes and checksums.
    ``start.safetensors`` holds the untuned weights, ``best/STEP.safetensors`` the best trained ones.
    ``done.json`` marks a training that has ended; ``model.safetensors`` then holds the selected weights, and
    everything else is removed.
    """

    def __init__(self, work_dir: Path) -> None:
        self.folder = work_dir

    def claim(self, fingerprint: str) -> None:
        """Mark the folder as this run's, and remove checkpoints of another model, loss, data set or setting.

        Raises:
            EmbexpError: The folder may not be written, or its disk is full.
        """
        marker = self.folder / _RUN
        before = _read(marker)
        if marker.exists() and (before is None or before["fingerprint"] != fingerprint):
            log.warning("%s: removing checkpoints of other settings or data.", self.folder)
            for path in [self.folder / _DONE, *self._of_training()]:
                _remove(path)
        write_checked_json(marker, {"fingerprint": fingerprint})

    def check_space(self, model: nn.Module) -> None:
        """Check that the disk has space for what training will write.

        Raises:
            EmbexpError: It has not; the message gives both sizes.
        """
        weights = sum(value.numel() * value.element_size() for value in model.state_dict().values())
        trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
        needed = (_KEEP + 1) * (weights + 2 * trained) + 5 * weights
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise EmbexpError(
                f"{self.folder}: training writes up to {needed // _MIB:,} MiB of checkpoints, and the disk "
                f"has {free // _MIB:,} MiB free. Free some, or set paths.cache and hydra.run.dir to another "
                "disk."
            )

    def latest(self) -> tuple[Path, Progress, int] | None:
        """Return the newest usable checkpoint, its progress and its step; remove those that are not."""
        paths = sorted(self.folder.glob(f"{_PREFIX}*"), key=lambda path: _step(path.name), reverse=True)
        for path in paths:
            try:
                return path, self._progress_of(path), _step(path.name)
            except FileNotFoundError:
                log.warning("%s is incomplete: the process was stopped while writing it. Skipping it.", path)
            except DamagedError as error:
                log.warning("%s is damaged (%s). Skipping it.", path, str(error).rstrip("."))
            _remove(path)
        return None

    def find_damage(self) -> str | None:
        """Read every checkpoint whole, and return what is damaged first; None if nothing is."""
        for path in sorted(self.folder.glob(f"{_PREFIX}*")):
            try:
                self._progress_of(path, whole=True)
            except FileNotFoundError:  # it is being written, or was when the process was stopped
                continue
            except DamagedError as error:
                return f"{path.name}: {error}"
        return None

    def _progress_of(self, path: Path, *, whole: bool = False) -> Progress:
        """Return the progress of a checkpoint after checking its files, and the best weights until then.

        Raises:
            FileNotFoundError: It was not completed.
            DamagedError: A file is not as it was written.
        """
        marker = read_checked_json(path / _COMPLETE)
        if problem := find_damage(path, marker["files"], whole=whole):
            raise DamagedError(problem)
        progress = _progress(marker["progress"])
        if progress.best_step is not None:
            check_weights(self._best(progress.best_step))
        return progress

    def complete(self, step: int, progress: Progress) -> None:
        """Mark a checkpoint as complete, and remove what is no longer needed."""
        path = self.path(step)
        files = record_files(path, sorted(file.name for file in path.iterdir()))
        write_checked_json(path / _COMPLETE, {"files": files, "progress": asdict(progress)})
        paths = sorted(self.folder.glob(f"{_PREFIX}*"), key=lambda path: _step(path.name))
        for old in paths[:-_KEEP]:
            _remove(old)
        markers = [_read(path / _COMPLETE) for path in paths[-_KEEP:]]
        needed = {marker["progress"]["best_step"] for marker in markers if marker is not None}
        for weights in (self.folder / "best").glob("*.safetensors"):
            if _number(weights.stem) not in needed:
                weights.unlink()

    def path(self, step: int) -> Path:
        """Return the folder of a checkpoint."""
        return self.folder / f"{_PREFIX}{step}"

    def drop(self, step: int) -> None:
        """Remove a checkpoint that leads to divergence; the one before it becomes the newest."""
        _remove(self.path(step))

    def save_start(self, model: nn.Module) -> None:
        """Save the untuned weights, unless an interrupted call already has."""
        path = self.folder / _START
        if path.is_file():
            try:
                return check_weights(path)
            except DamagedError as error:
                log.warning("%s They are saved again.", error)
        save_weights(path, model)
        return None

    def load_start(self, model: nn.Module) -> None:
        """Load the untuned weights into the model."""
        _load_weights(self.folder / _START, model)

    def save_tuned(self, model: nn.Module) -> None:
        """Save the tuned weights in the model's own form, whichever method trained them."""
        save_weights(self.folder / _TUNED, model)

    def load_mix(self, model: nn.Module, *, weight: float) -> None:
        """Load an average of untuned and tuned weights into the model.

        Weight 1 gives the tuned ones bit by bit, so that their digest finds the vectors that dev scoring
        encoded with them: interpolation makes 0 of -0, which MiniLM's weights hold.
        """
        if weight == 1:
            _load_weights(self.folder / _TUNED, model)
        else:
            _mix_weights(model, self.folder / _START, self.folder / _TUNED, weight=weight)

    def save_best(self, step: int, model: nn.Module) -> None:
        """Save the best weights so far."""
        save_weights(self._best(step), model)

    def load_best(self, step: int, model: nn.Module) -> None:
        """Load the best weights, those of ``step``, into the model."""
        _load_weights(self._best(step), model)

    def finish(self, training: Training, model: nn.Module) -> None:
        """Save the selected weights and the summary, and remove everything else."""
        save_weights(self.folder / _MODEL, model)
        write_checked_json(self.folder / _DONE, {"training": asdict(training)})
        for path in self._of_training():
            if path.name != _MODEL:
                _remove(path)

    def finished(self) -> Training | None:
        """Return the summary of a training that ended here; None if there is none or its weights are gone."""
        from pydantic import TypeAdapter

        done = _read(self.folder / _DONE)
        if done is None or not (self.folder / _MODEL).is_file():
            return None
        try:
            check_weights(self.folder / _MODEL)
        except DamagedError as error:
            log.warning("%s Training starts over.", error)
            return None
        return TypeAdapter(Training).validate_python(done["training"])

    def load_model(self, model: nn.Module) -> None:
        """Load the selected weights of a training that ended here."""
        _load_weights(self.folder / _MODEL, model)

    def _of_training(self) -> list[Path]:
        named = [self.folder / name for name in (_START, _TUNED, _MODEL, "best")]
        return [path for path in [*named, *self.folder.glob(f"{_PREFIX}*")] if path.exists()]

    def _best(self, step: int) -> Path:
        return self.folder / "best" / f"{step}.safetensors"


def save_checkpoint(folder: Path, model: nn.Module, loss: nn.Module) -> None:
    """Write a model's weights into a checkpoint's folder, and those that the loss trains of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder / _WEIGHTS, model)
    if own := loss_weights(loss, model):
        _write(folder / _LOSS, {str(at): value for at, value in enumerate(own)})


def load_checkpoint(folder: Path, model: nn.Module, loss: nn.Module) -> None:
    """Load what ``save_checkpoint`` wrote."""
    import torch

    _load_weights(folder / _WEIGHTS, model)
    own = loss_weights(loss, model)
    stored = _read_weights(folder / _LOSS) if own else {}
    with torch.no_grad():
        for at, value in enumerate(own):
            value.copy_(stored[str(at)])


def loss_weights(loss: nn.Module, model: nn.Module) -> list[nn.Parameter]:
    """Return the weights that a loss trains of its own (a classifier, a projection), in order."""
    of_model = {id(value) for value in model.parameters()}
    return [value for value in loss.parameters() if value.requires_grad and id(value) not in of_model]


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a model's weights as safetensors with their checksum, atomically."""
    _write(path, model.state_dict())


def check_weights(path: Path) -> None:
    """Read a file of weights, one tensor at a time, and compare it with its checksum.

    Raises:
        DamagedError: The weights are not as they were written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stored:
            written = (stored.metadata() or {}).get("checksum")
            intact = written == _checksum((name, stored.get_tensor(name)) for name in sorted(stored.keys()))
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(f"The weights in {path} cannot be read ({error}).") from error
    if not intact:
        raise DamagedError(f"The weights in {path} were changed.")


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    check_weights(path)
    weights: dict[str, Tensor] = load_file(path)
    return weights


def _load_weights(path: Path, model: nn.Module) -> None:
    model.load_state_dict(_read_weights(path))


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic_write(path, "wb") as stream:
        save_file(copies, stream.name, metadata={"checksum": _checksum(sorted(copies.items()))})


def _checksum(tensors: Iterable[tuple[str, Tensor]]) -> str:
    import xxhash

    digest = xxhash.xxh3_64()
    _add_tensors(digest, tensors)
    return str(digest.hexdigest())


def _add_tensors(digest: Any, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Add names, shapes, types and values of tensors to a digest."""
    import torch

    for name, value in tensors:
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)


def _mix_weights(model: nn.Module, base: Path, tuned: Path, *, weight: float) -> None:
    """Set a model's weights to ``(1 - weight) * base + weight * tuned``, one tensor at a time.

    Averaging in weight space: Wortsman et al. 2022, arXiv 2109.01903. Integer tensors and those that training
    has not changed come from ``tuned``, bit by bit.
    """
    import torch
    from safetensors import safe_open

    check_weights(base)
    check_weights(tuned)
    with safe_open(base, "pt") as old, safe_open(tuned, "pt") as new, torch.no_grad():
        for name, value in model.state_dict().items():
            target, start = new.get_tensor(name), old.get_tensor(name)
            if target.is_floating_point() and not torch.equal(start, target):
                target = torch.lerp(start, target, weight)
            value.copy_(target)


def training_fingerprint(model: nn.Module, *settings: object) -> str:
    """Return a digest of a model's weights and of all settings that shape its training."""
    return sha256_of(weights_digest(model), *settings)


def weights_digest(model: nn.Module) -> str:
    """Return a digest of a model's weights."""
    import hashlib

    digest = hashlib.sha256()
    _add_tensors(digest, model.state_dict().items())
    return digest.hexdigest()


def _progress(stored: Mapping[str, Any]) -> Progress:
    return Progress(**{**stored, "history": [TrainingStep(**step) for step in stored["history"]]})


def _step(name: str) -> int:
    return _number(name.removeprefix(_PREFIX))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else -1


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of a marker; None if it is missing or damaged."""
    try:
        return read_checked_json(path)
    except (FileNotFoundError, DamagedError):
        return None


def _remove(path: Path) -> None:
    """Remove a file or a folder, its marker first: a half-removed folder must not count as complete."""
    if path.is_dir():
        (path / _COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
