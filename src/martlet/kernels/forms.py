"""The forms that kernels have, as data: plans choose among them, and the kernels are made of them.

Nothing here knows of code, so a process that plans does not load what writes it.
"""

from __future__ import annotations

from martlet.records import NamedTuple

LINE = 16  # float32 in a cache line
LINE_PAIR = 128  # bytes: processors fetch two lines at a time
OUTER = 3
"""Indices that choose a row, in kernels that take strides (`rows.py`)."""
BAND = 16  # rows that a unit of a transposition takes

# Matrix products: `gemm.py`, and those inside `stem.py`, `strassen.py`, `winograd.py`


class Tile(NamedTuple):
    """Sums in registers: rows times vectors, or columns in a tile of dot products.

    fewer: rows of the tiles for what is left over, rows - 1 down to 1.
    """

    rows: int
    vectors: int
    fewer: tuple[int, ...]
    dots: bool = False

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.vectors}{'_dot' * self.dots}"

    @property
    def shorter(self) -> int:
        """One row less, where there are such tiles, and rows are independent; else 0.

        Dot products of convolutions add up differently with other rows beside theirs.
        """
        return 0 if self.dots or self.rows - 1 not in self.fewer else self.rows - 1

    def width(self, lanes: int) -> int:
        """Columns of a panel."""
        return self.vectors * (1 if self.dots else lanes)


_DOTS = (
    Tile(8, 1, (7, 4, 2, 1), dots=True), Tile(4, 2, (3, 2, 1), dots=True),
    Tile(2, 4, (1,), dots=True),
)  # fmt: skip
# By the float32 in a vector of the target. `rows * vectors + vectors + 1` registers are needed.
TILES = {
    4: (
        Tile(8, 2, (7, 4, 2, 1)), Tile(6, 3, (5, 4, 2, 1)), Tile(12, 1, (11, 8, 4, 2, 1)),
        Tile(1, 8, ()), *_DOTS,
    ),
    8: (
        Tile(6, 2, (5, 4, 2, 1)), Tile(4, 3, (3, 2, 1)), Tile(12, 1, (11, 8, 4, 2, 1)),
        Tile(1, 8, ()), *_DOTS,
    ),
    16: (
        Tile(14, 2, (13, 10, 7, 4, 2, 1)), Tile(8, 3, (7, 4, 2, 1)), Tile(6, 4, (5, 4, 2, 1)),
        Tile(14, 1, (13, 10, 7, 4, 2, 1)), Tile(1, 8, ()), *_DOTS,
    ),
}  # fmt: skip

MAX_RUNS = 256
"""How many runs a window may have; their addresses lie on the stack."""

_TILES = {4: "8x2", 8: "6x2", 16: "14x2"}


def tile_of(lanes: int) -> Tile:
    """The tile of products inside other kernels, by the float32 in a vector."""
    return next(tile for tile in TILES[lanes] if tile.name == _TILES[lanes])


# Strassen: `strassen.py`

PRODUCTS = 7


def strassen_slot(lanes: int, block: int, half: int) -> int:
    """The size of a slot in float32: S1 to S4, X, V and zeros."""
    row = (half + LINE - 1) // LINE * LINE + LINE
    return 4 * block * row + (2 * block + 1) * tile_of(lanes).width(lanes)


# Winograd: `winograd.py`

PLACE = 4  # 64-bit words about a tile


class Transform(NamedTuple):
    """F(outputs, taps) along one axis; F(1, 1) leaves it as it is."""

    outputs: int
    taps: int

    @property
    def size(self) -> int:
        """Inputs under a tile, and multiplications."""
        return self.outputs + self.taps - 1


class Form(NamedTuple):
    """Transforms along the two axes of an image; where only one has any, it is the second."""

    down: Transform
    across: Transform

    @property
    def name(self) -> str:
        down, across = self
        return f"{down.outputs}x{across.outputs}_{down.taps}x{across.taps}"

    @property
    def positions(self) -> int:
        return self.down.size * self.across.size


NONE = Transform(1, 1)
FORMS = (
    Form(Transform(2, 3), Transform(4, 3)),
    Form(Transform(4, 3), Transform(4, 3)),
    Form(Transform(4, 3), Transform(6, 3)),
    Form(Transform(4, 5), Transform(4, 5)),
    Form(NONE, Transform(4, 3)),
    Form(NONE, Transform(4, 7)),
)


def winograd_slot(form: Form, lanes: int, block: int, channels: int) -> int:
    """The size of a slot in float32, for blocks of so many tiles."""
    row = -(-channels // lanes) * lanes
    v, m = (form.positions * apart(block * n) for n in (row, tile_of(lanes).width(lanes)))
    return -(-2 * PLACE * block // LINE) * LINE + v + m


def apart(size: int) -> int:
    """From one position to the next: whole lines, and one more, lest all meet in one cache set."""
    return -(-size // LINE) * LINE + LINE


# Windows: `windows.py`, `depthwise.py`, `pooling.py`, `stem.py`


class Square(NamedTuple):
    """Windows of taps x taps, without dilation, of which `tile` neighbours are reduced at once.

    rows: the same neighbours of so many output rows, 1 or 2, where there are two.
    """

    taps: int
    stride: int
    tile: int
    rows: int = 1

    @property
    def name(self) -> str:
        rows = f"{self.rows}x" if self.rows > 1 else ""
        return f"{self.taps}x{self.taps}s{self.stride}_{rows}{self.tile}"

    @property
    def reach(self) -> int:
        """Columns of the image under a tile."""
        return self.stride * (self.tile - 1) + self.taps


DEPTHWISE_SQUARES = (
    Square(3, 1, 4, rows=2), Square(3, 1, 7), Square(3, 2, 7), Square(5, 1, 7), Square(5, 2, 7),
    Square(3, 1, 4), Square(3, 2, 4), Square(5, 1, 4), Square(5, 2, 4),
)  # fmt: skip
"""Windows with kernels of their own; the first that fits is taken. Sizes of images in networks
are often multiples of 7, and no other tile of one row is faster where they are not."""
POOLING_SQUARES = Square(2, 2, 7), Square(3, 1, 7), Square(3, 2, 7)

CHANNELS = 3


class Stem(NamedTuple):
    """Windows of taps x taps, without dilation."""

    taps: int
    stride: int

    @property
    def name(self) -> str:
        return f"{self.taps}x{self.taps}s{self.stride}"


STEMS = (Stem(3, 1), Stem(3, 2), Stem(7, 2))

# Reductions: `reductions.py`

SHORT = {"float": "f32", "u8": "u8", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64"}
"""Element types as the names of kernels have them."""
REDUCED = {
    "sum": ("float", "i32", "i64"), "mean": ("i32", "i64"), "prod": ("float", "i32", "i64"),
    "max": ("float", "u8", "i8", "i16", "i32", "i64"),
    "min": ("float", "u8", "i8", "i16", "i32", "i64"),
    "any": ("i8",), "all": ("i8",),
}  # fmt: skip
"""Element types of each. Float means are quotients of sums, `any` and `all` are of bytes 0 or 1."""

# Elementwise: `elementwise.py`

COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
INTEGER_UNARIES = {("abs", "i32"), ("neg", "i32"), ("neg", "i64"), ("sign", "i32")}
"""Names and element types."""
INTEGER_BINARIES = ("add", "sub", "mul", "maximum", "minimum")
"""Of int32 and int64."""

# Products of few rows: `few_rows.py`

FEW_ROWS_VECTORS = 8  # of columns at a time: independent sums hide the latency of multiply-add
