"""HTML pages of one file, with their images inside, that need no network and run no script."""

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from pdanet_tf.files import write_atomically

_EDGE = 176  # long edge of a thumbnail in pixels
_LARGE_EDGE = 240
_QUALITY = 82
_STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --page: #fff; --line: #767676;
  --fatal: #a40000; --warning: #8a5a00; --note: #444; --share-color: 40 110 230; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --page: #15171a; --line: #8c8c8c;
  --fatal: #ff8a80; --warning: #f0b860; --note: #bbb; --share-color: 70 130 255; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em;
  color: var(--text); background: var(--page); }
a { color: inherit; } table { border-collapse: collapse; }
th, td { padding: .15em .8em .15em 0; text-align: left; font-weight: normal; }
thead th, th[scope=col] { font-weight: bold; vertical-align: bottom; }
caption { text-align: left; padding-bottom: .4em; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.bar { height: .8em; min-width: 1px; } .swatch { display: inline-block; width: .9em; height: .9em;
  border: 1px solid var(--line); vertical-align: -.1em; }
figure { display: inline-block; margin: 0 .8em .8em 0; vertical-align: top; width: 11.2em; }
figure.large { width: 15.6em; }
figcaption { font-size: 12px; overflow-wrap: anywhere; } .fatal { color: var(--fatal); }
.warning { color: var(--warning); } .note { color: var(--note); } img { max-width: 100%; }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 2px solid var(--line); }
.scroll th[scope=row] { white-space: nowrap; } .scroll caption { max-width: calc(100vw - 2em); }
td.share { text-align: right; padding: .1em .35em; font-variant-numeric: tabular-nums;
  background: rgb(var(--share-color) / calc(.6 * var(--share, 0))); }
th.vertical { writing-mode: vertical-rl; padding: .3em .1em; }
"""


def write_html(path: Path, title: str, parts: Iterable[str]) -> None:
    """Writes a page, whole or not at all. It follows the reader's choice of light or dark colours.

    Args:
        path: The HTML file. One that exists is replaced.
        title: Title of the page, and its first heading.
        parts: What follows the heading, as HTML.

    Raises:
        OSError: If the file cannot be written.
    """
    lines = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">",
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(title)}</h1>",
        *parts,
    ]
    write_atomically(path, "\n".join(lines) + "\n")


def figure(image: Image.Image, caption: str, alternative: str = "", large: bool = False) -> str:
    """Returns a thumbnail with a caption, as HTML.

    Args:
        image: The image, which is reduced in place.
        caption: Text below it.
        alternative: What a screen reader says instead of the image, if the caption does not say it.
        large: Whether the thumbnail has 240 pixels instead of 176.
    """
    edge = _LARGE_EDGE if large else _EDGE
    image.thumbnail((edge, edge))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    alt = html.escape(alternative, quote=True)
    source = f'<img alt="{alt}" src="data:image/jpeg;base64,{data}">'
    tag = '<figure class="large">' if large else "<figure>"
    return f"{tag}{source}<figcaption>{html.escape(caption)}</figcaption></figure>"


def swatch(color: tuple[int, int, int]) -> str:
    """Returns a small square of an RGB colour (0 to 255), as HTML."""
    return f'<span class="swatch" style="background: {css_color(color)}"></span>'


def css_color(color: tuple[int, int, int]) -> str:
    """Returns an RGB colour (0 to 255) in the notation of CSS."""
    return "#{:02x}{:02x}{:02x}".format(*color)
