"""Gelation monitors against series worked out by hand."""

import json
import math
import random

import pytest

from synapse_engine.train.monitors import CurvatureAlarm, Monitors, synchrony


def with_curvatures(curvatures: list[float]) -> list[float]:
    losses, slope = [0.0, 0.0], 0.0
    for curvature in curvatures:
        slope += curvature
        losses.append(losses[-1] + slope)
    return losses


def test_the_alarm_by_hand() -> None:
    # Ten curvatures of +1 and -1 have mean 0 and deviation 1, so that a 3 after them brings the sum to 2.5.
    calm = [1.0, -1.0] * 5
    alarm = CurvatureAlarm()
    assert not any(alarm.add(loss) for loss in with_curvatures(calm))
    losses = with_curvatures([*calm, 3.0, 6.0])
    assert not alarm.add(losses[12])
    assert alarm.above == pytest.approx(2.5)
    # After 3.0 the window is -1, 1, ..., -1, 3: mean 2/10, variance (9 + 9)/10 - 0.04 = 1.76.
    assert 2.5 + (6 - 0.2) / math.sqrt(1.76) - 0.5 > 5
    assert alarm.add(losses[13])
    assert (alarm.above, alarm.below) == (0.0, 0.0)


def test_the_alarm_is_two_sided_and_needs_ten_values() -> None:
    losses = with_curvatures([*[1.0, -1.0] * 5, -9.0])
    alarm = CurvatureAlarm()
    assert [alarm.add(loss) for loss in losses] == [False] * 12 + [True]
    alarm = CurvatureAlarm()
    assert not any(alarm.add(loss) for loss in with_curvatures([1.0, -1.0, 50.0]))


def test_synchrony_of_equal_and_of_opposite_series() -> None:
    wave = [math.sin(0.6 * t) for t in range(10)]
    scaled = [5 + 3 * value for value in wave]
    assert synchrony([wave, scaled]) == pytest.approx(1)
    assert synchrony([wave, [-value for value in wave]]) == pytest.approx(0, abs=1e-9)


def test_synchrony_of_chance() -> None:
    generator = random.Random(1)
    orders = [synchrony([[generator.gauss(0, 1) for _ in range(10)] for _ in range(8)]) for _ in range(300)]
    assert sum(orders) / len(orders) == pytest.approx(0.886 / math.sqrt(8), abs=0.04)


@pytest.mark.parametrize("series", [[], [[1.0] * 9], [[2.0] * 10]])
def test_no_synchrony_without_movement(series: list[list[float]]) -> None:
    assert synchrony(series) is None


def test_monitors_go_on_after_a_restart() -> None:
    generator = random.Random(2)
    seen = [(5 - t / 20 + generator.random(), [generator.random() for _ in range(3)]) for t in range(30)]
    whole, before = Monitors(3), Monitors(3)
    wanted = [whole.observe(loss, entropies) for loss, entropies in seen]
    found = [before.observe(loss, entropies) for loss, entropies in seen[:17]]
    after = Monitors(3)
    after.restore(json.loads(json.dumps(before.state())))
    found += [after.observe(loss, entropies) for loss, entropies in seen[17:]]
    assert found == wanted
    assert wanted[8]["synchrony"] is None
    assert wanted[9]["synchrony"] is not None
