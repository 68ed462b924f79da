"""The command `pdanet-tf demo`."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from pdanet_tf.cli import demo, main
from pdanet_tf.cli.options import make_parser
from tests.support.demo_pages import ask


def test_the_defaults_show_the_shipped_model_on_this_machine_alone():
    options = vars(make_parser().parse_args(["demo"]))
    assert (options["model"], options["host"], options["port"]) == ("camvid", "127.0.0.1", 7860)
    assert options["compare_with"] is options["weights"] is options["runtime"] is None


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == (
        "pdanet-tf: error: The demo page requires the package starlette, which is not installed: "
        "pip install 'pdanet_tf[demo]'\n"
    )


def test_a_busy_port_and_a_missing_folder_are_told_before_a_model_is_loaded(monkeypatch, capsys):
    pytest.importorskip("uvicorn", reason="requires the extra demo")
    monkeypatch.setattr(demo, "import_keras_quietly", lambda: pytest.fail("too late"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["demo", "--port", port]) == 1
    assert capsys.readouterr().err == (
        f"pdanet-tf: error: --port {port}: the port is in use. Choose another one, or 0 for any "
        "free one\n"
    )
    assert main(["demo", "--port", "0", "--samples", "nowhere"]) == 1
    assert "--samples nowhere: there is no such folder" in capsys.readouterr().err
    assert main(["demo", "--port", "70000"]) == 1
    assert "--port must be from 0 to 65535. Received: 70000" in capsys.readouterr().err
    assert main(["demo", "--port", "0", "--host", "192.0.2.1"]) == 1
    assert "--host 192.0.2.1 --port 0: cannot listen there" in capsys.readouterr().err


@pytest.mark.slow
def test_the_page_opens_and_ends_on_ctrl_c():
    pytest.importorskip("uvicorn", reason="requires the extra demo")
    command = [sys.executable, "-m", "pdanet_tf.cli", "demo", "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        line = process.stdout.readline()
        url = re.fullmatch(r"The demo page is at (http://127\.0\.0\.1:\d+) \(.*\)\n", line)[1]
        assert ask(f"{url}/about")[0] == 200
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, output) == (0, "\nThe demo page is closed\n")
    assert "Traceback" not in errors
