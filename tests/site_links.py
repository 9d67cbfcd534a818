"""What the pages of a site ask for: its own files, addresses to click, and (never) files of other hosts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes by which a page loads something without being asked; an <a> only offers an address.
_LOADING = {"src", "srcset", "poster", "data", "action"}
_IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\"')\s]+)")


@dataclass
class Links:
    """Found in a site.

    Attributes:
        broken: "page: link" of what leads to no file or no place of it.
        loaded: "page: address" of what a page would load from another host.
        external: Addresses of other hosts that a reader may click.
    """

    broken: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    external: set[str] = field(default_factory=set)


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.clicked, self.loads = set(), [], []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif name == "href" and value and tag == "a":
                self.clicked.append(value)
            elif value and (name in _LOADING or (name == "href" and tag == "link")):
                self.loads.append(value)
            elif name == "style" and value:
                self.loads += _IN_STYLES.findall(value)


def read(site: Path) -> Links:
    """Read every page and style sheet of a folder."""
    pages, site = {}, site.resolve()
    for path in sorted(site.rglob("*.html")):
        if "_static" in path.relative_to(site).parts:
            continue  # templates that a theme leaves there; nobody reads them
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    links = Links()
    for path, page in pages.items():
        here = path.relative_to(site).as_posix()
        for value in page.clicked + page.loads:
            parts = urlsplit(value)
            if parts.scheme in ("http", "https") or parts.netloc:
                if value in page.loads:
                    links.loaded.append(f"{here}: {value}")
                else:
                    links.external.add(value)
            elif parts.scheme in ("", "file") and not _leads_somewhere(path, parts, pages):
                links.broken.append(f"{here}: {value}")
    for path in sorted(site.rglob("*.css")):
        found = _IN_STYLES.findall(path.read_text(encoding="utf-8"))
        links.loaded += [f"{path.relative_to(site).as_posix()}: {address}" for address in found]
    return links


def _leads_somewhere(page: Path, parts, pages) -> bool:
    if parts.path.startswith("/"):
        return False
    target = Path(os.path.normpath(page.parent / unquote(parts.path))) if parts.path else page
    if target not in pages:
        return target.is_file()
    # "#/3" is a slide's number, not a place of the page.
    return parts.fragment[:1] in ("", "/") or unquote(parts.fragment) in pages[target].ids


# JavaScript: WCAG 2's contrast of an element's words to the ground that is painted behind them.
CONTRAST = """element => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  let behind = element, ground;
  do { ground = numbers(getComputedStyle(behind).backgroundColor); behind = behind.parentElement }
  while (behind && ground.length === 4 && ground[3] === 0);
  const pair = [light(numbers(getComputedStyle(element).color)), light(ground)].sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05) }"""
