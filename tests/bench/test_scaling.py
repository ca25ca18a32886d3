"""The arithmetic of `bench/scaling.py`."""

import pytest

import scaling
from speed_case import SIZES, Case, Size

# body: 1 layer x (2 x 4 x (4 + 2) + 3 x 4 x 5) = 108 parameters; head: 10 x 4 = 40; a token's cache: 2 x 4 x 2 bytes
SMALL = Size(vocab_size=10, width=4, layers=1, heads=2, kv_heads=1, intermediate=5, completions=2)


@pytest.fixture
def case(monkeypatch):
    monkeypatch.setitem(SIZES, "hand", SMALL)
    monkeypatch.setattr(Case, "forced", lambda self: [3, 5])
    return Case(size="hand", prompt_length=7, num_generations=2)


def test_an_update_takes_six_operations_a_weight(case):
    # fed: the prompt of 7 once, and 2 + 4 tokens; targets: 3 + 5
    assert scaling.update_flop(case) == 6 * 108 * 13 + 6 * 40 * 8


def test_decoding_takes_two_operations_a_weight_and_reads_what_came_before(case, monkeypatch):
    monkeypatch.setattr(scaling, "cache_bytes", lambda: 10**9)
    flop, read = scaling.decode_work(case)
    assert flop == 2 * 108 * 13 + 2 * 40 * 8
    # the first row's 2 fed tokens see 8 and 9 positions, the second's 4 see 8, 9, 10 and 11
    assert read == (8 + 9 + 8 + 9 + 10 + 11) * 16


def test_weights_that_no_cache_holds_are_read_at_every_step(case, monkeypatch):
    monkeypatch.setattr(scaling, "cache_bytes", lambda: 100)
    assert scaling.decode_work(case)[1] == 55 * 16 + 5 * 4 * 148


def test_batches_double():
    assert scaling.batches(1024) == [64, 128, 256, 512, 1024]


def test_memory_rises_against_the_smallest_batch():
    rows = [{"generation_bytes": 10, "update_bytes": 40}, {"generation_bytes": 60, "update_bytes": 20}]
    assert scaling.memory_rises(rows) == {
        "memory_rise": 1.5, "generation_memory_rise": 6.0, "update_memory_rise": 1.0
    }  # fmt: skip


def test_a_share_is_of_the_time_that_the_limits_allow():
    found = scaling.share("decode", 4.0, 10.0, 3.0, 5.0, 3.0)
    assert (found["of_gemm_roof"], found["of_flop_and_bytes"]) == (0.5, 0.75)
