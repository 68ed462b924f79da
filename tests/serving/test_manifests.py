"""The files of examples/serving can be read, and agree with each other and with the client.

Neither docker nor kubectl is needed. The schemas of Compose, Kubernetes and Triton were checked
once, by check-jsonschema 0.39, kubernetes-validate 1.37 (strict) and the messages of tritonclient
2.73.
"""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from pdanet_tf.exporting.server_files import docker_command

FOLDER = Path(__file__).parents[2] / "examples" / "serving"
COMPOSE = sorted(FOLDER.glob("*/compose.yaml"))
SERVED = "/v1/models/pdanet/metadata"


def load(path):
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def test_every_file_is_known():
    names = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert {name for name in names if "__pycache__" not in name} == {
        "kserve/server.py",
        "openvino_model_server/compose.yaml",
        "openvino_model_server/config.json",
        "tensorflow_serving/compose.yaml",
        "tensorflow_serving/kubernetes.yaml",
        "triton/compose.yaml",
        "triton/models/pdanet/config.pbtxt",
    }


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.parent.name)
def test_compose_files(path):
    (content,) = load(path)
    service = content["services"]["pdanet"]
    assert re.fullmatch(r"[\w./-]+:\d[\w.-]+", service["image"])  # a version, not "latest"
    assert "./models:/models:ro" in service["volumes"]
    assert {*service["deploy"]["resources"]["limits"]} == {"cpus", "memory"}
    # The command in the comment asks for a port that is published.
    example = " ".join(path.read_text("utf-8").replace("\\\n#", "").split())
    port = re.search(r"pdanet-tf request grpc://localhost:(\d+) photo.jpg --model pdanet", example)
    assert f"{port[1]}:{port[1]}" in service["ports"]
    if "healthcheck" in service:
        test = " ".join(service["healthcheck"]["test"])
        (rest,) = re.findall(r"localhost[:/](\d+)", test)
        assert f"{rest}:{rest}" in service["ports"]


def test_kubernetes():
    claim, deployment, service = load(FOLDER / "tensorflow_serving" / "kubernetes.yaml")
    assert [each["kind"] for each in (claim, deployment, service)] == [
        "PersistentVolumeClaim",
        "Deployment",
        "Service",
    ]
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert labels == deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "http": 8501}
    for port in service["spec"]["ports"]:
        assert port["port"] == ports[port["targetPort"]]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": SERVED, "port": "http"}
    assert container["livenessProbe"]["tcpSocket"]["port"] in ports
    (volume,), (mount,) = template["spec"]["volumes"], container["volumeMounts"]
    assert volume["name"] == mount["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert mount["mountPath"] == "/models"
    assert mount["readOnly"]
    assert container["resources"].keys() == {"requests", "limits"}
    # The same server and options as in the Compose file.
    (compose,) = load(FOLDER / "tensorflow_serving" / "compose.yaml")
    other = compose["services"]["pdanet"]
    assert (container["image"], container["args"]) == (other["image"], other["command"])
    # And as in the command that the export prints.
    printed = shlex.split(docker_command(Path("models/pdanet/1")))
    assert {word for word in printed if word.startswith("--") and "=" in word} <= {
        *container["args"]
    }
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["http"])


def test_openvino_model_server():
    folder = FOLDER / "openvino_model_server"
    (model,) = json.loads((folder / "config.json").read_text("utf-8"))["model_config_list"]
    assert model["config"]["name"] == "pdanet"
    (compose,) = load(folder / "compose.yaml")
    service = compose["services"]["pdanet"]
    mounts = dict(volume.split(":")[:2][::-1] for volume in service["volumes"])
    assert mounts["/config.json"] == "./config.json"
    assert "--config_path=/config.json" in service["command"]
    assert model["config"]["base_path"].startswith("/models/")


def test_triton():
    text = (FOLDER / "triton" / "models" / "pdanet" / "config.pbtxt").read_text("utf-8")
    text = re.sub("#.*", "", text)
    assert text.count("{") == text.count("}")
    assert re.search(r'^name: "pdanet"$', text, re.MULTILINE)
    names = re.findall(r'name: "(\w+)"', text)
    # Of the signature `image`: what the client sends and asks for.
    assert names == ["pdanet", "image", "labels", "confidence"]
    assert re.findall(r"dims: \[ (.*?) \]", text) == ["-1, -1, 3", "-1, -1", "-1, -1"]
