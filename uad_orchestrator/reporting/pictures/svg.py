"""matplotlib figures as SVG that may stand inside a page: with ids, colours and font that fit it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stand-ins that the drawing uses; the page's colours (CSS variables) take their place in the SVG.
INK, SOFT, GRID = "#010101", "#020202", "#030303"
PRIMARY, SECONDARY, NEUTRAL = "#040404", "#050505", "#060606"
_COLOURS = {
    INK: "var(--ink, #1a1f2b)",
    SOFT: "var(--soft, #5d6675)",
    GRID: "var(--line, #d9dee6)",
    PRIMARY: "var(--series-1, #0072b2)",
    SECONDARY: "var(--series-2, #d55e00)",
    NEUTRAL: "var(--series-3, #5d6675)",
}
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"


def inline_svg(figure: Figure, name: str, alt_text: str) -> str:
    """An ``<svg>`` element to stand in an HTML page, beside others.

    Args:
        figure: the drawing, in the colours of this module.
        name: unique on the page; ids are made from it, so the same figure gives the same text.
        alt_text: what a screen reader reads in its place.
    """
    import matplotlib

    drawn = io.BytesIO()
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": name, "path.simplify_threshold": 0.3}
    ):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    svg = ElementTree.fromstring(drawn.getvalue())
    _drop_page_wide_parts(svg)
    _prefix_ids(svg, re.sub(r"[^A-Za-z0-9]+", "-", name))
    _use_page_font(svg)
    _shorten_numbers(svg)
    for size in ("width", "height"):
        svg.attrib.pop(size, None)
    svg.attrib.update({"role": "img", "aria-label": alt_text})
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    text = re.sub(r">\s+<", "><", ElementTree.tostring(svg, encoding="unicode"))
    for stand_in, colour in _COLOURS.items():
        text = text.replace(stand_in, colour)
    return text


def _drop_page_wide_parts(svg: ElementTree.Element) -> None:
    """Metadata, and the style sheet that would reach beyond the figure."""
    for parent in list(svg.iter()):
        for child in list(parent):
            holds_style = child.tag == f"{{{_SVG}}}defs" and child.find(f"{{{_SVG}}}style") is not None
            if holds_style or child.tag == f"{{{_SVG}}}metadata":
                parent.remove(child)


def _prefix_ids(svg: ElementTree.Element, prefix: str) -> None:
    """Ids that are referred to get the figure's prefix; the others go."""
    links = re.compile(r"#([\w-]+)")
    used = {
        match
        for element in svg.iter()
        for key, value in element.attrib.items()
        if key == _XLINK or "url(" in value
        for match in links.findall(value)
    }
    for element in svg.iter():
        own = element.attrib.pop("id", None)
        if own in used:
            element.set("id", f"{prefix}-{own}")
        for key, value in element.attrib.items():
            if key == _XLINK or "url(" in value:
                element.set(key, links.sub(rf"#{prefix}-\1", value))


def _use_page_font(svg: ElementTree.Element) -> None:
    """The page's font, at the figure's sizes."""
    for element in svg.iter(f"{{{_SVG}}}text"):
        style = element.get("style", "")
        element.set("style", re.sub(r"font: ?([\d.]+px)[^;]*", r"font-size: \1; font-family: inherit", style))


def _shorten_numbers(svg: ElementTree.Element) -> None:
    """Coordinates to a hundredth of a pixel; finer ones only make the page heavy."""
    for element in svg.iter():
        for key in ("d", "x", "y", "width", "height", "transform"):
            if key in element.attrib:
                short = re.sub(r"(\.\d\d)\d+", r"\1", element.attrib[key])
                element.set(key, re.sub(r"\s+", " ", short).strip())
