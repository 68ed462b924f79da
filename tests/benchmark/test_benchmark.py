"""The benchmark: cases in processes of their own, and what is said of them."""

import json
import sys

import keras
import pytest

from pdanet_tf.benchmark.cases import Case
from pdanet_tf.benchmark.flops import count_flops
from pdanet_tf.benchmark.runner import Runner, run_benchmark
from pdanet_tf.cli import main
from pdanet_tf.models import build_model

SIZE = (32, 40)


@pytest.mark.slow
def test_figures_of_two_cases(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # for the whole table
    arguments = ["benchmark", "--model", "fcn_resnet18", "--task", "predict", "train"]
    arguments += ["--size", *map(str, SIZE), "--batch-size", "2", "--rounds", "3"]
    files = [tmp_path / "figures.json", tmp_path / "chart.png"]
    assert main([*arguments, "--json", str(files[0]), "--chart", str(files[1])]) == 0
    content = json.loads(files[0].read_text())
    predict, train = content["results"]
    model = build_model("fcn_resnet18", upsample=False)
    assert predict["gflops"] == pytest.approx(2 * count_flops(model, SIZE) / 1e9)
    assert train["gflops"] == pytest.approx(3 * predict["gflops"])
    for result in (predict, train):
        assert len(result["seconds"]) == 3
        assert sorted(result["seconds"])[1] == result["latency"]
        assert result["throughput"] == pytest.approx(2 / result["latency"])
        speed = result["gflops"] / result["latency"]
        assert result["share_of_peak"] == pytest.approx(speed / result["peak_gflops_per_second"])
        assert 0 < result["share_of_peak"] < 1
    assert train["latency"] > predict["latency"]
    assert train["memory_mib"] > predict["memory_mib"]
    assert "cores" in content["machine"]
    assert files[1].stat().st_size > 1000
    assert "fcn_resnet18" in capsys.readouterr().out


def fail(case):
    raise ValueError(f"cannot be built at {case.size} with {sys.modules['users_module'].NAME}")


def test_a_process_imports_modules_and_names_its_case_if_it_fails(tmp_path, monkeypatch):
    (tmp_path / "users_module.py").write_text("NAME = 'a module of the user'")
    monkeypatch.syspath_prepend(tmp_path)
    message = r"fcn_resnet18.*cannot be built at \(32, 40\) with a module of the user"
    with pytest.raises(RuntimeError, match=message):
        Runner(Case("fcn_resnet18", size=SIZE), fail, imports=["users_module"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sleep"}, "task must be one of predict, train. .*'sleep'"),
        ({"precision": "int8"}, "precision must be one of float32, .*, float16. .*'int8'"),
        (
            {"task": "train", "precision": "bfloat16"},
            "Train with precision='mixed_bfloat16', .* Received: precision='bfloat16'",
        ),
        ({"backend": "numpy"}, "backend must be one of"),
        ({"size": (0, 8)}, r"size=\(0, 8\)"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"model": "pdanet_resnet19"}, "pdanet_resnet18"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Case(**options)


def test_no_cases():
    with pytest.raises(ValueError, match="0 cases"):
        run_benchmark([])


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", "float32"), ("mixed_float16", "float16"), ("bfloat16", "bfloat16")],
)
def test_a_precision_is_a_dtype_policy(precision, dtype):
    case = Case("fcn_resnet18", precision=precision)
    policy = keras.dtype_policies.get(case.precision)
    assert case.compute_dtype == policy.compute_dtype == dtype
