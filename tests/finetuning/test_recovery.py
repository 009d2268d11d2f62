"""Faults injected into training: it recovers as documented."""

from __future__ import annotations

import copy

import pytest
import torch

from embexp.errors import ModelError
from embexp.finetuning.checkpoints import Progress
from embexp.finetuning.losses import CachedMnrl, Loss, Mnrl
from embexp.finetuning.recovery import DivergenceError, Recovery, check_loss_level, is_out_of_memory
from embexp.finetuning.settings import TrainerSettings
from embexp.storage.checksums import read_checked_json


def weights(model) -> list[bytes]:
    return [value.numpy().tobytes() for value in model.state_dict().values()]


class Faulty(Loss):
    """A loss that fails at given calls of its module, once each."""

    columns = "pairs"

    def __init__(self, faults, inner=None):
        self.faults, self.inner, self.calls = dict(faults), inner or Mnrl(), 0

    def __repr__(self):
        return "Faulty()"

    def build(self, model, outputs):
        module, forward = (built := self.inner.build(model, outputs)), built.forward

        def failing(*arguments, **options):
            self.calls += 1
            fault = self.faults.pop(self.calls, None)
            if isinstance(fault, BaseException):
                raise fault
            loss = forward(*arguments, **options)
            return loss if fault is None else loss * fault

        module.forward = failing
        return module


def retries(training):
    return [(point.step, dict(point.metrics)) for point in training.history if "retry" in point.metrics]


def test_a_loss_that_is_no_number_goes_back_to_the_last_checkpoint_at_half_the_rate(train, model, caplog):
    # Nine steps, scored and saved after 0, 4 and 9; the sixth fails, and steps 5 to 9 come again.
    heard, loss = [], Faulty({6: float("nan")})
    training = train(model, loss, on_step=heard.append)
    assert loss.calls == 6 + 5
    assert training.steps == 9
    assert retries(training) == [(6, {"retry": 1.0, "learning_rate": 1.5e-3})]
    assert [point for point in heard if "retry" in point.metrics]
    rates = {
        point.step: point.metrics["learning_rate"] for point in training.history if "loss" in point.metrics
    }
    # Linear from 3e-3 after one step of warm-up: step 5 is the fifth of nine, (9 - 4) / 8 of the new peak.
    assert rates[4] == pytest.approx(3e-3 * 6 / 8)
    assert rates[5] == pytest.approx(1.5e-3 * 5 / 8)
    assert "returns to the last good checkpoint" in caplog.text
    assert training.best_step > 0


def test_without_a_checkpoint_it_starts_anew(train, model):
    training = train(model, Faulty({2: float("inf")}), evaluations=0, epochs=1)
    assert retries(training) == [(2, {"retry": 1.0, "learning_rate": 1.5e-3})]
    assert [point.step for point in training.history] == [2, 1, 2, 3]


def test_what_is_trained_again_is_trained_in_the_same_precision(train, model):
    computed: list[torch.dtype] = []
    linear = next(module for module in model.modules() if isinstance(module, torch.nn.Linear))

    def record(module, _, output):
        if module.training:
            computed.append(output.dtype)

    linear.register_forward_hook(record)
    train(model, Faulty({2: float("nan")}), evaluations=0, epochs=1, bf16=True)

    texts = 2  # of a row: the query and the passage are encoded apart
    assert computed == [torch.bfloat16] * texts * (2 + 3)


def test_the_same_end_again_drops_the_checkpoint(train, model, caplog):
    training = train(model, Faulty({6: float("nan"), 8: float("nan")}))
    assert [step for step, _ in retries(training)] == [6, 6]
    assert training.steps == 9


def test_it_gives_up_after_so_many_retries(train, model):
    every = {call: float("nan") for call in range(1, 99)}
    with pytest.raises(ModelError, match=r"became nan at step 1 .*halved 2 times.*trainer.retries=2\)"):
        train(model, Faulty(every), retries=2)


def test_weights_that_are_no_numbers_are_neither_scored_nor_saved(train, model):
    next(model.parameters()).register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(ModelError, match="The weights became nan or infinite at step 1"):
        train(model, Mnrl(), batch_size=96, epochs=1, evaluations=2, retries=0)


def test_a_rising_loss_is_noticed():
    progress = Progress()
    for step in range(1, 21):
        check_loss_level(progress, 1.0, step=step)
    # Level 1 so far; each loss of 20 moves it by a tenth of the way: 2.9, then 4.6, above 3 x 1 + 1.
    check_loss_level(progress, 20.0, step=21)
    with pytest.raises(DivergenceError, match=r"rose from 1 to 4\.61 by step 22"):
        check_loss_level(progress, 20.0, step=22)


def test_noise_is_no_rise():
    progress = Progress()
    for step in range(1, 101):
        check_loss_level(progress, 0.1 if step % 2 else 2.0, step=step)
    assert progress.lowest_level is not None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_shortage_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_out_of_memory_continues_with_the_same_batches_in_mini_batches(train, model, tmp_path):
    shortage = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    training = train(model, Faulty({6: shortage}))
    sizes = [dict(point.metrics) for point in training.history if "mini_batch_size" in point.metrics]
    assert sizes == [{"mini_batch_size": 16.0}]
    assert training.steps == 9
    assert training.best_step > 0


def test_mini_batches_get_smaller_until_there_is_one_row(train, model):
    shortages = {call: MemoryError("out of memory") for call in range(1, 99)}
    with pytest.raises(ModelError, match="does not suffice for one row at a time"):
        train(model, Faulty(shortages, inner=CachedMnrl()), batch_size=4)


def test_another_error_is_passed_on(train, model):
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(model, Faulty({1: RuntimeError("shapes do not match")}))


def test_an_interrupted_run_remembers_its_retries(train, model, tmp_path):
    """After a retry and a checkpoint, a new call goes on at the halved rate."""
    again = copy.deepcopy(model)

    def interrupt(point):
        if point.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, Faulty({5: float("nan")}), evaluations=4, on_step=interrupt)
    marker = read_checked_json(tmp_path / "work" / "checkpoint-6" / "complete.json")
    assert marker["progress"]["retries"] == 1
    training = train(again, Faulty({}), evaluations=4)
    assert training.resumed_from == 6
    assert len(retries(training)) == 1
    last = [point for point in training.history if "loss" in point.metrics][-1]
    assert last.metrics["learning_rate"] == pytest.approx(1.5e-3 * 1 / 8)


def test_recovery_continues_with_the_changes_of_a_checkpoint():
    recovery = Recovery(settings=TrainerSettings(retries=3, batch_size=32, learning_rate=1e-3))
    progress = Progress(retries=2, mini_batch_size=8)
    recovery.restore(progress)
    # The learning rate was halved twice: a quarter of 1e-3.
    assert (recovery.current_rate, recovery.mini_batch_size) == (0.25e-3, 8)
