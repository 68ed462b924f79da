"""The notebooks of examples/notebooks: how they are stored, what they use, and that they run."""

import ast
import importlib
import json
from pathlib import Path

import pytest

from docs import pages

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text("utf-8"))


def code_of(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_these_are_the_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["own_data_set", "pdanet_inside_out", "serving"]


@every_notebook
def test_notebooks_are_stored_without_outputs(path):
    text = path.read_text("utf-8")
    notebook = json.loads(text)
    # One form, so that changes are lines: jupyter nbconvert --clear-output --inplace, and this.
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    assert len(text) < 30_000
    assert notebook["metadata"] == METADATA
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    for number, cell in enumerate(notebook["cells"], 1):
        assert cell["id"] == f"cell-{number:02}"
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["execution_count"], cell["outputs"]) == (None, [])


@every_notebook
def test_a_text_stands_before_every_cell(path):
    kinds = [cell["cell_type"] for cell in read(path)["cells"]]
    for kind, before in zip(kinds, ["", *kinds], strict=False):
        assert (kind, before) != ("code", "code")
    assert kinds[0] == "markdown"


def test_fifteen_cells_are_enough_for_an_own_data_set():
    assert len(code_of(read(ROOT / "examples/notebooks/own_data_set.ipynb"))) <= 15


@every_notebook
def test_notebooks_use_public_names_only(path):
    tree = ast.parse("\n".join(code_of(read(path))))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("pdanet_tf"):
            module = importlib.import_module(node.module)
            assert {alias.name for alias in node.names} <= {*module.__all__}, node.module
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_") or node.attr == "__name__", node.attr


# A line that a cell prints near the end.
LAST_LINES = {
    "own_data_set": "The loaded model predicts the same label map: True",
    "pdanet_inside_out": "concatenated: 7.96 billion, factored: 1.65 billion",
    "serving": "the same label map: True",
}


@pytest.mark.slow
@pytest.mark.extra
@every_notebook
def test_notebooks_run(path, tmp_path, monkeypatch):
    # As Jupyter runs them: in a kernel, a process of its own.
    pytest.importorskip("ipykernel", reason="a kernel needs the package ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="running it needs the package nbclient")
    nbformat = pytest.importorskip("nbformat", reason="running it needs the package nbformat")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the notebooks write to new folders in it
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()  # an error in a cell is raised
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    assert LAST_LINES[path.stem] in printed
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(figures) >= 2
    if path.stem == "pdanet_inside_out":
        differences = [
            float(line.rpartition(" ")[2])
            for line in printed.splitlines()
            if line.startswith("largest difference to the layer")
        ]
        assert len(differences) == 2
        assert max(differences) < 1e-5
        assert "The first of 2 x 2 bins is a mean: True" in printed
    if path.stem == "serving":
        assert printed.count("100.000% of the pixels are the same") == 2


def test_notebooks_are_pages_of_the_site():
    text, linked = pages.on_the_site("examples/notebooks/serving.ipynb")
    assert text.startswith("# Serving\n\n")
    assert "\n\nThis page shows the code of the notebook" in text
    assert "](../serving.md)" in text
    assert linked == ["docs/serving.md"]
    for code in code_of(read(ROOT / "examples/notebooks/serving.ipynb")):
        assert f"```python\n{code}\n```" in text
