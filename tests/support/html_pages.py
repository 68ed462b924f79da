"""HTML pages, for tests."""

import base64
import html.parser
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image


class Tags(html.parser.HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps a tag and its attributes."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keeps text."""
        self.text += data


def images(page: Tags) -> Iterator[np.ndarray]:
    """The images of a page, decoded."""
    for tag, attributes in page.tags:
        if tag == "img":
            start, data = str(attributes["src"]).split(",")
            assert start == "data:image/jpeg;base64"
            yield np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
