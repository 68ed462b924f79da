"""Which processes train together, and how they meet."""

import contextlib
import hashlib
import json
import socket
import threading
import time

import pytest

from pdanet_tf import TrainConfig, train
from pdanet_tf.data import DataError
from pdanet_tf.training import rendezvous
from pdanet_tf.training.cluster import Cluster, read_cluster, seconds_to_meet
from pdanet_tf.training.rendezvous import Meeting, check_own_port, meet
from tests.support.folders import write_folder


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
        ({"worker": ["a:1", "b"]}, None, "must be 'host:port', .*. Received: 'b'"),
        (
            {"worker": ["a:1", "::1:5"]},
            None,
            r"'\[host\]:port' with an IPv6 address. Received: '::1",
        ),
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


def in_threads(function, count, size=None):
    """Calls a function with each index and all addresses; returns what each call ends with."""
    addresses = free_addresses(size or count)
    results = ["does not end"] * count

    def call(index):
        try:
            results[index] = function(index, addresses)
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results, addresses


def gather(facts, size=None, seconds=20.0):
    """Lets processes, here threads, meet; returns what each of them ends with."""

    def take_part(index, addresses):
        meet(Cluster(addresses, index), facts[index], seconds)
        return "met"

    return in_threads(take_part, len(facts), size)


def test_processes_that_agree_meet():
    assert gather([{"seed": 1, "crop_size": (2, 3)}] * 3)[0] == ["met"] * 3


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
def test_processes_meet_at_an_ipv6_address():
    def take_part(index, addresses):
        ports = [address.rpartition(":")[2] for address in addresses]
        meet(Cluster(tuple(f"[::1]:{port}" for port in ports), index), {}, 20.0)
        return "met"

    assert in_threads(take_part, 2)[0] == ["met"] * 2


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        message = f"^The worker cannot listen at {address}: .*Choose another port"
        with pytest.raises(OSError, match=message):
            check_own_port(Cluster(("127.0.0.1:1", address), 1))
        with pytest.raises(OSError, match=message):
            meet(Cluster((address, "127.0.0.1:1"), 0), {}, 5.0)


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


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            lambda own: (*own[:2], "elsewhere:1"),
            "only its list has 'elsewhere:1'; only the chief's list has '{2}'",
        ),
        (lambda own: own[:2], "only the chief's list has '{2}'"),
        (lambda own: (own[0], own[2], own[1]), "the order differs"),
    ],
)
def test_a_process_with_another_list_of_addresses_is_told_from_one_that_is_missing(
    change, difference
):
    def go(index, addresses):
        meet(Cluster(addresses if index == 0 else change(addresses), index), {}, 1.5)

    results, addresses = in_threads(go, 2, size=3)
    expected = "A process came whose list of addresses is not the chief's: "
    expected += difference.format(*addresses)
    missing = f"The workers at {addresses[1]}, {addresses[2]} did not come up within 1.5 s"
    assert [type(result) for result in results] == [TimeoutError, ValueError]
    assert [str(result) for result in results] == [f"{missing}. {expected}", expected]


def test_two_processes_of_one_index_are_told_from_one_that_is_missing():
    results, addresses = in_threads(
        lambda index, addresses: meet(Cluster(addresses, min(index, 1)), {}, 1.5), 3
    )
    for result in results:
        assert isinstance(result, TimeoutError)
        assert str(result) == (
            f"The worker at {addresses[2]} did not come up within 1.5 s. More than one process "
            f"came as number 1, {addresses[1]}: each must have an index of its own"
        )


def test_slurm_numbers_nodes_otherwise_than_their_names_are_sorted(monkeypatch):
    step = {
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "node[9-10]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
    }
    found = []
    for rank, node, local in ((0, "node9", 0), (1, "node9", 1), (2, "node10", 0)):
        own = {"SLURM_PROCID": f"{rank}", "SLURMD_NODENAME": node, "SLURM_LOCALID": f"{local}"}
        for name, value in (step | own).items():
            monkeypatch.setenv(name, value)
        cluster = read_cluster(step | own)
        assert cluster.addresses[cluster.index].split(":")[0] == node
        found.append(cluster)
    assert len({cluster.addresses for cluster in found}) == 1
    assert sorted(cluster.index for cluster in found) == [0, 1, 2]


def test_slurm_without_the_tasks_of_the_step_is_refused(monkeypatch):
    monkeypatch.delenv("SLURM_STEP_NODELIST", raising=False)
    with pytest.raises(ValueError, match="Start training with srun, or set TF_CONFIG"):
        read_cluster({"SLURM_STEP_NUM_TASKS": "2"})


def test_the_time_to_wait():
    assert seconds_to_meet({}) == seconds_to_meet({"PDANET_TF_WORKER_SECONDS": ""}) == 600
    assert seconds_to_meet({"PDANET_TF_WORKER_SECONDS": "90.5"}) == 90.5


@pytest.mark.parametrize("text", ["10min", "0", "-5", "nan", "inf", "1e9"])
def test_a_wrong_time_to_wait_is_refused(text):
    with pytest.raises(ValueError, match="PDANET_TF_WORKER_SECONDS must be a number of seconds"):
        seconds_to_meet({"PDANET_TF_WORKER_SECONDS": text})


@pytest.mark.parametrize("failing", [0, 1])
def test_a_process_that_fails_before_tells_the_others(failing):
    def go(index, addresses):
        meeting = Meeting(Cluster(addresses, index), 20.0)
        with meeting.explained():
            if index == failing:
                raise FileNotFoundError("there are no images")
            meeting.hold({"seed": 1})

    results, addresses = in_threads(go, 3)
    assert isinstance(results[failing], FileNotFoundError)
    for index in {0, 1, 2} - {failing}:
        assert isinstance(results[index], ValueError)
        assert str(results[index]) == (
            f"None of the workers trains: The worker at {addresses[failing]} failed: there are no "
            "images"
        )


def test_a_chief_that_fails_does_not_wait_for_long(monkeypatch):
    monkeypatch.setattr(rendezvous, "_FAREWELL", 0.3)
    meeting = Meeting(Cluster(free_addresses(2), 0), 600.0)
    with pytest.raises(ZeroDivisionError), meeting.explained():
        raise ZeroDivisionError


def test_an_error_after_the_meeting_is_not_told():
    def go(index, addresses):
        meeting = Meeting(Cluster(addresses, index), 20.0)
        with meeting.explained():
            meeting.hold({})
            raise ZeroDivisionError

    assert [type(result) for result in in_threads(go, 2)[0]] == [ZeroDivisionError] * 2


def test_a_silent_connection_does_not_stop_the_meeting(monkeypatch):
    monkeypatch.setattr(rendezvous, "_LONGEST_PAUSE", 0.2)

    def go(index, addresses):
        if index == 2:
            host, port = addresses[0].split(":")
            for _ in range(100):
                try:
                    return socket.create_connection((host, int(port)))
                except ConnectionRefusedError:
                    time.sleep(0.02)
        if index == 1:
            time.sleep(0.5)  # after the silent one
        return meet(Cluster(addresses[:2], index), {}, 20.0)

    results = in_threads(go, 3)[0]
    results[2].close()
    assert results[:2] == [None, None]


@contextlib.contextmanager
def other_process(monkeypatch, index, facts=None):
    """This process trains with another one, here a thread that only meets it.

    Args:
        monkeypatch: The fixture.
        index: The number of this process, of two.
        facts: What the other one says.

    Yields:
        A list that then holds what the other one was told.
    """
    addresses, told = free_addresses(2), []
    environment = config({"worker": list(addresses)}, {"type": "worker", "index": index})
    monkeypatch.setenv("TF_CONFIG", environment["TF_CONFIG"])

    def take_part():
        try:
            meet(Cluster(addresses, 1 - index), facts or {}, 20.0)
        except ValueError as error:
            told.append(str(error))

    thread = threading.Thread(target=take_part)
    thread.start()
    yield told
    thread.join(30)
    assert len(told) == 1


def test_a_run_that_cannot_begin_tells_the_others(tmp_path, monkeypatch):
    """The chief does not open the data."""

    missing = tmp_path / "missing"
    wanted = TrainConfig(
        output_dir=str(tmp_path / "run"), dataset="folder", data_dir=str(missing), num_classes=3
    )
    with (
        other_process(monkeypatch, 0) as told,
        pytest.raises(DataError, match="there is no such folder"),
    ):
        train(wanted, verbose=0)
    assert str(missing) in told[0]


def test_files_of_weights_are_compared_by_their_content(tmp_path, monkeypatch):
    """Each machine has a copy of its own; here the second one has another file."""
    write_folder(tmp_path / "data", 2, splits=("train", "val"), highest=2)
    weights = tmp_path / "first.keras"
    weights.write_bytes(b"weights")

    wanted = TrainConfig(
        output_dir=str(tmp_path / "run"),
        dataset="folder",
        data_dir=str(tmp_path / "data"),
        num_classes=3,
        batch_size=2,
        weights=str(weights),
    )
    hashed = hashlib.sha256(b"weights").hexdigest()
    other = other_process(monkeypatch, 0, {"weights": "another"})
    with other, pytest.raises(ValueError, match=f"weights is 'another' on .*, and '{hashed[:20]}"):
        train(wanted, verbose=0)


def test_an_error_of_a_worker_names_the_folder_of_the_run(tmp_path, monkeypatch):
    """A worker reads a copy of it."""
    write_folder(tmp_path / "data", 2, splits=("train", "val"), highest=2)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.keras").touch()
    wanted = TrainConfig(
        output_dir=str(tmp_path / "run"),
        dataset="folder",
        data_dir=str(tmp_path / "data"),
        num_classes=3,
        batch_size=2,
    )

    message = f"^{tmp_path / 'run'} already holds a run"
    with other_process(monkeypatch, 1) as told, pytest.raises(FileExistsError, match=message):
        train(wanted, verbose=0)
    assert f"failed: {tmp_path / 'run'} already holds a run" in told[0]
