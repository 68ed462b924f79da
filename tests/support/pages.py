"""Runs the blocks of a page of the documentation, in the order in which they stand.

Python blocks share their names; one that needs a package which is not installed is left out. A line
of a `sh` block that is a command of `pdanet-tf` runs in this process, on small data and for one
step of training. A block `output` lists lines, in order, of what the block before it printed: "..."
stands for any text, and a number for any number.
"""

import contextlib
import dataclasses
import io
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pdanet_tf
from pdanet_tf.cli import main
from pdanet_tf.cli.options import make_parser
from pdanet_tf.models import list_models

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NUMBER = r"\d[\d,.]*"
# What a command needs that tests lack: a server, or a download.
_ELSEWHERE = re.compile(
    r"(grpc|https?|hf)://|ade20k-resnet|--recipe csail|backbone-weights imagenet"
)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Returns the language and the text of each block of code."""
    return _FENCE.findall(page.read_text("utf-8"))


def commands(text: str) -> Iterator[str]:
    """Yields the commands of a `sh` block, without comments; continued lines are joined."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        command = re.sub(r"(^|\s+)#.*", "", line).strip()
        if command:
            yield command


def run_page(page: Path, names: dict[str, Any] | None = None, shell: bool = True) -> None:
    """Runs every block of a page in the current folder.

    Args:
        page: The page.
        names: Names that the Python blocks take for granted.
        shell: Whether to run the `sh` blocks.
    """
    names, printed, missing = dict(names or {}), "", set[str]()
    for language, text in blocks(page):
        if language == "output":
            check_output(text, printed)
        elif language == "python":
            packages = re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)
            missing |= {package for package in packages if find_spec(package) is None}
            if not any(re.search(rf"\b{package}\b", text) for package in missing):
                with _printed() as stream:
                    exec(compile(text, str(page), "exec"), names)
                printed = stream.getvalue()
        elif language == "toml":
            Path("run.toml").write_text(text, "utf-8")  # the name in the commands
        elif language == "sh" and shell:
            with _printed() as stream:
                for command in commands(text):
                    run_command(command)
            printed = stream.getvalue()


@contextlib.contextmanager
def _printed() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        yield stream


def run_command(command: str) -> None:
    """Runs a command of `pdanet-tf`; of any other, checks that what it names exists."""
    command, _, target = command.partition(" > ")
    words = shlex.split(command)
    while re.match(r"[A-Z_]+=", words[0]):
        del words[0]  # variables of the environment
    if words[0] == "pdanet-tf":
        parsed = make_parser().parse_args(words[1:])
        if _ELSEWHERE.search(command) or parsed.command in ("benchmark", "demo"):
            return
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream) if target else contextlib.nullcontext():
            assert main(words[1:]) == 0, command
        if target:
            Path(target).write_text(stream.getvalue(), "utf-8")
    else:
        check_other(words)


def check_other(words: list[str]) -> None:
    """Checks a command that is not run: a package's extra, a target of make, a file."""
    setup, makefile = ((ROOT / name).read_text("utf-8") for name in ("setup.cfg", "Makefile"))
    words = [words[0].rpartition("/bin/")[2], *words[1:]]  # of a virtual environment
    text = " ".join(words)
    if words[:2] == ["pip", "install"]:
        for extra in re.findall(r"[\w-]+", text.partition("[")[2].partition("]")[0]):
            assert re.search(rf"^{extra} =", setup, re.MULTILINE), text
    elif words[0] == "make":
        for target in words[1:]:
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), text
    elif words[0].startswith("python") and words[1] == "-m":
        module = words[2].replace(".", "/")
        assert words[2] == "venv" or (ROOT / f"{module}.py").is_file(), text
    elif words[0].startswith("python"):
        assert (ROOT / words[1]).is_file(), text
    elif words[0] == "export":
        assert words[1].startswith("TF_CONFIG="), text
    else:
        assert text in (". .venv/bin/activate", "hf auth login"), f"no test runs or checks: {text}"


def check_output(expected: str, printed: str) -> None:
    """Checks that each line occurs in what was printed, in order."""
    lines = iter(printed.splitlines())
    for line in expected.splitlines():
        pattern = ".*".join(
            _NUMBER.join(map(re.escape, re.split(_NUMBER, part))) for part in line.split("...")
        )
        assert any(re.search(pattern, found) for found in lines), f"{line!r} is not in:\n{printed}"


def shorten(config: pdanet_tf.TrainConfig) -> pdanet_tf.TrainConfig:
    """Returns a configuration like the given one that makes one update, on small images."""
    steps = min(config.accumulation_steps, 2)  # one update of the weights
    changes: dict[str, Any] = {
        "epochs": 1,
        "steps_per_epoch": steps,
        "accumulation_steps": steps,
        "warmup_steps": 0,
        "batch_size": 2,
        "backbone_weights": None,
    }
    if config.recipe == "paper":
        changes |= {"short_edges": (40,), "short_edge": 40, "max_size": 64}
    else:
        changes |= {"crop_size": (48, 48)}
    family = config.model.partition("_")[0]
    small = f"{family}_resnet18_quarter"
    if config.weights is None and small in list_models():
        changes["model"] = small
    return dataclasses.replace(config, **changes)
