"""The report's page: one HTML file with style and images inside, which loads nothing. Names are escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure as the page shows it: a PNG with a description in words."""

    title: str
    caption: str
    png_base64: str
    width_px: int


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The first cell of each row names it."""
    foot: Sequence[str] | None = None
    """A last row that summarises the others."""


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading. `folded`: collapsed at first."""

    title: str
    text: str
    images: Sequence[Plot] = ()
    table: Table | None = None
    folded: bool = False
    """Shown only when the reader unfolds it."""


def plot_of(title: str, caption: str, figure: Figure) -> Plot:
    """Drawn at twice the size in pixels, for sharp screens."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    width_px = round(figure.get_figwidth() * 100)
    return Plot(title, caption, base64.b64encode(buffer.getvalue()).decode(), width_px)


def render_page(title: str, subtitle: str, tiles: Sequence[tuple[str, str]], sections: Sequence[Section]) -> str:
    """`tiles` are the numbers on top: (value, name)."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE).render(title=title, subtitle=subtitle, tiles=tiles, sections=sections)


_TEMPLATE = """{% macro table_row(row) %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; max-width: 1060px; margin: 0 auto;
    padding: 32px 24px 64px; }
  h1 { font-size: 28px; margin: 0; overflow-wrap: anywhere; }
  h2 { font-size: 20px; margin: 48px 0 8px; border-bottom: 1px solid #d5d9de; padding-bottom: 4px; }
  h3 { font-size: 16px; margin: 24px 0 4px; }
  p { margin: 4px 0 12px; max-width: 75ch; }
  .quiet { color: #57606a; }
  .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px;
    margin: 24px 0; padding: 0; list-style: none; }
  .tiles li { border: 1px solid #d5d9de; border-radius: 8px; padding: 12px 16px; }
  .tiles strong { display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums; }
  .tiles span { font-size: 14px; color: #57606a; }
  figure { margin: 16px 0 24px; }
  figcaption { font-size: 14px; color: #57606a; max-width: 75ch; }
  img { max-width: 100%; height: auto; }
  img.wide { max-width: none; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
  th, td { padding: 3px 12px; text-align: right; border-bottom: 1px solid #e6e9ec; white-space: nowrap; }
  th:first-child, td:first-child { text-align: left; padding-left: 0; }
  tfoot > tr > * { border-top: 2px solid #57606a; font-weight: bold; }
  summary { cursor: pointer; margin: 8px 0; }
</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<p class="quiet">{{ subtitle }}</p>
</header>
<main>
<ul class="tiles">
{% for value, name in tiles %}
<li><strong>{{ value }}</strong><span>{{ name }}</span></li>
{% endfor %}
</ul>
{% for section in sections %}
<section>
<h2>{{ section.title }}</h2>
<p>{{ section.text }}</p>
{% if section.folded %}<details><summary>Show</summary>{% endif %}
{% if section.table is not none %}
<div class="scroll"><table>
<thead><tr>{% for head in section.table.heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in section.table.rows %}
{{ table_row(row) }}
{% endfor %}
</tbody>
{% if section.table.foot is not none %}
<tfoot>{{ table_row(section.table.foot) }}</tfoot>
{% endif %}
</table></div>
{% endif %}
{% for image in section.images %}
{% if image.title %}<h3>{{ image.title }}</h3>{% endif %}
<figure class="scroll">
<img{% if image.width_px > 1060 %} class="wide"{% endif %} width="{{ image.width_px }}"
 alt="{{ image.title or section.title }}. {{ image.caption }}"
 src="data:image/png;base64,{{ image.png_base64 }}">
{% if image.caption %}<figcaption>{{ image.caption }}</figcaption>{% endif %}
</figure>
{% endfor %}
{% if section.folded %}</details>{% endif %}
</section>
{% endfor %}
</main>
</body>
</html>
"""
