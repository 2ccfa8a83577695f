from __future__ import annotations

import time

import pytest
import torch

from querist.training.clock import Clock

CPU = torch.device("cpu")


def test_steps_are_divided_as_the_timed_ones_were() -> None:
    clock = Clock(CPU)
    clock.start()
    time.sleep(0.01)
    clock.lap("forward")
    time.sleep(0.02)
    clock.lap("backward")
    clock.lap("optimizer")
    clock.add_steps(9.0)
    found = clock.seconds()
    assert sum(found.values()) == pytest.approx(9.0)
    assert found["backward"] > found["forward"] > found["optimizer"] > 0


def test_captures_are_no_steps() -> None:
    clock = Clock(CPU)
    clock.start()
    clock.lap("forward")
    clock.add_steps(5.0)
    clock.add("capture", 2.0)
    assert clock.seconds() == {"capture": 2.0, "forward": pytest.approx(3.0)}


def test_parts_add_up() -> None:
    clock = Clock(CPU)

    def breaks() -> None:
        with clock.part("validation"):
            time.sleep(0.01)
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        breaks()
    clock.add("validation", 1.0)
    clock.add("data", 0.5)
    found = clock.seconds()
    assert found["validation"] > 1.0
    assert found["data"] == 0.5
    assert set(found) == {"validation", "data"}
