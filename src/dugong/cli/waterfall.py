"""A waterfall diagram of exchanges as SVG: the phases of each, with and without pipelining.

Both halves of the picture have the same scale, so their lengths can be compared. The picture has
its own background, and colours for light and dark mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10
from xml.etree import ElementTree as ET

from .measure import PHASES, Exchange, address_of
from .output import printable

# Sizes in the units of the picture.
_WIDTH = 960
_MARGIN = 24
_LABELS = 210  # the left end of the bars
_BARS = 640  # the length of the longest bar
_ROW, _BAR = 20, 12
_HEADING = 66  # above the rows of each half
_TITLE = 92  # above the first half

#: Characters of a label that fit in front of the bars.
_MAX_LABEL = 27

#: The colours of the phases in light and in dark mode.
_COLOURS = {
    "resolving": ("#2f9e6e", "#3fbf88"),
    "connecting": ("#e0832a", "#f0a050"),
    "TLS": ("#7b57c8", "#a48be8"),
    "sending": ("#c2308a", "#ec6fb8"),
    "waiting": ("#b4bcc6", "#5c6773"),
    "transfer": ("#2a72d4", "#62a0f2"),
}

_STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2630; }
text.title { font-size: 17px; font-weight: 600; }
text.heading { font-size: 14px; font-weight: 600; }
text.tick, text.duration { font-size: 11px; fill: #5a6572; }
text.label { text-anchor: end; }
text.tick { text-anchor: middle; }
.background { fill: #ffffff; }
.grid { stroke: #e3e7ec; stroke-width: 1; }
"""

_DARK_STYLE = """
text { fill: #e8ecf1; }
text.tick, text.duration { fill: #a5b0bd; }
.background { fill: #14181d; }
.grid { stroke: #2c343d; }
"""


def waterfall(one_by_one: Sequence[Exchange], pipelined: Sequence[Exchange]) -> bytes:
    """Draw exchanges with one server.

    Args:
        one_by_one: at least one exchange, made one after another.
        pipelined: the same exchanges in a pipeline; empty if there is only one.
    """
    halves = [("One after the other", one_by_one)]
    if pipelined:
        halves.append(("Pipelined", pipelined))
    longest = max(map(_whole, (half for _, half in halves))) or 1e-9
    height = _TITLE + sum(_HEADING + _ROW * len(half) for _, half in halves) + _MARGIN
    svg = ET.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {height}",
        width=str(_WIDTH), height=str(height), role="img",
    )  # fmt: skip
    server = printable(address_of(one_by_one[0].document).removesuffix(_target(one_by_one[0])))
    title = f"{_count(len(one_by_one), 'URL')} from {server}"
    words = saving(_whole(one_by_one), _whole(pipelined)) if pipelined else ""
    ET.SubElement(svg, "title").text = title
    ET.SubElement(svg, "desc").text = words
    ET.SubElement(svg, "style").text = _style()
    ET.SubElement(svg, "rect", {"class": "background"}, width="100%", height="100%")
    _text(svg, "title", _MARGIN, 36, title)
    _text(svg, "saving", _MARGIN, 60, words)
    _legend(svg, [*one_by_one, *pipelined])
    y = _TITLE
    for name, half in halves:
        _half(svg, y, f"{name}: {_time(_whole(half))}", half, longest)
        y += _HEADING + _ROW * len(half)
    data: bytes = ET.tostring(svg, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def saving(before: float, after: float) -> str:
    """Return a sentence about the time that pipelining has saved.

    Args:
        before: seconds without it.
        after: seconds with it.
    """
    if not 0 < after < before:
        return f"Pipelining has saved nothing: {_time(after)} instead of {_time(before)}."
    return (
        f"Pipelining has saved {_time(before - after)} of {_time(before)}, "
        f"{100 * (before - after) / before:.0f} %: it was {before / after:.1f} times as fast."
    )


def _style() -> str:
    rules = ["", ""]
    for phase in PHASES:
        for number, colour in enumerate(_COLOURS[phase]):
            rules[number] += f".{phase.lower()} {{ fill: {colour}; }}\n"
    dark = f"{_DARK_STYLE}{rules[1]}"
    return f"{_STYLE}{rules[0]}@media (prefers-color-scheme: dark) {{{dark}}}\n"


def _half(
    svg: ET.Element, y: float, heading: str, exchanges: Sequence[Exchange], longest: float
) -> None:
    """Draw one half of the picture, from *y* downwards."""
    group = ET.SubElement(svg, "g", {"class": "half"})
    _text(group, "heading", _MARGIN, y + 28, heading)
    top, bottom = y + _HEADING - 8, y + _HEADING + _ROW * len(exchanges) - 4
    for at in _ticks(longest):
        x = _number(_LABELS + _BARS * at / longest)
        ET.SubElement(group, "line", {"class": "grid"}, x1=x, x2=x, y1=str(top), y2=str(bottom))
        _text(group, "tick", float(x), top - 6, _time(at, exact=False))
    begin = exchanges[0].start
    for number, exchange in enumerate(exchanges):
        _row(group, y + _HEADING + number * _ROW, exchange, begin, _BARS / longest)


def _row(group: ET.Element, y: float, exchange: Exchange, begin: float, scale: float) -> None:
    row = ET.SubElement(group, "g", {"class": "row"})
    took = [f"{name} {_time(b - a)}" for name, (a, b) in exchange.phases().items()]
    ET.SubElement(row, "title").text = f"{printable(_target(exchange))}: {', '.join(took)}"
    _text(row, "label", _LABELS - 10, y + _BAR - 2, _shortened(printable(_target(exchange))))
    for phase, (start, end) in exchange.phases().items():
        left, right = (_LABELS + scale * (at - begin) for at in (start, end))
        ET.SubElement(
            row, "rect", {"class": phase.lower()},
            x=_number(left), y=str(y), width=_number(right - left), height=str(_BAR),
        )  # fmt: skip
    x = _LABELS + scale * (exchange.end - begin) + 6
    _text(row, "duration", x, y + _BAR - 2, _time(exchange.duration))


def _legend(svg: ET.Element, exchanges: Sequence[Exchange]) -> None:
    """Draw a legend of the phases that occur."""
    present = {phase for exchange in exchanges for phase in exchange.phases()}
    x = _MARGIN
    for phase in PHASES:
        if phase in present:
            ET.SubElement(
                svg, "rect", {"class": phase.lower()},
                x=str(x), y="76", width=str(_BAR), height=str(_BAR),
            )  # fmt: skip
            _text(svg, "legend", x + _BAR + 6, 86, phase)
            x += _BAR + 6 + 7 * len(phase) + 24


def _text(parent: ET.Element, kind: str, x: float, y: float, text: str) -> None:
    if text:
        element = ET.SubElement(parent, "text", {"class": kind}, x=_number(x), y=_number(y))
        element.text = text


def _whole(exchanges: Sequence[Exchange]) -> float:
    return exchanges[-1].end - exchanges[0].start


def _target(exchange: Exchange) -> str:
    return exchange.document.target


def _shortened(label: str) -> str:
    """Return *label*, shortened in the middle if it is too long. Its ends are more distinctive."""
    if len(label) <= _MAX_LABEL:
        return label
    left = _MAX_LABEL // 3
    return f"{label[:left]}…{label[left + 1 - _MAX_LABEL :]}"


def _ticks(longest: float) -> list[float]:
    """Return four to ten round times, beginning with 0."""
    step: float = 10 ** floor(log10(longest))
    for part in (1, 0.5, 0.2):
        if longest / (part * step) >= 4:
            step *= part
            break
    return [number * step for number in range(floor(longest / step * (1 + 1e-9)) + 1)]


def _time(seconds: float, exact: bool = True) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s" if exact else f"{seconds:g} s"
    milliseconds = 1000 * seconds
    if not exact:
        return f"{milliseconds:.6g} ms"
    return f"{milliseconds:.{1 if milliseconds >= 10 else 2}f} ms"


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
