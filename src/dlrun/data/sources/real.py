"""Real data that scikit-learn ships, read from its files: importing scikit-learn would take two seconds.

Values are those of ``sklearn.datasets.load_*``, bit for bit. Shapes: N rows, D features.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlrun.data.dataset import Data
from dlrun.data.table.positive import with_positive
from dlrun.errors import DataError

_DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
_IRIS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
_WINE = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)
_CELL = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
_BREAST_CANCER = tuple(name.format(part) for name in ("mean {}", "{} error", "worst {}") for part in _CELL)


def diabetes(*, scaled: bool = True) -> Data:
    """442 patients, 10 features, disease progression after a year. Efron et al. 2004, Least Angle Regression.

    Args:
        scaled: features centred, with a sum of squares of 1 over all rows, as scikit-learn gives them by default;
            the raw measurements otherwise.
    """
    x = _table("diabetes_data_raw.csv.gz", delimiter=" ")
    if scaled:
        x = (x - x.mean(0)) / x.std(0) / len(x) ** 0.5
    y = _table("diabetes_target.csv.gz", delimiter=" ")
    return Data("diabetes", x, y, "regression", 1, _DIABETES, ("progression",))


def iris() -> Data:
    """150 flowers, 4 measurements, 3 species. Fisher 1936."""
    return _classes("iris", "iris.csv", _IRIS, "species", ("setosa", "versicolor", "virginica"))


def wine() -> Data:
    """178 wines, 13 chemical measurements, 3 growers. Forina et al. 1988, PARVUS."""
    return _classes("wine", "wine_data.csv", _WINE, "grower", ("class_0", "class_1", "class_2"))


def breast_cancer(*, positive: str | None = None) -> Data:
    """569 tumours, 30 measurements of cell nuclei, malignant (0) or benign (1). Street, Wolberg & Mangasarian 1993.

    Args:
        positive: the class that is number 1 instead of benign, as in ``with_positive``.
    """
    found = _classes("breast_cancer", "breast_cancer.csv", _BREAST_CANCER, "diagnosis", ("malignant", "benign"))
    return with_positive(found, positive)


def digits() -> Data:
    """1797 handwritten digits as images [N, 1, 8, 8] of values 0 to 16. Alpaydin & Kaynak 1998, UCI; its test part."""
    table = _table("digits.csv.gz")
    x = table[:, :-1].reshape(-1, 1, 8, 8)
    y = table[:, -1].astype(np.int64)
    return Data("digits", x, y, "multiclass", 10, ("ink",), ("digit",), tuple("0123456789"))


def _classes(name: str, file: str, features: tuple[str, ...], target: str, classes: tuple[str, ...]) -> Data:
    table = _table(file, header=1)
    x = table[:, :-1].copy()
    label = table[:, -1].copy()
    if len(classes) == 2:
        return Data(name, x, label[:, None], "binary", 1, features, (target,), classes)
    return Data(name, x, label.astype(np.int64), "multiclass", len(classes), features, (target,), classes)


def _table(file: str, *, delimiter: str = ",", header: int = 0) -> NDArray[np.float64]:
    """One of scikit-learn's files as float64 [N, columns]."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("this dataset comes with scikit-learn, which is not installed; run: pip install scikit-learn")
    path = Path(package.origin).parent / "datasets" / "data" / file
    try:
        return np.loadtxt(path, delimiter=delimiter, skiprows=header, ndmin=2)
    except OSError as error:
        raise DataError(f"cannot read {path}, which comes with scikit-learn ({error}); reinstall scikit-learn") from error
