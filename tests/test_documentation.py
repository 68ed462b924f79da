"""What the documentation names, exists."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pdanet_tf

PACKAGE = Path(pdanet_tf.__file__).parent
ROOT = Path(__file__).parents[1]
# Modules that cannot be imported without an optional package; their own tests use their names.
OPTIONAL = ("pdanet_tf.inference.beam",)
NAME = re.compile(r"(?<![\w/.-])pdanet_tf(?:\.[A-Za-z_]\w*)+(?!\w)")


def texts():
    """Yields every page and every docstring with where it stands."""
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        if path.name == "CHANGELOG.md":  # which names what was moved, too
            continue
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                yield path.relative_to(ROOT).as_posix(), ast.get_docstring(node) or ""


def test_names_exist_after_a_bare_import():
    places = {}
    for place, text in texts():
        for name in NAME.findall(text):
            places.setdefault(name, set()).add(place)
    assert places.keys() >= {"pdanet_tf.train", "pdanet_tf.data.write_stand_in"}
    script = """
import json, sys
import pdanet_tf
missing = []
for name in json.load(sys.stdin):
    found = pdanet_tf
    try:
        for part in name.split(".")[1:]:
            found = getattr(found, part)
    except AttributeError:
        missing.append(name)
print(json.dumps(missing))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(sorted(name for name in places if not name.startswith(OPTIONAL))),
        capture_output=True,
        text=True,
        check=True,
    )
    missing = json.loads(done.stdout.splitlines()[-1])
    assert {name: sorted(places[name]) for name in missing} == {}
