"""What `pdanet-tf doctor` finds, on installations and machines that are made up."""

import json
import os
import sys

import pytest

from pdanet_tf.cli import main
from pdanet_tf.diagnosis import devices, machine, packages, report
from pdanet_tf.diagnosis.finding import Finding

GIB = 2**30
NOTHING = {"errors": {}, "gpus": [], "cuda": None, "backend": "tensorflow", "seconds": 1.0}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Writes what pip writes about an installed package, in place of what is installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])

    def write(name, version, *requires):
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")

    return write


def texts(findings):
    return [(finding.severity, finding.text, finding.remedy) for finding in findings]


def test_versions_that_do_not_fit(install):
    install("pdanet_tf", "1.0", "keras<3.16,>=3.12", "rich>=13", 'torch; extra == "torch"')
    install("keras", "3.16.0", "h5py")
    install("tensorflow", "2.21.0", "protobuf>=6.31", 'winonly; sys_platform == "win32"')
    install("protobuf", "4.25.0")
    assert texts(packages.check_requirements()) == [
        (
            "broken",
            "pdanet_tf requires keras<3.16,>=3.12, but 3.16.0 is installed",
            "pip install 'keras<3.16,>=3.12'",
        ),
        (
            "broken",
            "pdanet_tf requires rich, which is not installed",
            "pip install 'rich>=13'",
        ),
        (
            "warning",
            "tensorflow requires protobuf>=6.31, but 4.25.0 is installed",
            "pip install 'protobuf>=6.31'",
        ),
        ("warning", "keras requires h5py, which is not installed", "pip install 'h5py'"),
    ]


def test_extras_and_what_they_require(install):
    install(
        "pdanet_tf",
        "1.0",
        "numpy",
        'tensorflow[and-cuda]; extra == "gpu"',
        'onnxruntime; extra == "onnx"',
        'ruff; extra == "dev"',
    )
    install("tensorflow", "2.21.0", "numpy", 'nvidia-cudnn-cu12; extra == "and-cuda"')
    install("onnxruntime", "1.32.0")
    assert packages.find_extras() == {
        "gpu": {"tensorflow": "2.21.0", "nvidia-cudnn-cu12": None},
        "onnx": {"onnxruntime": "1.32.0"},
    }


def test_packages_that_overwrite_each_other(install):
    install("opencv-python", "4.12.0")
    install("tensorflow", "2.21.0")
    assert [*packages.check_twins()] == []
    install("opencv-python-headless", "4.12.0")
    (finding,) = packages.check_twins()
    assert finding.remedy == (
        "pip uninstall -y opencv-python-headless opencv-python; then pip install "
        "opencv-python-headless"
    )


@pytest.mark.parametrize(("version", "fits"), [((3, 10), 0), ((3, 11), 1), ((3, 14), 0)])
def test_versions_of_python(version, fits):
    assert len([*packages.check_python(version)]) == 1 - fits


def write_files(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:    8388608 kB\n"


def test_memory_with_and_without_a_limit(tmp_path):
    assert machine.find_memory(tmp_path) == {}
    assert machine.usable_memory({}) is None
    write_files(tmp_path, proc__meminfo=MEMINFO)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    free = {"total": 16 * GIB, "available": 8 * GIB}
    assert machine.find_memory(tmp_path) == free
    assert machine.usable_memory(free) == 8 * GIB
    assert [*machine.check_memory(free)] == []
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{4 * GIB}\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text(f"{3 * GIB}\n")
    limited = machine.find_memory(tmp_path)
    assert limited == free | {"limit": 4 * GIB, "used": 3 * GIB}
    assert machine.usable_memory(limited) == GIB
    (finding,) = machine.check_memory(limited)
    assert finding.text.startswith("1.0 GiB of memory this container may still take")


def test_memory_limits_of_the_older_control_groups(tmp_path):
    write_files(tmp_path, proc__meminfo=MEMINFO)
    folder = tmp_path / "sys/fs/cgroup/memory"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")  # none
    assert "limit" not in machine.find_memory(tmp_path)
    (folder / "memory.limit_in_bytes").write_text(f"{2 * GIB}\n")
    (folder / "memory.usage_in_bytes").write_text("0\n")
    assert machine.find_memory(tmp_path)["limit"] == 2 * GIB


def test_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "new" / "keras"))
    disk = machine.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: disk._replace(free=2 * GIB))
    assert [*machine.check_folders()] == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file" / "keras"))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: disk._replace(free=0))
    found = texts(machine.check_folders())
    assert found[0][1].startswith(f"{tmp_path / 'file' / 'keras'} cannot be written to")
    assert found[1][1].startswith(f"0.0 GiB of disk are free at {tmp_path}")


def test_shared_memory_matters_to_several_gpus(tmp_path, monkeypatch):
    disk = machine.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: disk._replace(total=2**26))
    assert [*machine.check_shared_memory(1, tmp_path)] == []
    (finding,) = machine.check_shared_memory(2, tmp_path)
    assert "has 64 MiB" in finding.text


@pytest.mark.parametrize(
    ("visible", "cuda", "remedy"),
    [
        ("-1", "12.5.1", "CUDA_VISIBLE_DEVICES='-1' hides all GPUs: unset it"),
        (None, None, "This TensorFlow was built without CUDA"),
        (None, "12.5.1", "Install CUDA's libraries: pip install 'pdanet_tf[gpu]'"),
    ],
)
def test_a_gpu_that_tensorflow_does_not_find(visible, cuda, remedy, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    driver = tmp_path / "version"
    found = NOTHING | {"cuda": cuda}
    assert [*devices.check_gpus(found, driver)] == []  # no driver
    driver.touch()
    assert [*devices.check_gpus(found | {"gpus": [{"name": "A"}]}, driver)] == []
    (finding,) = devices.check_gpus(found, driver)
    assert finding.remedy.startswith(remedy)


def test_backends(monkeypatch):
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    assert [*devices.check_imports(NOTHING)] == []
    (finding,) = devices.check_imports(NOTHING | {"backend": "jax"})
    assert finding.severity == "warning"
    assert "Keras' backend is jax" in finding.text
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    (finding,) = devices.check_imports(NOTHING)
    assert "Unset TF_USE_LEGACY_KERAS" in finding.remedy
    errors = {"keras": "ValueError: Unable to import backend : tensorfow"}
    (finding, _) = devices.check_imports(NOTHING | {"errors": errors})
    assert finding.remedy == "Set KERAS_BACKEND to one of tensorflow, jax, torch"


KERAS = "class backend:\n    backend = staticmethod(lambda: 'tensorflow')\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "the process crashed (SIGABRT): "),
        ("raise TypeError('Descriptors cannot be created')", "TypeError: Descriptors cannot be"),
        ("raise SystemExit(3)", "the process ended with status 3: no message"),
        ("import protobuf_that_is_missing", "No module named 'protobuf_that_is_missing'"),
    ],
)
def test_a_tensorflow_that_cannot_be_imported(code, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "tensorflow.py").write_text(code)
    (tmp_path / "keras.py").write_text(KERAS)
    former = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.getcwd()}{os.pathsep}{former}")
    assert main(["doctor", "--json", str(tmp_path / "report.json")]) == 1
    printed = capsys.readouterr().out
    assert "broken: tensorflow cannot be imported: " in printed
    assert message in printed
    assert "--force-reinstall tensorflow." in printed
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["usable"] is False
    assert message in stored["findings"][0]["text"]


def test_the_exit_status_and_what_fits(monkeypatch, capsys):
    monkeypatch.setattr(devices, "run_probe", lambda: NOTHING)
    monkeypatch.setattr(machine, "find_memory", lambda: {"total": 16 * GIB, "available": 8 * GIB})
    for checks in (packages.check_requirements, packages.check_twins):
        monkeypatch.setattr(packages, checks.__name__, lambda: iter(()))
    monkeypatch.setattr(
        machine, "check_folders", lambda: iter([Finding("warning", "A disk is full", "Empty it")])
    )
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "warning: A disk is full. Empty it." in printed
    assert printed.endswith("Broken: 0. Warnings: 1.\n")
    # 8 GiB, less 0.5 for TensorFlow and 0.33 for 3 x 29.5 M numbers; 0.528 GiB per image.
    assert "fit: up to about 13 images" in printed
    assert report.diagnose().memory["available"] == 8 * GIB


def test_a_probe_of_this_installation():
    """In this process, in which TensorFlow is imported already."""
    from pdanet_tf.diagnosis.probe import probe

    found = probe()
    assert found["errors"] == {}
    assert found["backend"] == "tensorflow"
