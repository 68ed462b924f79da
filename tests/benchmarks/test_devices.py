"""The program that compares devices computes its table, and trains on two replicas."""

import json

import numpy as np
import pytest

from benchmarks.devices import (
    SETUPS,
    Outcome,
    _save_start,
    describe,
    difference,
    main,
    read_weights,
    run,
)


def test_each_backend_is_compared_with_its_single_device():
    start = np.zeros(4)
    seconds = (0.2, 0.3, 0.5, 0.1, 0.2, 0.05)
    outcomes = {
        setup: Outcome(np.array([3.0, 4, 0, 0.05 * number]), time)
        for number, (setup, time) in enumerate(zip(SETUPS, seconds, strict=True))
    }
    headings, rows = describe(outcomes, start)
    assert len(headings) == len(rows[0])
    assert rows[0] == ["TensorFlow, 1 device", "-", "-", "200", "1.00"]
    assert rows[1] == ["TensorFlow, 2 replicas", "1e-02", "1e-02", "300", "1.50"]
    assert [row[-1] for row in rows] == ["1.00", "1.50", "2.50", "1.00", "2.00", "0.50"]


def test_processes_are_told_who_they_are():
    addresses = ["a:1", "b:2"]
    tasks = []
    for index in range(2):
        variables = SETUPS[2].environment(addresses, index)
        assert variables["KERAS_BACKEND"] == "tensorflow"
        tasks.append(json.loads(variables["TF_CONFIG"]))
    assert [task["task"]["index"] for task in tasks] == [0, 1]
    assert tasks[0]["cluster"] == {"worker": addresses}
    assert "TF_CONFIG" not in SETUPS[4].environment(["a:1"], 0)
    assert SETUPS[4].environment(["a:1"], 0)["XLA_FLAGS"].endswith("device_count=2")


def test_too_few_steps_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--steps", "3"])
    assert "the first 3 steps are not timed" in capsys.readouterr().err


@pytest.mark.slow
def test_two_replicas_train(tmp_path):
    start = tmp_path / "start.keras"
    _save_start(start)
    outcome = run(SETUPS[1], tmp_path / "run", start, steps=5)
    assert 0 < difference(outcome.weights, read_weights(start)) < 0.5
    assert outcome.seconds > 0
