"""Which processes train together, and how they meet."""

import json
import socket
import threading

import pytest

from pdanet_tf.training.cluster import Cluster, read_cluster
from pdanet_tf.training.rendezvous import meet


def config(cluster, task):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


def test_the_chief_comes_first():
    jobs = {"worker": ["b:1", "c:2"], "chief": ["a:1"]}
    cluster = read_cluster(config(jobs, {"type": "worker", "index": 1}))
    assert cluster == Cluster(("a:1", "b:1", "c:2"), 2)
    assert not cluster.is_chief
    assert read_cluster(config(jobs, {"type": "chief", "index": 0})).is_chief


@pytest.mark.parametrize(
    "environment",
    [{}, {"TF_CONFIG": ""}, config({"worker": ["a:1"]}, {"type": "worker", "index": 0})],
)
def test_one_process_trains_alone(environment):
    assert read_cluster(environment) is None


def test_slurm_names_the_tasks_of_a_step(monkeypatch):
    environment = {
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "node[07-08]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_PROCID": "2",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cluster = read_cluster(environment)
    assert [address.split(":")[0] for address in cluster.addresses] == ["node07"] * 2 + ["node08"]
    assert len(set(cluster.addresses)) == 3
    assert cluster.index == 2


@pytest.mark.parametrize(
    ("jobs", "task", "message"),
    [
        ({"worker": ["a:1", "b"]}, None, "must be 'host:port'. Received: 'b'"),
        ({"worker": ["a:1", "a:1"]}, None, "'a:1' more than once"),
        ({"worker": ["a:1", "b:1"], "ps": ["c:1"]}, None, "job ps"),
        ({"worker": ["a:1", "b:1"]}, None, "2 of type 'worker', counted from 0. Received: task"),
        ({"worker": ["a:1", "b:1"]}, {"type": "worker", "index": 2}, '"index": 2'),
        ({"worker": ["a:1", "b:1"]}, {"type": "chief", "index": 0}, '"chief"'),
        ({"worker": "a:1,b:1"}, None, "lists of addresses"),
    ],
)
def test_a_wrong_configuration_is_refused(jobs, task, message):
    with pytest.raises(ValueError, match=message):
        read_cluster(config(jobs, task))


def test_a_configuration_that_is_not_json_is_refused():
    with pytest.raises(ValueError, match="JSON object"):
        read_cluster({"TF_CONFIG": "{worker"})


def free_addresses(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return addresses


def gather(facts, size=None, seconds=20.0):
    """Lets processes, here threads, meet; returns what each of them ends with."""
    addresses = free_addresses(size or len(facts))
    results = [None] * len(facts)

    def take_part(index):
        try:
            meet(Cluster(addresses, index), facts[index], seconds)
            results[index] = "met"
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=take_part, args=(i,)) for i in range(len(facts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results, addresses


def test_processes_that_agree_meet():
    assert gather([{"seed": 1, "crop_size": (2, 3)}] * 3)[0] == ["met"] * 3


def test_all_processes_stop_if_one_differs():
    results, addresses = gather([{"seed": 0, "loss": "ce"}, {"seed": 0, "loss": "ohem"}])
    assert [type(result) for result in results] == [ValueError] * 2
    assert str(results[0]) == str(results[1])
    assert f"loss is 'ohem' on {addresses[1]}, and 'ce' on {addresses[0]}" in str(results[0])


def test_a_process_that_does_not_come_up_is_named():
    results, addresses = gather([{}, {}], size=3, seconds=3.0)
    for result in results:
        assert isinstance(result, TimeoutError)
        assert f"The worker at {addresses[2]} did not come up within 3 s" in str(result)
