"""Fast training on a CPU: allocator, threads, dropout."""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from embexp.finetuning import cpu
from embexp.finetuning.cpu import (
    choose_threads,
    dropout,
    fast_dropout,
    shorten_waits,
    tune_allocator,
    usable_cores,
)
from embexp.finetuning.losses import CachedMnrl, Mnrl
from embexp.models.tiny import TinyModel


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_the_allocator_takes_its_settings_and_training_goes_on():
    code = (
        "from embexp.finetuning.cpu import tune_allocator; print(tune_allocator(), tune_allocator()); "
        "import sys; print('torch' in sys.modules); blocks = [bytearray(64 << 20) for _ in range(4)]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() in (["True", "True", "False"], ["False", "False", "False"])


def test_the_allocator_is_left_alone_elsewhere(monkeypatch):
    monkeypatch.setattr(cpu.sys, "platform", "darwin")
    assert tune_allocator() is False


@pytest.mark.parametrize("available", [None, 4 << 30])
def test_the_allocator_is_left_alone_where_memory_is_short(available, monkeypatch):
    monkeypatch.setattr(cpu, "available_memory", lambda: available)
    assert tune_allocator() is False


def test_the_allocator_is_left_alone_without_glibc(monkeypatch):
    monkeypatch.setattr(cpu.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert tune_allocator() is False


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Four CPUs in two cores of two hyperthreads, all of them allowed."""
    for number, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        folder = tmp_path / "cpu" / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    (tmp_path / "cgroup").mkdir()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    return tmp_path


def cores(machine) -> int:
    return usable_cores(machine / "cpu", machine / "cgroup")


def test_hyperthreads_count_once(machine):
    assert cores(machine) == 2


def test_affinity_bounds_the_cores(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2})
    assert cores(machine) == 1


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("900000 100000", 2), ("nonsense", 2)],
)
def test_a_quota_bounds_the_cores(machine, quota, expected):
    (machine / "cgroup" / "cpu.max").write_text(f"{quota}\n")
    assert cores(machine) == expected


def test_the_first_version_of_control_groups_is_read_too(machine):
    folder = machine / "cgroup" / "cpu"
    folder.mkdir()
    (folder / "cpu.cfs_quota_us").write_text("100000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(machine) == 1
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores(machine) == 2


def test_unknown_topology_counts_cpus(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6}, raising=False)
    assert usable_cores(tmp_path / "none", tmp_path / "none") == 3


def test_a_given_number_stays():
    assert choose_threads({"OMP_NUM_THREADS": "3"}) is None
    environment: dict[str, str] = {}
    assert environment.setdefault("OMP_NUM_THREADS", str(choose_threads(environment))) == str(usable_cores())


@pytest.mark.parametrize(("running", "crowded"), [(1, False), (3, False), (4, True), (70, True)])
def test_waits_are_short_where_other_processes_take_the_cores(tmp_path, monkeypatch, running, crowded):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    (tmp_path / "loadavg").write_text(f"0.52 0.58 0.59 {running}/467 13456\n")
    environment = {"OMP_NUM_THREADS": "2"}
    assert shorten_waits(environment, tmp_path / "loadavg") is crowded
    assert environment.get("GOMP_SPINCOUNT") == ("1000" if crowded else None)


@pytest.mark.parametrize(
    "chosen", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "5"}, {"OMP_NUM_THREADS": "1"}]
)
def test_waits_stay_as_the_user_says(tmp_path, chosen):
    (tmp_path / "loadavg").write_text("9.52 9.58 9.59 900/967 13456\n")
    environment = dict(chosen)
    assert not shorten_waits(environment, tmp_path / "loadavg")
    assert environment == chosen


def test_without_a_load_to_read_waits_stay(tmp_path):
    assert not shorten_waits({}, tmp_path / "none")


@pytest.mark.skipif(sys.platform != "linux", reason="torch has GNU OpenMP on Linux alone")
def test_openmp_reads_the_wait_that_is_set(tmp_path):
    script = (
        "import os, pathlib; from embexp.finetuning import cpu; "
        "pathlib.Path('loadavg').write_text('0 0 0 900/967 1'); "
        "os.environ['OMP_NUM_THREADS'] = '2'; assert cpu.shorten_waits(load=pathlib.Path('loadavg')); "
        "import torch; torch.ones(1000, 1000) @ torch.ones(1000, 1000)"
    )
    waits = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    environment = {key: value for key, value in os.environ.items() if key not in waits}
    shown = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**environment, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "GOMP_SPINCOUNT = '1000'" in shown


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_it_drops_the_asked_share_and_keeps_the_expectation(dtype, p):
    torch.manual_seed(0)
    number = 400_003
    out = dropout(torch.ones(number, dtype=dtype), p).float()
    share = float((out == 0).float().mean())
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / number)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=0.01)
    assert float(out.double().mean()) == pytest.approx(1.0, rel=0.03)


def test_values_beside_each_other_are_dropped_independently():
    torch.manual_seed(1)
    kept = dropout(torch.ones(400_000), 0.5) > 0
    for apart in (1, 2, 3, 4, 64):
        both = float((kept[apart:] & kept[:-apart]).float().mean())
        assert abs(both - 0.25) < 0.005


def test_the_gradient_flows_through_the_kept_values_alone():
    torch.manual_seed(2)
    values = torch.randn(50, 7, requires_grad=True)
    out = dropout(values, 0.3)
    out.sum().backward()
    assert torch.allclose(values.grad * values, out)
    assert (values.grad == 0).sum() > 50


def test_the_same_seed_drops_the_same_values():
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(dropout(torch.ones(1000), 0.1))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], dropout(torch.ones(1000), 0.1))


def test_edges():
    values = torch.ones(9, 3)
    assert dropout(values, 0.0) is values
    assert dropout(values, 0.5, training=False) is values
    assert not dropout(values, 1.0).any()
    assert dropout(torch.ones(0, 3), 0.5).shape == (0, 3)
    assert dropout(values, 0.5, inplace=True) is values
    assert not values.all()
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            dropout(values, wrong)


def test_it_stands_in_for_torchs_within_the_block_alone(monkeypatch):
    asked = []

    def recorded(input, p=0.5, training=True, inplace=False):
        asked.append(p)
        return input

    monkeypatch.setattr("embexp.finetuning.cpu.dropout", recorded)
    layer = nn.Dropout(0.25)
    with fast_dropout():
        layer(torch.ones(4))
        nn.functional.dropout(torch.ones(4), 0.75)
    layer(torch.ones(4))
    assert asked == [0.25, 0.75]


def test_a_transformer_trains_with_it():
    model = TinyModel(seed=1, layers=1).load().train()
    features = model.preprocess(["a query", "another query"])
    with fast_dropout():
        torch.manual_seed(4)
        one, other = (model(dict(features))["sentence_embedding"] for _ in range(2))
    assert not torch.equal(one, other)
    (one.sum() + other.sum()).backward()
    assert all(value.grad is None or torch.isfinite(value.grad).all() for value in model.parameters())


def test_a_cached_loss_drops_the_same_values_when_it_embeds_again():
    """Its second pass is made within ``backward``: other masks would give the gradients of another loss."""
    from sentence_transformers.base.losses.merged_forward import column_merging_disabled

    found = []
    for loss in (Mnrl(), CachedMnrl(mini_batch_size=8)):
        model = TinyModel(seed=1, layers=1).load().train()
        texts = [[f"{kind} {at} of a kettle" for at in range(6)] for kind in ("query", "passage")]
        module = loss.build(model, None).train()
        torch.manual_seed(5)
        with fast_dropout(), column_merging_disabled():
            module([model.preprocess(column) for column in texts], None).backward()
        found.append({name: value.grad for name, value in model.named_parameters() if value.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], atol=1e-6), name
