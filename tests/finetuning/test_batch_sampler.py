from __future__ import annotations

import random

import pytest

from embexp.errors import ConfigError
from embexp.finetuning.batch_sampler import RowKeys, plan_batches


def keys(*shared: str) -> RowKeys:
    return RowKeys(contains=shared, excludes=shared)


def random_keys(rows: int, values: int, seed: int) -> list[RowKeys]:
    draw = random.Random(seed)
    return [
        RowKeys(
            contains=(f"p{draw.randrange(values)}", f"p{draw.randrange(values)}"),
            excludes=(f"p{draw.randrange(values)}", f"p{draw.randrange(values)}"),
        )
        for _ in range(rows)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("values", [20, 200, 2000])
def test_no_row_meets_what_it_excludes(seed, values):
    rows = random_keys(300, values, seed)
    plan = plan_batches(rows, [1] * 300, batch_size=16, epochs=2, seed=seed)
    for epoch in plan.epochs:
        assert len(epoch) == plan.steps
        seen = [row for batch in epoch for row in batch]
        assert len(seen) == len(set(seen)) >= 300 - plan.left_out
        for batch in epoch:
            assert 2 <= len(batch) <= 16
            for one in batch:
                for other in batch:
                    if one != other:
                        assert not set(rows[one].excludes) & set(rows[other].contains)


def test_rows_without_keys_fill_batches_evenly():
    # 130 rows in batches of at most 64 make 3 batches; 130 / 3, rounded up, is 44: 44 + 44 + 42.
    plan = plan_batches([RowKeys()] * 130, [1] * 130, batch_size=64, epochs=1, seed=0)
    assert sorted(map(len, plan.epochs[0])) == [42, 44, 44]
    assert plan.left_out == 0


def test_the_same_seed_gives_the_same_batches_and_each_epoch_its_own():
    rows = [keys(f"q{n}") for n in range(60)]
    first = plan_batches(rows, list(range(60)), batch_size=8, epochs=2, seed=3)
    assert first == plan_batches(rows, list(range(60)), batch_size=8, epochs=2, seed=3)
    assert first != plan_batches(rows, list(range(60)), batch_size=8, epochs=2, seed=4)
    assert first.epochs[0] != first.epochs[1]


def test_lengths_are_alike_within_a_batch_and_mixed_without_a_pool():
    draw = random.Random(0)
    lengths = [draw.randrange(1000) for _ in range(640)]

    def padding(pool: int) -> int:
        plan = plan_batches([RowKeys()] * 640, lengths, batch_size=16, epochs=1, seed=0, length_pool=pool)
        return sum(max(lengths[row] for row in batch) * len(batch) for batch in plan.epochs[0])

    assert padding(8) < 0.75 * padding(0)


def test_a_frequent_key_does_not_make_small_batches():
    # 40 of 100 rows share a document: one may stand in each of the batches of 10, the others are left out.
    rows = [keys("d0") for _ in range(40)] + [keys(f"d{n}") for n in range(1, 61)]
    plan = plan_batches(rows, [1] * 100, batch_size=10, epochs=1, seed=0)
    assert all(len(batch) >= 2 for batch in plan.epochs[0])
    assert plan.left_out == 100 - sum(map(len, plan.epochs[0])) > 0


def test_rows_left_out_are_reported(caplog):
    rows = [keys("d0") for _ in range(40)] + [keys(f"d{n}") for n in range(1, 61)]
    plan = plan_batches(rows, [1] * 100, batch_size=10, epochs=1, seed=0)
    assert f"{plan.left_out} of 100 training pairs are left out" in caplog.text


def test_small_batches_are_reported(caplog):
    # 4 documents: no batch can hold more than 4 rows.
    plan_batches([keys(f"d{n % 4}") for n in range(80)], [1] * 80, batch_size=40, epochs=1, seed=0)
    assert "Batches hold 4 pairs instead of trainer.batch_size=40" in caplog.text


@pytest.mark.parametrize("rows", [1, 2, 500])
def test_no_valid_batch_is_an_error_with_a_remedy(rows):
    with pytest.raises(ConfigError, match=rf"No batch can be made of {rows} .*trainer.distinct=text"):
        plan_batches([keys("only document")] * rows, [1] * rows, batch_size=8, epochs=1, seed=0)


def test_many_rows_of_one_document_take_no_time():
    rows = [keys("d0") for _ in range(20_000)] + [keys(f"d{n}") for n in range(1, 3)]
    assert plan_batches(rows, [1] * 20_002, batch_size=64, epochs=1, seed=0).steps >= 1
