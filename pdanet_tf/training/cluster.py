"""The processes that train together on several machines, as the environment names them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_JOBS = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """The processes that train together, and which one of them this process is.

    Attributes:
        addresses: "host:port" of each process. The first one is the chief, which writes the files.
        index: The number of this process.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def size(self) -> int:
        """Number of processes."""
        return len(self.addresses)

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
        ValueError: If TF_CONFIG is not what TensorFlow expects, or names jobs that do not train.
    """
    if text := environment.get("TF_CONFIG"):
        return _from_tf_config(text)
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if tasks.isdecimal() and int(tasks) > 1:
        return _from_slurm(int(tasks))
    return None


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
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(
                f"The addresses in TF_CONFIG must be 'host:port'. Received: {address!r}"
            )
        if addresses.count(address) > 1:
            raise ValueError(f"TF_CONFIG names the address {address!r} more than once")


def _from_slurm(tasks: int) -> Cluster:
    import tensorflow as tf

    # Slurm itself gives each task its GPUs. The resolver leaves out tasks for which it counts none,
    # so it is told that there are enough.
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
    )
    jobs = resolver.cluster_spec().as_dict()
    _, index = resolver.get_task_info()
    return Cluster(tuple(jobs["worker"]), int(index))
