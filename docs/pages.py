"""Collects the pages of the documentation site in one folder, from which the site is built.

    python -m docs.pages build/docs/pages

The pages are those of this folder, those at the top of the repository, and the reference, whose
texts are the docstrings of what the package exports. Links between the pages of the repository stay
links on the site; a file that is no page, such as an example, becomes a page that shows it.
Notebooks are pages, too, without outputs.
"""

import ast
import json
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Where the pages at the top of the repository are on the site.
TOP = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
# The packages with names for users. `pdanet_tf` itself lists the names that most need.
PACKAGES = (
    "backbones",
    "benchmark",
    "convert",
    "data",
    "diagnosis",
    "evaluation",
    "exporting",
    "inference",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "recipes",
    "serving",
    "sharing",
    "training",
)
_COPIED = (".png", ".svg", ".html")  # endings of files that the site has as they are
_CODE = re.compile(r"(^```.*?^```[^\n]*$|^~~~.*?^~~~$|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_LANGUAGES = {".py": "python", ".toml": "toml", ".cff": "yaml", ".csv": "text"}


def write_pages(folder: Path) -> None:
    """Writes all pages, and the images and HTML files that they show.

    Args:
        folder: Folder to write to. Files of earlier pages are deleted.

    Raises:
        ValueError: If a link leads to a file that does not exist.
    """
    for ending in (".md", *_COPIED):
        for old in folder.rglob(f"*{ending}"):
            old.unlink()
    shown: set[str] = set()
    waiting = [*TOP, *(path.relative_to(ROOT).as_posix() for path in (*pages(), *notebooks()))]
    while waiting:
        source = waiting.pop()
        if source in shown:
            continue
        shown.add(source)
        target = folder / place(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(_COPIED):
            target.write_bytes((ROOT / source).read_bytes())
        else:
            text, linked = on_the_site(source)
            target.write_text(text, "utf-8")
            waiting += linked
    for name in ("site.css", "iframe-worker.js"):
        (folder / name).write_bytes((ROOT / "docs" / name).read_bytes())
    (folder / "reference").mkdir(exist_ok=True)
    for name, text in reference():
        (folder / "reference" / f"{name}.md").write_text(text, "utf-8")


def pages() -> list[Path]:
    """Returns the files of the pages in this folder."""
    return sorted((ROOT / "docs").rglob("*.md"))


def notebooks() -> list[Path]:
    """Returns the files of the notebooks."""
    return sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def place(source: str) -> str:
    """Returns where a file is on the site.

    Args:
        source: Path of the file in the repository, such as "docs/losses.md".

    Returns:
        Its path in the folder of pages, such as "losses.md".
    """
    if source in TOP:
        return TOP[source]
    if source.endswith(".ipynb"):
        return f"notebooks/{Path(source).stem}.md"
    is_kept = source.endswith((".md", *_COPIED))
    if source.startswith("docs/") and is_kept:
        return source.removeprefix("docs/")
    return f"source/{source}" if is_kept else f"source/{source}.md"


def on_the_site(source: str) -> tuple[str, list[str]]:
    """Returns the text of a file as a page of the site.

    Args:
        source: Path of the file in the repository.

    Returns:
        The page, and the files of the repository that it links to.
    """
    text = (ROOT / source).read_text("utf-8")
    if source.endswith(".ipynb"):
        text = _show_notebook(text, source)
    elif not source.endswith(".md"):
        language = _LANGUAGES.get(Path(source).suffix, "text")
        # Four marks, because a docstring may have a block of its own.
        return f"# {source}\n\n````{language}\n{text.rstrip()}\n````\n", []
    linked: list[str] = []

    def replace(found: re.Match[str]) -> str:
        target, mark, anchor = found[2].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / file).is_file():
            raise ValueError(f"{source} links to {target}, which is no file of the repository")
        linked.append(file)
        relative = os.path.relpath(place(file), posixpath.dirname(place(source)) or ".")
        return f"{found[1]}{relative}{mark}{anchor}{found[3]}"

    parts = _CODE.split(text)  # code and text take turns
    parts[::2] = [_LINK.sub(replace, part) for part in parts[::2]]
    return "".join(parts), linked


def _show_notebook(text: str, source: str) -> str:
    first, *others = [
        "".join(cell["source"])
        if cell["cell_type"] == "markdown"
        else f"```python\n{''.join(cell['source'])}\n```"
        for cell in json.loads(text)["cells"]
    ]
    told = f"This page shows the code of the notebook `{source}`, without its results."
    return "\n\n".join((first, told, *others)) + "\n"


def exported(module: str) -> list[str]:
    """Returns the names in the `__all__` of a package or module, without importing it."""
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(file.read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]


def reference() -> Iterator[tuple[str, str]]:
    """Yields the name and the text of each page of the reference."""
    first = [name for name in exported("pdanet_tf") if name not in (*PACKAGES, "__version__")]
    yield "pdanet_tf", _page("pdanet_tf", first)
    for package in PACKAGES:
        names = [name for name in exported(f"pdanet_tf.{package}") if name not in first]
        yield package, _page(f"pdanet_tf.{package}", names)


def _page(module: str, names: list[str]) -> str:
    own = f"::: {module}\n    options:\n      members: []\n      show_root_heading: false\n"
    rest = "\n".join(f"::: {module}.{name}\n" for name in sorted(names, key=str.lower))
    return f"# {module}\n\n{own}\n{rest}"


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
