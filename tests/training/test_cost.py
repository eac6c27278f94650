import pytest

from kvdiff.training.cost import allreduce_seconds, training_cost

COMMON = dict(num_steps=3600, batch_size=64, bandwidth=1e9)


def test_a_ring_sends_the_gradients_almost_twice():
    assert allreduce_seconds(8e9, 1, 1e9) == 0.0
    assert allreduce_seconds(8e9, 2, 1e9) == pytest.approx(8.0)
    assert allreduce_seconds(8e9, 8, 1e9) == pytest.approx(14.0)
    assert allreduce_seconds(0.0, 8, 1e9, latency=0.5) == pytest.approx(7.0)


def test_one_device_computes_all_the_time():
    cost = training_cost(0.5, 4e9, num_devices=1, price=2.0, **COMMON)
    assert (cost.step_seconds, cost.hours, cost.device_hours) == pytest.approx((32.0, 32.0, 32.0))
    assert (cost.efficiency, cost.price) == pytest.approx((1.0, 64.0))


def test_many_devices_wait_for_the_reduction_and_the_slowest():
    even = training_cost(0.5, 4e9, num_devices=8, **COMMON)
    assert even.step_seconds == pytest.approx(4.0 + 7.0)
    assert even.efficiency == pytest.approx(4.0 / 11.0)
    uneven = training_cost(0.5, 0.0, num_devices=60, **COMMON)  # 4 of 60 have two clips; all wait for them.
    assert uneven.step_seconds == pytest.approx(1.0)
    assert uneven.efficiency == pytest.approx(64 / 120)


def test_the_update_is_paid_on_every_device():
    assert training_cost(0.5, 0.0, num_devices=64, update_seconds=0.5, **COMMON).efficiency == pytest.approx(0.5)


def test_clear_errors():
    with pytest.raises(ValueError, match="`num_devices`: expected an integer >= 1. Received: 0"):
        training_cost(0.5, 1.0, num_devices=0, **COMMON)
    with pytest.raises(ValueError, match="`clip_seconds`"):
        training_cost(0.0, 1.0, num_devices=1, **COMMON)
