"""Convolutions as networks have them, each a model of its own."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Call
from martlet.plan.planner import declared_specs
from martlet.runtime.session import Session


class Layer(NamedTuple):
    """A convolution of an image (size x size), SAME."""

    taps: tuple[int, int]
    size: int
    depth: int
    channels: int
    stride: int = 1

    def __str__(self) -> str:
        stride = f" / {self.stride}" if self.stride > 1 else ""
        taps = "x".join(map(str, self.taps))
        return f"{taps}{stride}, {self.size}x{self.size}, {self.depth}→{self.channels}"

    @property
    def places(self) -> int:
        """Of the output."""
        return (-(-self.size // self.stride)) ** 2


@cache
def model_of(layer: Layer) -> Model:
    """A model of it alone, with random weights."""
    places = -(-layer.size // layer.stride)
    return convolution(
        (1, layer.size, layer.size, layer.depth),
        (layer.channels, *layer.taps, layer.depth),
        (1, places, places, layer.channels),
        {"padding": "SAME", "stride_h": layer.stride, "stride_w": layer.stride},
    )


@cache
def call_of(layer: Layer) -> Call:
    """Its node, with shapes and weights."""
    model = model_of(layer)
    (step,) = Session(model).plan(0, declared_specs(model.main)).steps
    return step.call


def convolution(
    image: tuple[int, ...], filters: tuple[int, ...], result: tuple[int, ...],
    options: dict[str, Any],
) -> Model:  # fmt: skip
    """A convolution with filters (channels, height, width, depth) of random numbers."""
    random, graph = np.random.default_rng(0), Graph()
    x = graph.input("x", image)
    weights = graph.constant(random.standard_normal(filters, np.float32))
    bias = graph.constant(np.zeros(filters[0], np.float32))
    y = graph.add(
        "CONV_2D", [x, weights, bias], options, options_type="Conv2DOptions",
        outputs=[Tensor("y", result)],
    )  # fmt: skip
    graph.output(y)
    return Model([graph], source="layer")


LAYERS = (
    *(Layer((1, 1), *sizes) for sizes in (
        (112, 16, 96), (112, 32, 64), (73, 64, 80), (56, 24, 144), (56, 64, 64), (56, 64, 128),
        (56, 64, 256), (56, 144, 24), (56, 256, 64), (35, 192, 64), (35, 288, 48), (28, 32, 192),
        (28, 128, 256), (28, 128, 512), (28, 192, 32), (28, 256, 256), (28, 320, 128),
        (28, 512, 128), (17, 768, 128), (17, 768, 192), (14, 64, 384), (14, 96, 576),
        (14, 256, 1024), (14, 384, 64), (14, 512, 512), (14, 640, 128), (14, 1024, 256),
        (13, 64, 256), (13, 384, 48), (13, 512, 1000), (8, 1280, 320), (8, 2048, 448),
        (7, 160, 960), (7, 320, 1280), (7, 512, 1024), (7, 512, 2048), (7, 800, 128),
        (7, 960, 160), (7, 1024, 1024), (7, 2048, 512), (1, 1024, 1000),
    )),
    *(Layer((3, 3), *sizes) for sizes in (
        (149, 32, 32), (147, 32, 64), (73, 80, 192), (56, 64, 64), (56, 128, 32), (55, 16, 64),
        (35, 64, 96), (35, 96, 96), (28, 128, 32), (28, 128, 128), (27, 32, 128), (14, 128, 32),
        (14, 256, 256), (13, 48, 192), (13, 64, 256), (8, 448, 384), (7, 128, 32), (7, 512, 512),
    )),
    *(Layer(taps, *sizes) for taps, sizes in (
        ((5, 5), (35, 48, 64)), ((1, 7), (17, 128, 128)), ((1, 7), (17, 192, 192)),
        ((7, 1), (17, 160, 192)), ((1, 3), (8, 384, 384)), ((3, 1), (8, 384, 384)),
    )),
    *(Layer(taps, *sizes, 2) for taps, sizes in (
        ((1, 1), (56, 256, 512)), ((1, 1), (28, 512, 1024)), ((1, 1), (14, 1024, 2048)),
        ((3, 3), (224, 3, 32)), ((3, 3), (56, 128, 128)), ((3, 3), (35, 288, 384)),
        ((3, 3), (17, 192, 320)), ((7, 7), (224, 3, 64)),
    )),
)  # fmt: skip
