"""Several processes that train one model: the first leads, the others compute their share of each gradient.

The leader alone reads data, scores, writes, and moves the weights. Before each step it sends the weights;
after it, the gradients of all are added up. So the leader knows everything that a training alone would know,
and nothing that it decides has to be agreed upon.

torchrun and accelerate tell each process its place in environment variables. They are taken away, and the
processes talk through groups of their own instead of torch's default one: the libraries below would act on
either, each in its own way.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from embexp.errors import ConfigError, EmbexpError

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK")
TRAIN, BUILD, STEP, END = "train", "build", "step", "end"
"""What the leader orders."""
PATIENCE = timedelta(days=30)
"""How long a process waits for the leader, which may be writing pairs for hours."""


class TeamError(EmbexpError):
    """Another process of the training has ended."""


class PeerShortageError(RuntimeError):
    """Another process of the training ran out of memory."""


@dataclass(kw_only=True)
class Team:
    """The processes of one training, and this one's place among them.

    Args:
        rank: Its number; 0 leads.
        size: How many there are.
    """

    rank: int
    size: int
    joined: bool = field(default=False, init=False)
    _groups: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _store: Any = field(default=None, init=False, repr=False)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and decides."""
        return self.rank == 0

    def join(self) -> None:
        """Wait until all processes are there.

        Raises:
            ConfigError: Some see a GPU and some do not.
        """
        import torch
        import torch.distributed as dist
        from torch._C._distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        if not self.leads:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # no handler runs while it waits for the leader
        gpu = torch.cuda.is_available()
        with _lost("The processes did not find each other"):
            store = next(rendezvous("env://", self.rank, self.size, timeout=PATIENCE))[0]
            self._groups["cpu"] = dist.ProcessGroupGloo(
                PrefixStore("embexp-cpu", store), self.rank, self.size, PATIENCE
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
            options._timeout = PATIENCE
            self._groups["cuda"] = dist.ProcessGroupNCCL(
                PrefixStore("embexp-cuda", store), self.rank, self.size, options
            )
        self._store, self.joined = store, True
        if self.leads:
            log.info("%d processes train together.", self.size)

    def dismiss(self) -> None:
        """Tell the others that the command has ended."""
        self.send({"do": END})

    def send(self, message: dict[str, Any], data: bytes = b"") -> None:
        """Tell all others something; the leader's part of ``receive``."""
        import numpy as np
        import torch

        head = json.dumps(message).encode()
        sizes = torch.tensor([len(head), len(data)])
        self.share([sizes])
        self.share([torch.from_numpy(np.frombuffer(head + data, dtype=np.uint8).copy())])

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """Wait for what the leader says."""
        import torch

        sizes = torch.zeros(2, dtype=torch.int64)
        self.share([sizes])
        content = torch.empty(int(sizes.sum()), dtype=torch.uint8)
        self.share([content])
        held = content.numpy().tobytes()
        message: dict[str, Any] = json.loads(held[: int(sizes[0])])
        return message, held[int(sizes[0]) :]

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the others' tensors with the leader's."""
        for tensor in tensors:
            with _lost():
                self._group(tensor).broadcast(tensor.detach(), 0).wait()

    def gather(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return all processes' rows, in the order of their ranks; gradients flow through the own ones alone.

        Args:
            own: This process's rows; those beyond its size are left out.
            sizes: How many rows each process has.

        Raises:
            PeerShortageError: Another process ran out of memory.
        """
        import torch

        self.check()
        mine = own[: sizes[self.rank]]
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(mine)] = mine.detach()
        found = [torch.empty_like(padded) for _ in sizes]
        with _lost():
            self._group(padded).allgather([found], [padded]).wait()
        parts = [rows[:size] for rows, size in zip(found, sizes, strict=True)]
        parts[self.rank] = mine
        return torch.cat(parts)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Add all processes' tensors to the leader's; what the others keep means nothing.

        Raises:
            PeerShortageError: Another process ran out of memory.
        """
        self.check()
        for tensor in tensors:
            with _lost():
                self._group(tensor).reduce(tensor, 0).wait()

    def check(self, *, short: bool = False) -> None:
        """Learn whether a process ran out of memory, or say that this one did.

        Every exchange within a step starts with this one, so that a process that cannot go on has a place
        to say so, and no other waits for it.

        Raises:
            PeerShortageError: Another one did.
        """
        import torch
        import torch.distributed as dist

        flags = torch.tensor([int(short)])
        with _lost():
            self._group(flags).allreduce(flags, dist.ReduceOp.MAX).wait()
        if int(flags) and not short:
            raise PeerShortageError("out of memory in another process")

    def _group(self, tensor: Tensor) -> Any:
        return self._groups[tensor.device.type]


@contextmanager
def _lost(what: str = "Another process of this training has ended, see its message") -> Iterator[None]:
    """Say in one sentence that an exchange failed, as it does when the process at its other end is gone."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise TeamError(f"{what} ({reason}); the same command goes on from the newest checkpoint.") from error


def shares(rows: Sequence[Any], size: int) -> list[list[Any]]:
    """Deal rows out to processes, one after the other: rows of like length then meet like ones everywhere.

    ``shares([1, 2, 3, 4, 5], 2)`` is [[1, 3, 5], [2, 4]].
    """
    return [list(rows[rank::size]) for rank in range(size)]


_team: Team | None = None


def take_over(environment: MutableMapping[str, str] = os.environ) -> Team | None:
    """Read this process's place from its environment, and take it away there; None for a process alone.

    Where there are GPUs, the process will see only its own. Call it before torch is imported.

    Raises:
        ConfigError: The place makes no sense.
    """
    global _team
    size = environment.get("WORLD_SIZE", "1")
    rank = environment.get("RANK", "0")
    local = environment.get("LOCAL_RANK", rank)
    if not (size.isdigit() and rank.isdigit() and local.isdigit() and int(rank) < max(int(size), 1)):
        raise ConfigError(f"RANK={rank}, LOCAL_RANK={local} and WORLD_SIZE={size}: start with torchrun.")
    if int(size) > 1:
        _team = Team(rank=int(rank), size=int(size))
        given = environment.get("CUDA_VISIBLE_DEVICES", "")
        devices = given.split(",") if given else []
        own = devices[int(local)] if int(local) < len(devices) else local
        environment["CUDA_VISIBLE_DEVICES"] = own if not devices or int(local) < len(devices) else ""
    for name in PLACE:
        environment.pop(name, None)
    return _team


def current() -> Team | None:
    """Return the team that this process belongs to; None where it is alone.

    Raises:
        ConfigError: A launcher started several processes, and ``take_over`` was not called.
    """
    if _team is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "Several processes were started, and this script trains alone: start python -m embexp.finetune "
            "with torchrun, or call embexp.finetuning.distributed.process_group.take_over() before torch is "
            "imported."
        )
    return _team
