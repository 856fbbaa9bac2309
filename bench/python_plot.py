"""The plot of what `python_primitives.py` has measured, as SVG: the look of the core's plots, which `bench/src/report/plot.rs` draws.

A line for each row that has a peer, and in it one for each interpreter: a point for the median of the ratios, a bar from
quartile to quartile. The scale is logarithmic, so that twice and half are equally far from 1.
"""

import dataclasses
import math
from html import escape

WIDTH = 860
#: Where the scale begins and ends, left to right.
LEFT, RIGHT = 290, WIDTH - 40
TOP = 52
#: Between two interpreters, and between two rows.
STEP, GAP = 9, 8
COLOURS = ("#1f77b4", "#9467bd", "#17becf", "#8c564b")


@dataclasses.dataclass
class Mark:
    """What one interpreter came to in one row."""

    interpreter: int
    lower: float
    median: float
    upper: float
    missed: bool


@dataclasses.dataclass
class Line:
    """One row."""

    name: str
    #: The largest ratio that is good enough.
    goal: float | None
    marks: list[Mark]


class Scale:
    """From the least to the most, in steps of a factor of two, 1 included."""

    def __init__(self, lines: list[Line]) -> None:
        ratios = [r for line in lines for mark in line.marks for r in (mark.lower, mark.upper)]
        ratios += [line.goal for line in lines if line.goal] + [1.0]
        self.low = math.floor(min(math.log2(ratio) for ratio in ratios))
        self.high = math.ceil(max(math.log2(ratio) for ratio in ratios) + 0.01)

    def x(self, ratio: float) -> float:
        part = (math.log2(ratio) - self.low) / (self.high - self.low)
        return LEFT + part * (RIGHT - LEFT)

    def draw(self, bottom: float) -> list[str]:
        parts = []
        for power in range(self.low, self.high + 1):
            x, colour = self.x(2.0**power), "#888" if power == 0 else "#ddd"
            label = f"1/{2**-power}" if power < 0 else f"{2**power}"
            parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{colour}"/>')
            parts.append(
                f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{label}</text>'
            )
        return parts


def draw_line(scale: Scale, line: Line, top: float, height: float) -> list[str]:
    middle = top + height / 2
    parts = [f'<text x="{LEFT - 12}" y="{middle + 4}" text-anchor="end">{escape(line.name)}</text>']
    if line.goal:
        parts.append(
            f'<path d="M{scale.x(line.goal):.1f} {top}V{top + height}" stroke="#2ca02c" stroke-width="2"/>'
        )
    for mark in line.marks:
        y = top + STEP * (mark.interpreter + 0.5)
        lower, median, upper = (scale.x(r) for r in (mark.lower, mark.median, mark.upper))
        colour = "#c0392b" if mark.missed else COLOURS[mark.interpreter % len(COLOURS)]
        parts.append(
            f'<path d="M{lower:.1f} {y}H{upper:.1f}" stroke="{colour}" stroke-width="4" stroke-opacity=".6"/>'
        )
        parts.append(f'<circle cx="{median:.1f}" cy="{y}" r="3" fill="{colour}"/>')
    return parts


def plot(interpreters: list[str], lines: list[Line]) -> str:
    """The whole drawing."""
    scale = Scale(lines)
    height = STEP * len(interpreters)
    bottom = TOP + (height + GAP) * len(lines)
    whole = bottom + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole}" width="{WIDTH}" '
        f'height="{whole}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{whole}" fill="white"/>',
        f'<text x="{LEFT}" y="16" fill="#555">quell over the standard library; less is better</text>',
    ]
    for number, name in enumerate(interpreters):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<text x="{LEFT + 120 * number}" y="36" fill="{colour}">CPython {name}</text>'
        )
    parts += scale.draw(bottom)
    for number, line in enumerate(lines):
        parts += draw_line(scale, line, TOP + GAP / 2 + (height + GAP) * number, height)
    parts.append(
        f'<text x="{LEFT}" y="{whole - 4}" fill="#555" font-size="10">point: median; bar: quartiles; '
        "green: the goal; red: beyond it; in each row the interpreters from the top, in their order</text>"
    )
    return "\n".join([*parts, "</svg>", ""])
