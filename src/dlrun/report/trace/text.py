"""A trace as text, tables in columns."""

from collections.abc import Iterator, Sequence

from dlrun.report.tables import clean
from dlrun.report.trace.blocks import Block, Table


def as_text(blocks: Sequence[Block]) -> str:
    """All of it, with a blank line between blocks."""
    return "\n".join(line for block in blocks for line in _block(block)).lstrip("\n") + "\n"


def _block(block: Block) -> Iterator[str]:
    title = clean(block.title)
    yield from ("", title, "=" * len(title))
    yield from map(clean, block.lines)
    for table in block.tables:
        yield from ("", f"{clean(table.caption)}:")
        yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    lines = [[clean(cell) for cell in line] for line in (table.head, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *others = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield "  ".join((f"  {first}", *others)).rstrip()
