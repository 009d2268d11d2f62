"""The processes that train one model together: rank 0 and its workers.

Rank 0 alone reads data, evaluates, writes, and updates the weights; the workers compute their share of each
gradient. Before each step rank 0 sends the weights; after it, the gradients of all processes are summed. So
rank 0 has the whole state of the training, and no decision has to be agreed upon.

torchrun and accelerate pass each process its rank in environment variables. They are removed, and the
processes communicate through groups of their own instead of torch's default one: transformers and accelerate
would act on either, each in its own way.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from embexp.errors import ConfigError, EmbexpError

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

LAUNCHER_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK")
TRAINING, TRY, STEP, _END = "training", "try", "step", "end"
"""The kinds of messages from rank 0."""
_TIMEOUT = timedelta(days=30)
"""How long a worker waits for rank 0, which may be writing pairs for hours."""

Message = tuple[dict[str, Any], bytes]
"""A message from rank 0: a record, whose ``kind`` is one of the above, and attached bytes."""


class ProcessLostError(EmbexpError):
    """Another process of the training has ended."""


class WorkerOutOfMemoryError(RuntimeError):
    """Another process of the training ran out of memory."""


@dataclass(kw_only=True)
class ProcessGroup:
    """The processes of one training, seen from one of them.

    Args:
        rank: The number of this process; rank 0 decides and writes, all others are workers.
        size: How many processes there are.
    """

    rank: int
    size: int
    joined: bool = field(default=False, init=False)
    _groups: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _store: Any = field(default=None, init=False, repr=False)

    def join(self) -> None:
        """Wait until all processes are connected.

        Raises:
            ConfigError: Some see a GPU and some do not.
        """
        import torch
        import torch.distributed as dist
        from torch._C._distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        if self.rank != 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # no handler runs while it waits for rank 0
        gpu = torch.cuda.is_available()
        with _lost("The processes did not connect"):
            store = next(rendezvous("env://", self.rank, self.size, timeout=_TIMEOUT))[0]
            self._groups["cpu"] = dist.ProcessGroupGloo(
                PrefixStore("embexp-cpu", store), self.rank, self.size, _TIMEOUT
            )
            with_gpu = torch.tensor([int(gpu)])
            self._groups["cpu"].allreduce([with_gpu]).wait()
        if int(with_gpu) not in (0, self.size):
            raise ConfigError(
                f"{int(with_gpu)} of {self.size} processes have a GPU of their own: start as many processes "
                "as there are GPUs (torchrun --nproc_per_node)."
            )
        if gpu:
            options = dist.ProcessGroupNCCL.Options()
            options._timeout = _TIMEOUT
            self._groups["cuda"] = dist.ProcessGroupNCCL(
                PrefixStore("embexp-cuda", store), self.rank, self.size, options
            )
        self._store, self.joined = store, True
        if self.rank == 0:
            log.info("%d processes train together.", self.size)

    def release_workers(self) -> None:
        """Tell the workers that the command has ended."""
        self.send({"kind": _END})

    def send(self, record: dict[str, Any], data: bytes = b"") -> None:
        """Send a message to the workers; rank 0's side of ``receive``."""
        import numpy as np
        import torch

        head = json.dumps(record).encode()
        self.broadcast([torch.tensor([len(head), len(data)])])
        self.broadcast([torch.from_numpy(np.frombuffer(head + data, dtype=np.uint8).copy())])

    def receive(self) -> Message:
        """Wait for a message from rank 0."""
        import torch

        sizes = torch.zeros(2, dtype=torch.int64)
        self.broadcast([sizes])
        content = torch.empty(int(sizes.sum()), dtype=torch.uint8)
        self.broadcast([content])
        received = content.numpy().tobytes()
        record: dict[str, Any] = json.loads(received[: int(sizes[0])])
        return record, received[int(sizes[0]) :]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the workers' tensors with those of rank 0."""
        for tensor in tensors:
            with _lost():
                self._group(tensor).broadcast(tensor.detach(), 0).wait()

    def gather(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return all processes' rows, in rank order; gradients flow through this process's rows only.

        Args:
            own: This process's rows; those beyond its size are left out.
            sizes: How many rows each process has.

        Raises:
            WorkerOutOfMemoryError: Another process ran out of memory.
        """
        import torch

        self.check_memory()
        mine = own[: sizes[self.rank]]
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(mine)] = mine.detach()
        gathered = [torch.empty_like(padded) for _ in sizes]
        with _lost():
            self._group(padded).allgather([gathered], [padded]).wait()
        parts = [rows[:size] for rows, size in zip(gathered, sizes, strict=True)]
        parts[self.rank] = mine
        return torch.cat(parts)

    def reduce(self, tensors: Iterable[Tensor]) -> None:
        """Add the workers' tensors to those of rank 0; the workers' own are undefined afterwards.

        Raises:
            WorkerOutOfMemoryError: Another process ran out of memory.
        """
        self.check_memory()
        for tensor in tensors:
            with _lost():
                self._group(tensor).reduce(tensor, 0).wait()

    def check_memory(self, *, exhausted: bool = False) -> None:
        """Check whether a process ran out of memory, or report that this one did.

        Every exchange within a step starts with this one, so that a process that cannot continue has a place
        to report it, and no other process waits for it.

        Raises:
            WorkerOutOfMemoryError: Another one did.
        """
        import torch
        import torch.distributed as dist

        flags = torch.tensor([int(exhausted)])
        with _lost():
            self._group(flags).allreduce(flags, dist.ReduceOp.MAX).wait()
        if int(flags) and not exhausted:
            raise WorkerOutOfMemoryError("out of memory in another process")

    def _group(self, tensor: Tensor) -> Any:
        return self._groups[tensor.device.type]


def announce_training(
    group: ProcessGroup,
    columns: Mapping[str, Any],
    *,
    new_tokens: Sequence[str],
    loanwords: Sequence[str],
    loss: str,
    outputs: int | None,
    seed: int,
    steps: int,
) -> None:
    """Send the workers the training rows, as an Arrow stream, and which loss reads them (its ``repr``).

    ``new_tokens`` are those that rank 0 added to the model's tokenizer, ``loanwords`` to that of the queries.
    """
    import pyarrow as pa

    sink, table = pa.BufferOutputStream(), pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    record: dict[str, Any] = {
        "kind": TRAINING,
        "loss": loss,
        "outputs": outputs,
        "seed": seed,
        "steps": steps,
    }
    record |= {"new_tokens": list(new_tokens), "loanwords": list(loanwords)}
    group.send(record, sink.getvalue().to_pybytes())


def announce_try(group: ProcessGroup, model: nn.Module, *, mini_batch_size: int | None) -> None:
    """Have the workers build the loss over the weights of rank 0."""
    group.send({"kind": TRY, "mini_batch_size": mini_batch_size})
    group.broadcast(model.state_dict().values())


def announce_step(
    group: ProcessGroup, weights: list[nn.Parameter], batch: tuple[int, ...], *, step: int
) -> None:
    """Send the workers the rows of the next step, and the present weights."""
    group.send({"kind": STEP, "step": step, "batch": list(batch)})
    group.broadcast(weights)


@contextmanager
def _lost(what: str = "Another process of this training has ended, see its message") -> Iterator[None]:
    """Turn a failed exchange, whose other process is gone, into one sentence."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ProcessLostError(
            f"{what} ({reason}); the same command resumes from the newest checkpoint."
        ) from error


def shard(rows: Sequence[Any], size: int) -> list[list[Any]]:
    """Divide rows among processes in turn, so that rows of similar length are embedded at the same time.

    ``shard([1, 2, 3, 4, 5], 2)`` is [[1, 3, 5], [2, 4]].
    """
    return [list(rows[rank::size]) for rank in range(size)]


_process_group: ProcessGroup | None = None


def init_process_group(environment: MutableMapping[str, str] = os.environ) -> ProcessGroup | None:
    """Read the rank of this process from its environment, and remove it there; None for a single process.

    If there are GPUs, the process will see only its own. Call it before torch is imported.

    Raises:
        ConfigError: The variables are inconsistent.
    """
    global _process_group
    size = environment.get("WORLD_SIZE", "1")
    rank = environment.get("RANK", "0")
    local = environment.get("LOCAL_RANK", rank)
    if not (size.isdigit() and rank.isdigit() and local.isdigit() and int(rank) < max(int(size), 1)):
        raise ConfigError(f"RANK={rank}, LOCAL_RANK={local} and WORLD_SIZE={size}: start with torchrun.")
    if int(size) > 1:
        _process_group = ProcessGroup(rank=int(rank), size=int(size))
        visible = environment.get("CUDA_VISIBLE_DEVICES", "")
        devices = visible.split(",") if visible else []
        own = devices[int(local)] if int(local) < len(devices) else local
        environment["CUDA_VISIBLE_DEVICES"] = own if not devices or int(local) < len(devices) else ""
    for name in LAUNCHER_VARIABLES:
        environment.pop(name, None)
    return _process_group


def current_process_group() -> ProcessGroup | None:
    """Return the process group that this process belongs to; None for a single process.

    Raises:
        ConfigError: A launcher started several processes, and ``init_process_group`` was not called.
    """
    if _process_group is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "Several processes were started, and this script trains alone: start python -m embexp.finetune "
            "with torchrun, or call embexp.finetuning.distributed.process_group.init_process_group() before "
            "torch is imported."
        )
    return _process_group
