"""Where the windows of a convolution begin, for a tile of them at once, in the lanes of vectors.

Windows are numbered through the places of a line, the lines of an image, and the images.
"""

from __future__ import annotations

from martlet.kernels.language import F64, I32, I64, Builder, Value


class Places:
    """Where the windows of a tile begin: image, row and column, in the lanes of vectors."""

    def __init__(
        self, k: Builder, rows: int, out_height: Value, out_width: Value, stride_h: Value,
        stride_w: Value, before_h: Value, before_w: Value,
    ) -> None:  # fmt: skip
        self.k = k
        self.lanes = 1 << (rows - 1).bit_length()
        self.out_height, self.out_width = self.spread(out_height), self.spread(out_width)
        self.stride_h, self.stride_w = self.spread(stride_h), self.spread(stride_w)
        self.before_h, self.before_w = self.spread(before_h), self.spread(before_w)
        self.per_row = k.broadcast(1.0 / out_width.to(F64), self.lanes)
        self.per_image = k.broadcast(1.0 / out_height.to(F64), self.lanes)
        # A tile further on: so many images, lines and places, and one more where those overflow.
        lines = k.constant(rows, I64) // out_width
        self.places_on = self.spread(rows - lines * out_width)
        self.lines_on = self.spread(lines % out_height)
        self.images_on = self.spread(lines // out_height)
        self.image, self.line, self.place = (k.variable(k.zeros(I32, self.lanes)) for _ in "nhw")

    def spread(self, value: Value) -> Value:
        return self.k.broadcast(value.to(I32), self.lanes)

    def go_to(self, start: Value, stop: Value) -> None:
        """To the windows from `start` on; the last, stop - 1, stands for those behind it."""
        number = self.spread(start) + self.k.lane_numbers(I32, self.lanes)
        number = self.k.minimum(number, self.spread(stop - 1))
        line = self._quotient(number, self.per_row)
        image = self._quotient(line, self.per_image)
        self.place.value = number - line * self.out_width
        self.line.value = line - image * self.out_height
        self.image.value = image

    def _quotient(self, value: Value, reciprocal: Value) -> Value:
        """value // n, exactly: half of 1 / n is far more than a double's error."""
        return ((value.to(F64) + 0.5) * reciprocal).to(I32)

    def advance(self) -> None:
        """To the windows of the next tile."""
        k, none = self.k, self.k.zeros(I32, self.lanes)
        place = self.place.value + self.places_on
        over = place >= self.out_width
        self.place.value = place - k.select(over, self.out_width, none)
        line = self.line.value + self.lines_on + over.to(I32)
        over = line >= self.out_height
        self.line.value = line - k.select(over, self.out_height, none)
        self.image.value = self.image.value + self.images_on + over.to(I32)

    def now(self) -> tuple[Value, Value, Value]:
        """(image, row, column) of the first elements of the windows."""
        image, line, place = self.numbers()
        return image, line * self.stride_h - self.before_h, place * self.stride_w - self.before_w

    def numbers(self) -> tuple[Value, Value, Value]:
        """(image, line, place) of the windows themselves."""
        return self.image.value, self.line.value, self.place.value
