"""A comparison as files: every figure as CSV, what a person reads as Markdown, and both as JSON and LaTeX."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from dlrun.comparison.effects import as_rows
from dlrun.report.columns import DETAIL, Column, columns, legend
from dlrun.report.sections import Section, over_datasets
from dlrun.report.tables import Cell, Table, clean, full_table, markdown_text, to_csv, to_markdown
from dlrun.results.record import to_json


def shown(part: Section) -> list[Column]:
    """The columns of a section that are written for a person."""
    return [item for item in columns(part.compared, part.metric, part.metrics) if item.rank < DETAIL]


def as_csv(sections: Sequence[Section]) -> str:
    """All sections and figures below one header."""
    names, rows = _figures(sections)
    return to_csv(Table(names, tuple(tuple(cells.get(name) for name in names) for cells in rows)))


def as_markdown(sections: Sequence[Section]) -> str:
    """A table for each section."""
    texts = []
    for part in sections:
        items = shown(part)
        lines = "".join(f"\n{markdown_text(line)}\n" for line in (*legend(part.compared, items), *part.notes))
        table = to_markdown([(item.name, item.cells, item.right) for item in items])
        texts.append(f"## {markdown_text(f'{part.title}: {part.metric}')}\n\n{table}{lines}")
    if ranks := over_datasets(sections):
        texts.append("## Over datasets\n\n" + "\n".join(f"{markdown_text(line)}\n" for line in ranks))
    return "\n".join(texts)


def as_json(sections: Sequence[Section]) -> str:
    """What ``contents`` gives, as text."""
    return json.dumps(contents(sections), indent=1, ensure_ascii=False) + "\n"


def contents(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """The sections: dataset, settings, metric, notes, and for each group every figure; None where there is none."""
    found = []
    for part in sections:
        _, rows = _figures([part])
        about = {"dataset": part.dataset, "settings": dict(part.settings), "metric": part.metric}
        heads = {"dataset", *part.settings}
        groups = [
            {
                "factors": dict(item.group.factors),
                "baseline": item.group.is_baseline,
                "reference": item.reference is not None,
                **{name: value for name, value in row.items() if name not in heads and name not in item.group.factors},
            }
            for item, row in zip(part.compared, rows, strict=True)
        ]
        notes = [*legend(part.compared, shown(part)), *part.notes]
        matters = [] if part.effects is None else as_rows(part.effects)
        found.append({**about, "groups": groups, "effects": matters, "notes": notes})
    written: list[dict[str, Any]] = json.loads(to_json(found))
    return written


def as_latex(sections: Sequence[Section]) -> str:
    """A tabular of booktabs for each section, the metric's best mean in bold; ``\\usepackage{booktabs}``."""
    texts = []
    for part in sections:
        items = shown(part)
        head = " & ".join(_latex(item.name) for item in items)
        lines = [
            f"% {clean(part.title)}: {clean(part.metric)}",
            rf"\begin{{tabular}}{{{''.join('r' if item.right else 'l' for item in items)}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
        ]
        for place, compared in enumerate(part.compared):
            best = compared.reference == "best"
            cells = [_latex(item.cells[place]) for item in items]
            cells = [rf"\textbf{{{cell}}}" if best and item.strong else cell for cell, item in zip(cells, items, strict=True)]
            lines.append(rf"{' & '.join(cells)} \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [f"% {clean(line)}" for line in (*legend(part.compared, items), *part.notes)]
        texts.append("\n".join(lines) + "\n")
    return "\n".join(texts)


def as_html(sections: Sequence[Section]) -> str:
    """A table for each section, to be put into a page; nothing in it is a script or a style."""
    texts = []
    for part in sections:
        items = shown(part)
        sides = ["right" if item.right else "left" for item in items]
        head = "".join(f'<th align="{side}">{escape(item.name)}</th>' for item, side in zip(items, sides, strict=True))
        rows = [
            "".join(f'<td align="{side}">{escape(cell)}</td>' for cell, side in zip(cells, sides, strict=True))
            for cells in zip(*(item.cells for item in items), strict=True)
        ]
        title = escape(clean(f"{part.title}: {part.metric}"))
        head = f"<table>\n<caption>{title}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        body = "".join(f"<tr>{row}</tr>\n" for row in rows)
        lines = "".join(f"<p>{escape(clean(line))}</p>\n" for line in (*legend(part.compared, items), *part.notes))
        texts.append(f"{head}{body}</tbody>\n</table>\n{lines}")
    return "\n".join(texts)


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def _latex(text: str) -> str:
    """A text on one line that LaTeX shows as it is."""
    return "".join(_LATEX.get(character, character) for character in clean(text))


def _figures(sections: Sequence[Section]) -> tuple[tuple[str, ...], list[dict[str, Cell]]]:
    """The names of all columns, and a mapping for each row of each section."""
    tables = [full_table(part.compared, part.metric, part.metrics) for part in sections]
    heads = dict.fromkeys(("dataset", *(key for part in sections for key in part.settings)))
    names = tuple(dict.fromkeys((*heads, *(column for table in tables for column in table.columns))))
    rows: list[dict[str, Cell]] = []
    for part, table in zip(sections, tables, strict=True):
        about: dict[str, Any] = {"dataset": part.dataset, **part.settings}
        rows += [about | dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return names, rows
