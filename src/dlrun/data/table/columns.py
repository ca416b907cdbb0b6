"""A column of a table, and what has been seen in it while the table is read.

Shapes: N rows in all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dlrun.data.table.values.amounts import PLAIN, Form, is_code, number
from dlrun.data.table.values.cells import Floats, Kind
from dlrun.data.table.values.dates import DATE_PARTS

MOST_CATEGORIES = 1000


@dataclass(eq=False)
class Column:
    """One column and what has been seen in it.

    Attributes:
        name: its name.
        kind: what its cells are; None while all of them are missing.
        wanted: whether the user asked for this column by name.
        day_first: whether 3/4/2024 is in April; None until a date tells.
        short_years: whether a date was seen whose year has two digits.
        code: the first of its numbers that is written as codes are, such as 007.
        alike: two different texts of it that are one number, such as 1.1 and 1.10.
        spellings: the texts of some of its numbers.
        form: how its numbers are written, where it is otherwise than in the rest of the file.
        place: its first column in the matrix; -1 for texts and for targets.
        present, odd: how many cells hold a value, and how many hold one of another kind.
        first_odd: line and text of the first of those.
        odd_texts: the different ones, as long as they are not too many for categories.
        infinite: line of the first infinite number; 0 if there is none.
        low, high: smallest and largest number of each of its columns in the matrix.
        whole: whether all numbers are whole.
        offset: see ColumnCode.
        texts: every text and its code; of a target that is true or false, its words for them.
        codes: the code of each row [N], while there are few enough texts.
        numbers: numbers of a target, or of a time or weight [N].
        role: of a column that is neither feature nor target, the key that names it (see ``aside``).
        labels: of a group, a number for the text of each row [N].
    """

    name: str
    kind: Kind | None = None
    wanted: bool = False
    day_first: bool | None = None
    form: Form = PLAIN
    short_years: bool = False
    code: str = ""
    alike: tuple[str, ...] = ()
    spellings: dict[float, str] = field(default_factory=dict)
    place: int = -1
    present: int = 0
    odd: int = 0
    first_odd: tuple[int, str] = (0, "")
    odd_texts: dict[str, None] = field(default_factory=dict)
    infinite: int = 0
    low: Floats = field(default_factory=lambda: np.array([]))
    high: Floats = field(default_factory=lambda: np.array([]))
    whole: bool = True
    offset: float = 0.0
    texts: dict[str, int] = field(default_factory=dict)
    codes: NDArray[np.int32] | None = None
    numbers: Floats | None = None
    role: str = ""
    labels: NDArray[np.int64] | None = None

    @property
    def width(self) -> int:
        """How many columns of the matrix it takes."""
        return {"date": len(DATE_PARTS), "categorical": 0}.get(self.kind or "", 1)

    def afresh(self) -> "Column":
        """The column as it is known now, with nothing seen."""
        known = Column(self.name, self.kind, self.wanted, self.day_first, self.form, role=self.role)
        known.code, known.alike, known.spellings = self.code, self.alike, self.spellings
        return known

    def spelled(self, texts: Sequence[str]) -> None:
        """Note whether numbers look like names: those that are written as codes, or as 1.1 and 1.10."""
        if self.kind != "numeric" or self.form != PLAIN or (self.code and self.alike):
            return
        self.code = self.code or next(filter(is_code, texts), "")
        for text in texts if not self.alike and len(self.spellings) <= MOST_CATEGORIES else ():
            value = number(text.replace(",", "."))
            if value is not None and not value.is_integer():
                other = self.spellings.setdefault(value, text)
                if other != text and other.rstrip("0") == text.rstrip("0") and "e" not in text.lower():
                    self.alike = self.alike or (other, text)
