"""The figures as a drawing (SVG): one panel a work, one bar a system and level, on a logarithmic scale."""

import math
from dataclasses import dataclass
from html import escape

from .table import RATE, rows
from .works import START

COLOURS = {"in process": "#1f6f8b", "broker": "#3aa6b9", "NATS JetStream": "#8f8f8f", "Redis Streams": "#d08c60"}
COLOURS |= {"Headwater": "#3aa6b9", "Apache Kafka": "#8f8f8f", "librdkafka's mock": "#d08c60"}
INK, FAINT, PAPER, FLOOR = "#222222", "#dddddd", "#ffffff", "#c0392b"
PANEL, COLUMNS, MARGIN = 460, 2, 24
LABEL, VALUE = 150, 70
BAR, GAP, HEAD, FOOT = 15, 5, 34, 22
MEMORY = (("start_ms", "start to the first answer, ms"), ("idle_mb", "memory idle, MB"))
MEMORY += (("after_mb", "memory after 500,000 records, MB"), ("connection_kb", "memory of an idle connection, kB"))


@dataclass(frozen=True)
class Bar:
    system: str
    level: str
    value: float
    mark: float | None = None
    floor: float | None = None


def draw(medians, title):
    """The whole drawing, as text."""
    return drawing((*works(medians), *processor(medians), *memory(medians)), title)


def drawing(panels, title):
    """Panels, each a name and its bars, under a title; what has no bars is left out."""
    panels = [panel for panel in panels if panel[1]]
    columns = [[] for _ in range(COLUMNS)]
    heights = [HEAD + MARGIN] * COLUMNS
    for name, bars in panels:
        column = heights.index(min(heights))
        x = MARGIN + column * (PANEL + MARGIN)
        columns[column].append(panel(name, bars, x, heights[column]))
        heights[column] += height_of(bars)
    width = MARGIN + COLUMNS * (PANEL + MARGIN)
    height = max(heights) + MARGIN
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">']
    parts.append(f'<rect width="{width}" height="{height}" fill="{PAPER}"/>')
    parts.append(text(MARGIN, MARGIN + 8, title, size=14, weight="bold"))
    parts += [part for column in columns for part in column]
    return "\n".join([*parts, "</svg>"]) + "\n"


def works(medians):
    """A panel for each work: every system at both levels, each with its floor as a line."""
    drawn = {}
    for row in rows(medians):
        is_rate = row["figure"] == RATE
        name = f"{row['work']}: {'records a second' if is_rate else 'us, p50 (mark: p99)'}"
        found = row["medians"]
        mark = None if is_rate else found["p99_us"]
        bar = Bar(row["system"], row["level"], found[row["figure"]], mark, row["floor"])
        drawn.setdefault(name, []).append(bar)
    return list(drawn.items())


def processor(medians):
    bars = [
        Bar(row["system"], f"{row['level']}, {row['work'].split(',')[0]}", row["medians"].get("cpu_us"))
        for row in rows(medians)
        if row["work"] in ("in, 100 B", "out, 100 B")
    ]
    yield "CPU, us a record of 100 B, client and server", [bar for bar in bars if bar.value]


def memory(medians):
    for figure, name in MEMORY:
        suffix = f", os: {START}"
        found = [(key.removesuffix(suffix), each.get(figure)) for key, each in medians.items() if key.endswith(suffix)]
        yield name, [Bar(system, "", value) for system, value in found if value]


def height_of(bars):
    return HEAD + len(bars) * (BAR + GAP) + FOOT


def panel(name, bars, x, y):
    """One panel with its top left corner there."""
    numbers = [number for bar in bars for number in (bar.value, bar.mark, bar.floor) if number]
    low = 10 ** math.floor(math.log10(min(numbers)) - 0.01)
    high = 10 ** math.ceil(math.log10(max(numbers)) + 0.01)
    room = PANEL - LABEL - VALUE
    scale = lambda number: x + LABEL + room * math.log(number / low) / math.log(high / low)
    parts = [text(x, y + 14, name, size=12, weight="bold")]
    top, bottom = y + HEAD - 8, y + HEAD + len(bars) * (BAR + GAP)
    power = low
    while power <= high * 1.01:
        parts.append(vertical(scale(power), top, bottom, FAINT))
        parts.append(text(scale(power), bottom + 12, short(power), size=9, anchor="middle"))
        power *= 10
    for number, bar in enumerate(bars):
        parts += drawn_bar(bar, x, y + HEAD + number * (BAR + GAP), scale)
    if any(bar.floor for bar in bars):
        parts.append(text(x + PANEL - VALUE, y + 14, "red: the floor", size=9, colour=FLOOR, anchor="end"))
    return "\n".join(parts)


def drawn_bar(bar, x, y, scale):
    """One bar, its label, its mark and its floor."""
    begin, colour, middle = x + LABEL, COLOURS.get(bar.system, INK), y + BAR / 2
    label = f"{bar.system}, {bar.level}" if bar.level else bar.system
    yield text(begin - 6, y + 11, label, size=10, anchor="end")
    opacity = 0.55 if bar.level.startswith(("disk", "synced")) else 1
    size = f'width="{max(1.0, scale(bar.value) - begin):.1f}" height="{BAR}"'
    yield f'<rect x="{begin:.1f}" y="{y}" {size} fill="{colour}" fill-opacity="{opacity}"/>'
    if bar.mark:
        yield f'<path d="M{scale(bar.value):.1f} {middle}H{scale(bar.mark):.1f}" stroke="{colour}"/>'
        yield vertical(scale(bar.mark), y + 2, y + BAR - 2, colour, 2)
    if bar.floor:
        yield vertical(scale(bar.floor), y - GAP / 2, y + BAR + GAP / 2, FLOOR, 1.5)
    yield text(scale(max(bar.value, bar.mark or 0)) + 5, y + 11, short(bar.value), size=10)


def short(number):
    for least, unit in ((1e6, "M"), (1e3, "k")):
        if number >= least:
            return f"{number / least:.3g} {unit}"
    return f"{number:.3g}"


def vertical(x, top, bottom, colour, width=1):
    return f'<path d="M{x:.1f} {top}V{bottom}" stroke="{colour}" stroke-width="{width}"/>'


def text(x, y, words, size, weight="normal", anchor="start", colour=INK):
    return (
        f'<text x="{x:.1f}" y="{y}" font-family="sans-serif" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
    )
