"""The other processes of a training: they do what the leader says, and write nothing."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.finetuning.batch_sampler import Keys
from embexp.finetuning.checkpoints import own_weights
from embexp.finetuning.distributed.process_group import BUILD, STEP, TRAIN, Team
from embexp.finetuning.model_modes import dropout_rates, text_length, training_length
from embexp.finetuning.parameter_efficient import Full, Method
from embexp.finetuning.recovery import build_loss, out_of_memory
from embexp.finetuning.trainer import training_arguments
from embexp.finetuning.training_rows import Rows
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from embexp.finetuning.losses.loss import Loss
    from embexp.finetuning.trainer import SentenceTransformerFineTuner
    from embexp.finetuning.training_loop import Steps

Order = tuple[dict[str, Any], bytes]


def announce_training(team: Team, rows: Rows, *, seed: int, steps: int) -> None:
    """Tell the followers what will be trained on; the rows travel as an Arrow stream."""
    import pyarrow as pa

    sink, table = pa.BufferOutputStream(), pa.table(rows.columns)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    team.send(
        {"do": TRAIN, "seed": seed, "steps": steps, "outputs": rows.outputs}, sink.getvalue().to_pybytes()
    )


def announce_attempt(team: Team, model: nn.Module, *, mini_batch_size: int | None) -> None:
    """Tell the followers to build the loss over the leader's weights."""
    team.send({"do": BUILD, "mini_batch_size": mini_batch_size})
    team.share(model.state_dict().values())


def announce_step(team: Team, weights: list[nn.Parameter], batch: tuple[int, ...], *, step: int) -> None:
    """Tell the followers which rows come next, and the weights as they are now."""
    team.send({"do": STEP, "step": step, "batch": list(batch)})
    team.share(weights)


@dataclass(frozen=True, kw_only=True)
class Follower:
    """A process that helps.

    Args:
        team: The processes.
        settings: The trainer's settings; they must be the leader's.
        loss: The loss; it must be the leader's.
        load: Loads the untuned model.
        scratch: A folder that the library may write into.
    """

    team: Team
    settings: SentenceTransformerFineTuner
    loss: Loss
    load: Callable[[], SentenceTransformer]
    scratch: Path

    def serve(self) -> None:
        """Follow the leader through all its trainings."""
        order = self.team.receive()
        while order[0]["do"] == TRAIN:
            order = self._training(*order)

    def _training(self, told: dict[str, Any], data: bytes) -> Order:
        """Take part in one training, and return the first order that is not part of it."""
        import pyarrow as pa

        columns = pa.ipc.open_stream(data).read_all().to_pydict()
        rows = Rows(
            columns=columns, keys=[Keys()] * len(next(iter(columns.values()))), outputs=told["outputs"]
        )
        settings, model = self.settings, self.load()
        method: Method = settings.method or Full()
        method.extend(model)
        order = self.team.receive()
        with (
            dropout_rates(model, dropout=settings.dropout, attention_dropout=settings.attention_dropout),
            text_length(model, training_length(model, settings.max_tokens)),
        ):
            while order[0]["do"] == BUILD:
                self.team.share(model.state_dict().values())
                with method.training(model):
                    order = self._attempt(model, rows, told, order[0]["mini_batch_size"])
        return order

    def _attempt(
        self, model: SentenceTransformer, rows: Rows, told: dict[str, Any], mini_batch_size: int | None
    ) -> Order:
        """Compute gradients until the leader orders something else."""
        from embexp.finetuning.training_loop import Steps

        seed, settings = told["seed"], self.settings
        module = build_loss(
            self.loss, model, rows, seed=seed, batch_size=settings.batch_size, mini_batch_size=mini_batch_size
        )
        arguments = training_arguments(
            settings, model, rows, folder=self.scratch, steps=told["steps"], seed=seed,
            learning_rate=settings.learning_rate,
        )  # fmt: skip
        steps = Steps(team=self.team, model=model, loss=module, args=arguments, train_dataset=rows.dataset())
        weights = [value for value in model.parameters() if value.requires_grad]
        weights += own_weights(module, model)
        order = self.team.receive()
        while order[0]["do"] == STEP:
            self.team.share(weights)
            self._step(steps, module, order[0], seed)
            order = self.team.receive()
        return order

    def _step(self, steps: Steps, module: nn.Module, told: dict[str, Any], seed: int) -> None:
        """Add this process's gradients to the leader's; a shortage of memory is the leader's to mend."""
        import torch

        # Drawn anew for each step, dropout does not depend on where a training was interrupted.
        torch.manual_seed(int(sha256_of(seed, told["step"], self.team.rank)[:15], 16))
        module.zero_grad(set_to_none=True)
        inputs = steps.data_collator([steps.train_dataset[at] for at in told["batch"]])
        try:
            steps.gradients(steps.model, inputs, told["batch"])
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            module.zero_grad(set_to_none=True)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def follow(
    team: Team,
    settings: SentenceTransformerFineTuner,
    loss: Loss,
    load: Callable[[], SentenceTransformer],
) -> None:
    """Help the leader's trainings with gradients until its command ends.

    Raises:
        TeamError: The leader is gone.
    """
    with tempfile.TemporaryDirectory() as scratch:
        Follower(team=team, settings=settings, loss=loss, load=load, scratch=Path(scratch)).serve()
