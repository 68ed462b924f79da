"""Checks the links of the documentation site, and that it loads nothing from elsewhere.

    python -m docs.links build/docs/site

Every link to a page, a file or a heading of the site must lead somewhere. Scripts, styles, fonts
and images must be files of the site, so that it can be read without a network. Links to other sites
are not followed.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads without being asked.
_LOADED = {
    ("script", "src"),
    ("img", "src"),
    ("link", "href"),
    ("iframe", "src"),
    ("source", "src"),
}
_FOREIGN = re.compile(r"url\(\s*['\"]?(https?:)?//|@import\s+['\"](https?:)?//")


class _Page(HTMLParser):
    """The anchors and the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors = {""}
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes the anchors and links of a tag."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif (tag, name) in _LOADED and value:
                canonical = tag == "link" and ("rel", "canonical") in attrs
                (self.links if canonical else self.loaded).append(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def find_faults(folder: Path) -> list[str]:
    """Returns what is wrong with the links of a site.

    Args:
        folder: Folder of the site.

    Returns:
        A sentence for each fault.
    """
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        pages[path.resolve()] = page = _Page()
        page.feed(path.read_text("utf-8"))
    faults = [f"There is no page in {folder}"] if not pages else []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    faults.append(f"{name} loads {link} from elsewhere")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            absolute = name.name == "404.html" and parts.path
            if absolute or not target.is_relative_to(folder.resolve()):
                # A server may show the page 404 anywhere, so its links are absolute.
                target = folder.resolve() / unquote(parts.path).lstrip("/")
            if not target.is_file():
                faults.append(f"{name} links to {link}, which is no file of the site")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(f"{name} links to {link}, but {target.name} has no such heading")
    for path in folder.rglob("*.css"):
        if _FOREIGN.search(path.read_text("utf-8")):
            faults.append(f"{path.relative_to(folder)} loads a style or font from elsewhere")
    return faults


def main(folder: Path) -> int:
    """Prints the faults of a site, and its size; returns 1 if there are faults."""
    faults = find_faults(folder)
    for fault in faults:
        print(fault, file=sys.stderr)
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    count = sum(path.suffix == ".html" for path in files)
    print(f"{count} pages, {size:.1f} MB, {len(faults)} faulty links")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
