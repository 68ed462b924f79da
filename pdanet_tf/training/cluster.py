"""The processes that train together on several machines, as the environment names them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_JOBS = ("chief", "worker")
_WEEK = 7 * 24 * 3600  # seconds


@dataclass(frozen=True)
class Cluster:
    """The processes that train together, and which one of them this process is.

    Attributes:
        addresses: "host:port" of each process, "[host]:port" with an IPv6 address. The first one is
            the chief, which writes the files.
        index: The number of this process.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def size(self) -> int:
        """Number of processes."""
        return len(self.addresses)

    def place(self, index: int) -> tuple[str, int]:
        """Returns the host and the port of a process. The host of "[::1]:12345" is "::1"."""
        host, _, port = self.addresses[index].rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.index == 0


def read_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Returns the processes that train together; None if this process trains alone.

    They are named by the variable TF_CONFIG, or by Slurm (a step of several tasks, as `srun`
    starts it).

    Args:
        environment: The variables of the environment, `os.environ`.

    Raises:
        ValueError: If TF_CONFIG is not what TensorFlow expects, or names jobs that do not train; or
            if Slurm's variables are incomplete.
    """
    if text := environment.get("TF_CONFIG"):
        return _from_tf_config(text)
    if (tasks := _slurm_tasks(environment)) > 1:
        return _from_slurm(environment, tasks)
    return None


def names_processes(environment: Mapping[str, str]) -> bool:
    """Returns whether the environment may name several processes; imports and checks nothing.

    Args:
        environment: The variables of the environment, `os.environ`.
    """
    return bool(environment.get("TF_CONFIG")) or _slurm_tasks(environment) > 1


def seconds_to_meet(environment: Mapping[str, str]) -> float:
    """Returns how long the processes wait for each other: PDANET_TF_WORKER_SECONDS, or 600.

    Args:
        environment: The variables of the environment, `os.environ`.

    Raises:
        ValueError: If the variable is not a number of seconds between 0 and a week.
    """
    text = environment.get("PDANET_TF_WORKER_SECONDS") or "600"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _WEEK:
        raise ValueError(
            "The environment variable PDANET_TF_WORKER_SECONDS must be a number of seconds above 0 "
            f"and up to {_WEEK}. Received: PDANET_TF_WORKER_SECONDS={text[:100]!r}"
        )
    return seconds


def _from_tf_config(text: str) -> Cluster | None:
    try:
        content = json.loads(text)
        jobs: dict[str, list[str]] = {
            job: [str(address) for address in _listed(addresses)]
            for job, addresses in (content.get("cluster") or {}).items()
        }
    except (AttributeError, RecursionError, TypeError, ValueError):
        raise ValueError(
            "The environment variable TF_CONFIG must be a JSON object whose cluster maps jobs to "
            f"lists of addresses. Received: TF_CONFIG={text[:100]!r}"
        ) from None
    if sum(map(len, jobs.values())) < 2:
        return None
    others = sorted(set(jobs).difference(_JOBS))
    if others:
        raise ValueError(
            f"TF_CONFIG names the job {', '.join(others)}. Training on several machines takes "
            f"the jobs {' and '.join(_JOBS)} only: every process trains"
        )
    addresses = [address for job in _JOBS for address in jobs.get(job, [])]
    _check_addresses(addresses)
    task = content.get("task")
    first = {"chief": 0, "worker": len(jobs.get("chief", []))}
    kind, index = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    # JSON's true would count as 1.
    if kind not in jobs or type(index) is not int or not 0 <= index < len(jobs[kind]):
        counts = " and ".join(f"{len(found)} of type {job!r}" for job, found in jobs.items())
        raise ValueError(
            "The task of TF_CONFIG must name the type and the index of this process. The cluster "
            f"has {counts}, counted from 0. Received: task={json.dumps(task)}"
        )
    return Cluster(tuple(addresses), first[kind] + index)


def _listed(addresses: Any) -> list[Any]:
    """Returns addresses as a list; TensorFlow also takes a mapping from indices to addresses."""
    if isinstance(addresses, dict):
        return [addresses[key] for key in sorted(addresses, key=int)]
    if not isinstance(addresses, list):
        raise TypeError
    return addresses


def _check_addresses(addresses: list[str]) -> None:
    for address in addresses:
        host, _, port = address.rpartition(":")
        is_host = bool(host) and (":" not in host or (host[0], host[-1]) == ("[", "]"))
        if not is_host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(
                "The addresses in TF_CONFIG must be 'host:port', or '[host]:port' with an IPv6 "
                f"address. Received: {address!r}"
            )
        if addresses.count(address) > 1:
            raise ValueError(f"TF_CONFIG names the address {address!r} more than once")


def _slurm_tasks(environment: Mapping[str, str]) -> int:
    """Returns the number of tasks of Slurm's step; 1 without Slurm."""
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    return int(tasks) if tasks.isdecimal() else 1


def _from_slurm(environment: Mapping[str, str], tasks: int) -> Cluster:
    import tensorflow as tf

    try:
        # Slurm itself gives each task its GPUs. The resolver wants as many GPUs as tasks.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
    except RuntimeError as error:
        raise ValueError(
            f"Slurm's variables do not describe the tasks of the step: {error}. Start training "
            "with srun, or set TF_CONFIG"
        ) from error
    addresses = tuple(resolver.cluster_spec().as_dict()["worker"])
    _, index = resolver.get_task_info()
    # The resolver sorts the nodes by name, node10 before node9. Slurm numbers the tasks otherwise.
    node, local = environment.get("SLURMD_NODENAME"), environment.get("SLURM_LOCALID", "")
    on_node = [i for i, a in enumerate(addresses) if a.rpartition(":")[0] == node]
    if local.isdecimal() and int(local) < len(on_node):
        index = on_node[int(local)]
    return Cluster(addresses, int(index))
