"""Random networks, and their answers on kernels beside those of NumPy."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from martlet.dtypes import DType
from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Spec
from martlet.runtime.session import Session

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


class Network:
    """A graph of images (1, height, width, channels), grown by draws."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.random = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
        self.graph = Graph()
        size = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
        self.values: list[int] = []
        for _ in range(data.draw(st.integers(1, 2))):
            shape = (1, *size, data.draw(st.integers(1, 20)))
            self.values.append(self.graph.input("x", shape))

    def draw(self, *choices: object) -> object:
        return self.data.draw(st.sampled_from(choices))

    def any(self) -> int:
        """A value; recent ones are likelier."""
        back = self.data.draw(st.integers(0, min(3, len(self.values) - 1)))
        return self.values[-1 - back]

    def shape(self, x: int) -> tuple[int, ...]:
        return self.graph.tensors[x].shape

    def constant(self, *shape: int) -> int:
        # Sums stay as large as what they are of; else an activation hides how large they were.
        values = self.random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        return self.graph.constant(values.astype(np.float32))

    def add(self, op: str, inputs: list[int], shape: tuple[int, ...], **options: object) -> int:
        y = self.graph.add(op, inputs, options, outputs=[Tensor(op.lower(), shape)])
        self.values.append(y)
        return y

    def like(self, x: int) -> int:
        """Another value of that shape, made if need be."""
        known = [v for v in self.values if self.shape(v) == self.shape(x)]
        return self.data.draw(st.sampled_from(known))

    # Layers -------------------------------------------------------------------------------

    def grow(self) -> None:
        layers = (
            self.conv, self.conv, self.depthwise, self.pool, self.unary, self.binary, self.norm,
            self.concatenate, self.split, self.pad, self.reshape, self.slice, self.transpose,
            self.softmax, self.block, self.product, self.attention,
        )  # fmt: skip
        self.data.draw(st.sampled_from(layers))()

    def window(self, x: int, taps: int) -> dict[str, object]:
        padding = "SAME" if min(self.shape(x)[1:3]) < taps else self.draw("SAME", "VALID")
        stride = int(str(self.draw(1, 1, 2)))
        return {"padding": padding, "stride_h": stride, "stride_w": stride}

    def places(self, x: int, taps: int, window: dict[str, object]) -> tuple[int, int]:
        less = 0 if window["padding"] == "SAME" else taps - 1
        stride = int(str(window["stride_h"]))
        height, width = (-(-(n - less) // stride) for n in self.shape(x)[1:3])
        return height, width

    def conv(self, x: int | None = None) -> int:
        x = self.any() if x is None else x
        taps, depth = int(str(self.draw(1, 1, 3, 5))), self.shape(x)[3]
        groups = 2 if depth % 2 == 0 and self.draw(*[False] * 4, True) else 1
        channels = groups * self.data.draw(st.integers(1, 12))
        window = self.window(x, taps)
        weights = self.constant(channels, taps, taps, depth // groups)
        return self.add(
            "CONV_2D", [x, weights, self.constant(channels)],
            (1, *self.places(x, taps, window), channels),
            fused_activation_function=self.draw(*ACTIVATIONS), **window,
        )  # fmt: skip

    def depthwise(self) -> None:
        x = self.any()
        taps, depth = int(str(self.draw(1, 3, 3, 5))), self.shape(x)[3]
        window = self.window(x, taps)
        self.add(
            "DEPTHWISE_CONV_2D",
            [x, self.constant(1, taps, taps, depth), self.constant(depth)],
            (1, *self.places(x, taps, window), depth),
            depth_multiplier=1, fused_activation_function=self.draw(*ACTIVATIONS), **window,
        )  # fmt: skip

    def pool(self) -> None:
        x, taps = self.any(), int(str(self.draw(1, 2, 3)))
        window = self.window(x, taps)
        self.add(
            str(self.draw("MAX_POOL_2D", "AVERAGE_POOL_2D")), [x],
            (1, *self.places(x, taps, window), self.shape(x)[3]),
            filter_height=taps, filter_width=taps, **window,
        )  # fmt: skip

    def unary(self, x: int | None = None) -> int:
        x = self.any() if x is None else x
        op = str(self.draw("RELU", "RELU6", "NEG", "ABS", "LOGISTIC", "HARD_SWISH"))
        return self.add(op, [x], self.shape(x))

    def binary(self) -> None:
        x = self.any()
        y = self.like(x)
        op, activation = (
            str(self.draw("ADD", "ADD", "MUL", "SUB", "MAXIMUM")),
            self.draw(*ACTIVATIONS),
        )
        options = {} if op == "MAXIMUM" else {"fused_activation_function": activation}
        self.add(op, [x, y], self.shape(x), **options)

    def norm(self) -> None:
        x = self.any()
        depth = self.shape(x)[3]
        y = self.add("MUL", [x, self.constant(depth)], self.shape(x))
        self.add(
            "ADD", [y, self.constant(depth)], self.shape(x),
            fused_activation_function=self.draw(*ACTIVATIONS),
        )  # fmt: skip

    def block(self) -> None:
        """A residual, maybe on a convolution that reads a pad."""
        x = self.any()
        depth = self.shape(x)[3]
        y = self.conv(x)
        taps = 3 if min(self.shape(y)[1:3]) >= 3 else 1
        z = self.add(
            "CONV_2D",
            [y, self.constant(depth, taps, taps, self.shape(y)[3]), self.constant(depth)],
            (*self.shape(y)[:3], depth), padding="SAME", stride_h=1, stride_w=1,
        )  # fmt: skip
        if self.shape(z) == self.shape(x):
            self.add(
                "ADD", [z, x] if self.draw(True, False) else [x, z], self.shape(x),
                fused_activation_function=self.draw(*ACTIVATIONS),
            )  # fmt: skip

    def product(self) -> None:
        """A product with a matrix, or with one for each line; neighbours may join it."""
        x = self.any()
        _, height, width, depth = self.shape(x)
        columns = self.data.draw(st.sampled_from([depth, *range(1, 13)]))
        batch = self.data.draw(st.sampled_from([(), (height,), (1, 1)]))
        y = self.constant(*batch, depth, columns)
        self.neighbours(self.add("BATCH_MATMUL", [x, y], (1, height, width, columns)))

    def attention(self) -> None:
        """Every line of an image as a sequence."""
        x = self.any()
        y = self.like(x)
        _, height, width, depth = self.shape(x)
        scores = (1, height, width, width)
        z = self.add("BATCH_MATMUL", [x, y], scores, adj_y=True)
        z = self.add("MUL", [z, self.graph.constant(np.array(1 / depth, np.float32))], scores)
        z = self.add("SOFTMAX", [z], scores, beta=1.0)
        self.neighbours(self.add("BATCH_MATMUL", [z, self.like(x)], self.shape(x)))

    def neighbours(self, x: int) -> None:
        """What a product may do besides."""
        others = [self.constant(self.shape(x)[-1]), self.constant(1), self.like(x)]
        y = self.data.draw(st.sampled_from(others))
        if self.draw(True, True, False):
            x = self.add(
                "ADD", [x, y] if self.draw(True, False) else [y, x], self.shape(x),
                fused_activation_function=self.draw(*ACTIVATIONS),
            )  # fmt: skip
        if self.draw(True, False):
            self.add(str(self.draw("RELU", "RELU6")), [x], self.shape(x))

    def concatenate(self) -> None:
        x = self.any()
        axis = self.data.draw(st.integers(1, 3))
        rest = [n for i, n in enumerate(self.shape(x)) if i != axis]
        fitting = [
            v for v in self.values if [n for i, n in enumerate(self.shape(v)) if i != axis] == rest
        ]
        parts = self.data.draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=4))
        shape = list(self.shape(x))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        self.add(
            "CONCATENATION", parts, tuple(shape), axis=axis if self.draw(True, False) else axis - 4
        )

    def split(self) -> None:
        x = self.any()
        axis = self.data.draw(st.integers(1, 3))
        count = next(n for n in (3, 2, 1) if self.shape(x)[axis] % n == 0)
        shape = list(self.shape(x))
        shape[axis] //= count
        outputs = [Tensor("split", tuple(shape)) for _ in range(count)]
        dimension = self.graph.constant(np.array(axis, np.int32))
        first = self.graph.add("SPLIT", [dimension, x], {"num_splits": count}, outputs=outputs)
        self.values += range(first, first + count)

    def pad(self) -> None:
        x = self.any()
        edges = np.zeros((4, 2), np.int32)
        edges[1:3] = self.random.integers(0, 3, (2, 2))
        shape = tuple(int(n + sum(e)) for n, e in zip(self.shape(x), edges, strict=True))
        self.add("PAD", [x, self.graph.constant(edges)], shape)

    def reshape(self) -> None:
        x = self.any()
        _, height, width, depth = self.shape(x)
        shape = self.data.draw(st.permutations([1, height * width, depth]))
        target = (1, *shape) if self.draw(True, False) else (1, height, width, depth)
        self.add("RESHAPE", [x, self.graph.constant(np.array(target, np.int32))], target)

    def slice(self) -> None:
        x = self.any()
        begin = [int(self.random.integers(0, n)) for n in self.shape(x)]
        size = [
            int(self.random.integers(1, n - b + 1))
            for n, b in zip(self.shape(x), begin, strict=True)
        ]
        constants = [self.graph.constant(np.array(v, np.int32)) for v in (begin, size)]
        self.add("SLICE", [x, *constants], tuple(size))

    def transpose(self) -> None:
        x = self.any()
        order = [0, *self.data.draw(st.permutations([1, 2, 3]))]
        shape = tuple(self.shape(x)[i] for i in order)
        self.add("TRANSPOSE", [x, self.graph.constant(np.array(order, np.int32))], shape)

    def softmax(self) -> None:
        x = self.any()
        self.add("SOFTMAX", [x], self.shape(x), beta=1.0)


def draw_model(data: st.DataObject, most: int = 12) -> tuple[Model, list[np.ndarray]]:
    """A network of up to so many layers, and its inputs."""
    network = Network(data)
    for _ in range(data.draw(st.integers(1, most))):
        network.grow()
    graph = network.graph
    computed = [v for v in network.values if v not in graph.inputs]
    outputs = {computed[-1], *data.draw(st.lists(st.sampled_from(computed), max_size=2))}
    graph.output(*sorted(outputs))
    shapes = [graph.tensors[i].shape for i in graph.inputs]
    inputs = [network.random.normal(size=shape).astype(np.float32) for shape in shapes]
    return Model([graph], source="m"), inputs


def specs_of(inputs: list[np.ndarray]) -> list[Spec]:
    return [Spec(DType.FLOAT32, x.shape) for x in inputs]


def compare(data: st.DataObject) -> None:
    """Draw a network and run it on one and on two threads, and in debug mode."""
    model, inputs = draw_model(data)
    specs = specs_of(inputs)
    plain = Session(model, reference=True)
    expected = plain.run(plain.plan(0, specs), inputs)
    answers = []
    for threads, debug in ((1, False), (2, False), (1, True)):
        session = Session(model, threads=threads)
        session._debug = debug
        plan = session.plan(0, specs)
        session.run(plan, [x * 0.5 for x in inputs])  # what it leaves must not matter
        answers.append([a.copy() for a in session.run(plan, inputs)])
    for found in answers:
        for a, b, c in zip(found, expected, answers[0], strict=True):
            scale = max(float(np.abs(b).max(initial=0)), 1.0)
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * scale)
            np.testing.assert_array_equal(a, c)
