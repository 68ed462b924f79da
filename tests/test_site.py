"""The documentation site; `make docs` builds it with warnings as errors, and checks its links."""

import ast
import re
from pathlib import Path

import pytest

import pdanet_tf
from docs import figures, links, pages

ROOT = Path(__file__).parents[1]
MENU = (ROOT / "docs" / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    pages.write_pages(folder)
    return folder


def test_the_menu_lists_every_page(written):
    listed = re.findall(r"- (?:[^:\n]*: )?(\S+\.md)$", MENU, re.MULTILINE)
    found = {path.relative_to(written).as_posix() for path in written.rglob("*.md")}
    assert sorted(listed) == sorted(name for name in found if not name.startswith("source/"))


def test_links_between_pages_stay_links(written):
    home = (written / "index.md").read_text("utf-8")
    assert "](training.md)" in home
    assert "](contributing.md#add-a-head)" in home
    training = (written / "training.md").read_text("utf-8")
    assert "](index.md#data)" in training
    assert "](source/examples/fine_tune.py.md)" in training
    example = (ROOT / "examples" / "fine_tune.py").read_text("utf-8")
    assert example.strip() in (written / "source/examples/fine_tune.py.md").read_text("utf-8")


def test_html_files_stay_as_they_are(written):
    report = "results/camvid/shipped_model.html"
    assert f"](source/{report})" in (written / "evaluation.md").read_text("utf-8")
    assert (written / "source" / report).read_bytes() == (ROOT / report).read_bytes()
    card = "source/pdanet_tf/weights/trained/camvid/README_reliability.svg"
    assert (written / card).is_file()


def test_headings_and_tables_end_where_they_seem_to(written):
    """Without an empty line between them, MkDocs takes a heading for the last row of a table."""
    pages_of_prose = (path for path in written.rglob("*.md") if "source" not in path.parts)
    for page in pages_of_prose:
        text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text("utf-8"))
        joined = re.findall(r"(?m)^(?:\|.*\n[^|\n].*|[^\n]+\n#{1,6} .*)$", text)
        assert not joined, f"{page.name}: {joined[:3]}"


def test_a_link_to_nothing_is_refused(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("See [this](gone.md), not `[that](other.md)`.")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"docs/page\.md links to gone\.md"):
        pages.on_the_site("docs/page.md")


def test_the_reference_has_every_public_name(written):
    text = "".join(path.read_text("utf-8") for path in (written / "reference").iterdir())
    documented = set(re.findall(r"^::: pdanet_tf\.(\S+)", text, re.MULTILINE))
    assert {*pdanet_tf.__all__} - {"__version__"} <= documented
    assert {
        "layers.PositionAttention",
        "losses.SegmentationCrossEntropy",
        "metrics.MeanIoU",
    } <= documented
    packages = (ROOT / "pdanet_tf").glob("*/__init__.py")
    listing = {path.parent.name for path in packages if "__all__" in path.read_text("utf-8")}
    assert listing <= {*pages.PACKAGES}
    for name in pages.PACKAGES:  # read from the files, so it is compared with what Python finds
        module = getattr(pdanet_tf, name)
        for exported in pages.exported(f"pdanet_tf.{name}"):
            assert hasattr(module, exported), exported


def test_faults_of_a_site_are_found(tmp_path):
    (tmp_path / "index.html").write_text(
        '<h1 id="top">A</h1><a href="#top">1</a><a href="#gone">2</a><a href="b.html">3</a>'
        '<a href="c.html">4</a><a href="https://example.com">5</a>'
        '<script src="https://example.com/x.js"></script>'
    )
    (tmp_path / "b.html").write_text("<p>")
    (tmp_path / "b.css").write_text("a { background: url(https://example.com/y.png) }")
    assert links.find_faults(tmp_path) == [
        "index.html links to #gone, but index.html has no such heading",
        "index.html links to c.html, which is no file of the site",
        "index.html loads https://example.com/x.js from elsewhere",
        "b.css loads a style or font from elsewhere",
    ]


def test_the_figures_are_those_of_the_program(tmp_path):
    figures.draw_figures(tmp_path)
    drawn = sorted(tmp_path.iterdir())
    stored = sorted((ROOT / "docs" / "figures").iterdir())
    assert [path.name for path in drawn] == [path.name for path in stored]
    for new, old in zip(drawn, stored, strict=True):
        assert old.stat().st_size < 40_000
        words = [re.findall(r"<text[^>]*>(.*?)</text>", p.read_text("utf-8")) for p in (new, old)]
        assert words[0] == words[1], old.name
        assert words[0], old.name


def test_the_reference_is_read_without_tensorflow():
    for name in ("pages.py", "links.py"):
        tree = ast.parse((ROOT / "docs" / name).read_text("utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not any((module or "").startswith(("pdanet_tf", "keras")) for module in imported)
