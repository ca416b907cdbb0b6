"""Which cells of delimited text stood in quotation marks: R writes texts in quotes and a missing one as a bare NA.

"male","Oslo"        a column of texts in quotes, in which a bare NA is a missing value and "NA" a label
NA,"Bergen"
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from dlrun.data.table.values.cells import Texts, merged

BARE = ("NA", "NULL", "null", "NaN", "nan")  # words that mean a missing value where they stand bare among quoted texts
MARK = "\ue000"  # a character without a meaning, put in front of a cell that stood in quotes


def marked(text: str, separator: str, quote: str) -> str | None:
    """Rows as text with ``MARK`` in front of each quoted cell; None where no bare word stands beside quoted cells."""
    if quote not in text or MARK in text:
        return None
    edges = (separator, "\n", " ")
    if not text.startswith(BARE) and not any(f"{edge}{word}" in text for word in BARE for edge in edges):
        return None
    return _quoted(separator, quote).sub(rf"\1{quote}{MARK}\2{quote}", text)


@cache
def _quoted(separator: str, quote: str) -> re.Pattern[str]:
    edge = re.escape(separator)
    return re.compile(rf"(\A *|[{edge}\r\n] *){quote}((?:[^{quote}]|{quote}{quote})*){quote}(?= *(?:[{edge}\r\n]|\Z))")


def settled(texts: Sequence[str]) -> list[str]:
    """The different texts of one column without marks; a bare word among quoted texts is the empty text of a missing value."""
    bare = {text.strip() for text in texts if not text.startswith(MARK)} - {""}
    missing = bare <= set(BARE) and len(bare) < len([text for text in texts if text.strip()])
    return [text.removeprefix(MARK) if text.startswith(MARK) or not missing else "" for text in texts]


def column_texts(column: Any) -> Texts:
    """The cells of one column [n] of texts, which may have marks."""
    import pandas

    codes, distinct = pandas.factorize(column)
    texts = distinct.tolist()
    return merged(codes, settled(texts) if any(text.startswith(MARK) for text in texts) else texts)
