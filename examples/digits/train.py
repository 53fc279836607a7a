"""Train the two models of the demo: a small convolutional network for 8×8 digits.

    python examples/digits/train.py

In: scikit-learn's digits (1797 images of 8×8, values 0 to 16). Out, beside this file:
`digits_float.tflite` and `digits_int8.tflite` (int8 weights per channel, int8 activations).
The network is trained with plain NumPy (Adam, cross-entropy), built as a martlet Graph and
written; the int8 model takes its activation ranges from runs of the float model.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from martlet.dtypes import DType
from martlet.graph import Graph, Model, Quantization, Signature, Tensor
from martlet.ops.operator import Spec
from martlet.runtime.session import Session
from martlet.schema.writer import save

HERE = Path(__file__).parent
LABELS = b"zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n"


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training images, held-out images, training labels, held-out labels).

    Images: float32 of shape (n, 8, 8, 1), 0 to 1. A fifth is held out, always the same.
    """
    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    parts = train_test_split(
        images, digits.target, test_size=0.2, random_state=7, stratify=digits.target
    )
    return tuple(parts)


# The network: conv 3×3 16 → conv 3×3 32 stride 2 → conv 3×3 32 stride 2 → mean → dense 10
STRIDES = (1, 2, 2)
CHANNELS = (1, 16, 32, 32)


def initial_weights(random: np.random.Generator) -> list[np.ndarray]:
    """Filters (3, 3, in, out) and biases in turn, then the dense layer's (in, out) and bias."""
    weights: list[np.ndarray] = []
    for inside, outside in itertools.pairwise(CHANNELS):
        weights += [random.normal(0, np.sqrt(2 / (9 * inside)), (3, 3, inside, outside))]
        weights += [np.zeros(outside)]
    weights += [random.normal(0, np.sqrt(1 / CHANNELS[-1]), (CHANNELS[-1], 10)), np.zeros(10)]
    return [w.astype(np.float32) for w in weights]


def patches(x: np.ndarray, stride: int) -> np.ndarray:
    """3×3 windows, as rows of a matrix: (n, h, w, 9 * c). Padding as TensorFlow's SAME."""
    before = 1 if stride == 1 else 0  # sizes here are even, so stride 2 pads at the end only
    padded = np.pad(x, ((0, 0), (before, 1), (before, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(*windows.shape[:3], -1)


def unpatch(gradient: np.ndarray, shape: tuple[int, ...], stride: int) -> np.ndarray:
    """The transpose of `patches`: sums each window's gradient back onto the image."""
    n, h, w, c = shape
    before = 1 if stride == 1 else 0
    result = np.zeros((n, h + before + 1, w + before + 1, c), np.float32)
    parts = gradient.reshape(*gradient.shape[:3], 3, 3, c)
    rows, columns = parts.shape[1] * stride, parts.shape[2] * stride
    for dy in range(3):
        for dx in range(3):
            result[:, dy : dy + rows : stride, dx : dx + columns : stride] += parts[:, :, :, dy, dx]
    return result[:, before : before + h, before : before + w]


def gradients(
    weights: list[np.ndarray], x: np.ndarray, labels: np.ndarray
) -> tuple[float, list[np.ndarray]]:
    """Mean cross-entropy of a batch, and its derivative by each weight."""
    saved = []
    for layer, stride in enumerate(STRIDES):
        filters, bias = weights[2 * layer], weights[2 * layer + 1]
        columns = patches(x, stride)
        y = np.maximum(columns @ filters.reshape(-1, filters.shape[-1]) + bias, 0)
        saved.append((x.shape, columns, y))
        x = y
    features = x.mean((1, 2))
    logits = features @ weights[-2] + weights[-1]
    logits -= logits.max(1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(-np.log(chances[rows, labels]).mean())

    delta = chances.copy()
    delta[rows, labels] -= 1
    delta /= len(labels)
    result = [features.T @ delta, delta.sum(0)]
    spread = (delta @ weights[-2].T)[:, None, None, :] / (x.shape[1] * x.shape[2])
    upstream = np.broadcast_to(spread, x.shape)
    for layer in reversed(range(len(STRIDES))):
        shape, columns, y = saved[layer]
        filters = weights[2 * layer]
        upstream = upstream * (y > 0)
        flat = upstream.reshape(-1, upstream.shape[-1])
        by_filter = columns.reshape(flat.shape[0], -1).T @ flat
        result = [by_filter.reshape(filters.shape), flat.sum(0), *result]
        into = upstream @ filters.reshape(-1, filters.shape[-1]).T
        upstream = unpatch(into, shape, STRIDES[layer])
    return loss, result


def shifted(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The images, half of the time moved by at most one pixel each way."""
    if random.random() < 0.5:
        return images
    dy, dx = random.integers(0, 3, 2)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return padded[:, dy : dy + 8, dx : dx + 8]


def train(images: np.ndarray, labels: np.ndarray, epochs: int = 50) -> list[np.ndarray]:
    """Adam (Kingma & Ba, arXiv 1412.6980) with shifted copies of the images."""
    random = np.random.default_rng(0)
    weights = initial_weights(random)
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    step = 0
    for epoch in range(epochs):
        order = random.permutation(len(labels))
        total = 0.0
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            loss, slopes = gradients(weights, shifted(images[rows], random), labels[rows])
            total += loss * len(rows)
            step += 1
            rate = 3e-3 * (1 - epoch / epochs)
            for w, g, m, v in zip(weights, slopes, first, second, strict=True):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                unbiased = np.sqrt(v / (1 - 0.999**step)) + 1e-8
                w -= rate * m / (1 - 0.9**step) / unbiased
        print(f"epoch {epoch + 1:2d}: loss {total / len(labels):.4f}")
    return weights


def build(weights: list[np.ndarray]) -> Model:
    """The trained network as a float model; takes images (n, 8, 8, 1) of 0 to 1."""
    graph = Graph("digits")
    x = image = graph.input("image", (-1, 8, 8, 1))
    size = 8
    for layer, stride in enumerate(STRIDES):
        filters, bias = weights[2 * layer], weights[2 * layer + 1]
        kernel = filters.transpose(3, 0, 1, 2).astype(np.float32)
        inputs = [x, graph.constant(kernel, f"conv{layer}/kernel")]
        inputs += [graph.constant(bias.astype(np.float32), f"conv{layer}/bias")]
        options = {
            "padding": "SAME",
            "stride_w": stride,
            "stride_h": stride,
            "fused_activation_function": "RELU",
        }
        size //= stride
        out = Tensor(f"conv{layer}", (1, size, size, kernel.shape[0]))
        x = graph.add("CONV_2D", inputs, options, options_type="Conv2DOptions", outputs=[out])
    axes = graph.constant(np.array([1, 2], np.int32), "mean/axes")
    out = Tensor("mean", (1, CHANNELS[-1]))
    x = graph.add("MEAN", [x, axes], {}, options_type="ReducerOptions", outputs=[out])
    kernel = weights[-2].T.astype(np.float32)
    inputs = [x, graph.constant(kernel, "dense/kernel")]
    inputs += [graph.constant(weights[-1].astype(np.float32), "dense/bias")]
    out = Tensor("logits", (1, 10))
    x = graph.add(
        "FULLY_CONNECTED", inputs, {}, options_type="FullyConnectedOptions", outputs=[out]
    )
    x = graph.add(
        "SOFTMAX", [x], {"beta": 1.0}, options_type="SoftmaxOptions",
        outputs=[Tensor("probabilities", (1, 10))],
    )  # fmt: skip
    graph.output(x)
    for tensor in graph.tensors:
        if not tensor.is_constant:
            tensor.signature = (-1, *tensor.shape[1:])
    signature = Signature("serving_default", {"image": image}, {"probabilities": x})
    return Model([graph], [signature], files={"labels.txt": LABELS}, description="digits")


def quantize(model: Model, samples: np.ndarray) -> Model:
    """The same network in int8: weights per output channel, activations by their range.

    (Jacob et al., arXiv 1712.05877; Krishnamoorthi, arXiv 1806.08342.)
    """
    session = Session(model, keep_all=True)
    graph = model.main
    session.run(session.plan(0, [Spec(DType.FLOAT32, samples.shape)]), [samples])
    assert session.kept is not None
    seen = session.kept[0]
    result = Graph(graph.name, inputs=list(graph.inputs), outputs=list(graph.outputs))
    ranges = {}
    for i, tensor in enumerate(graph.tensors):
        if tensor.dtype is DType.FLOAT32 and not tensor.is_constant:
            low, high = min(float(seen[i].min()), 0.0), max(float(seen[i].max()), 0.0)
            if tensor.name == "probabilities":
                low, high = 0.0, 255 / 256  # softmax answers on a fixed scale
            scale = (high - low) / 255
            ranges[i] = Quantization.of(scale, round(-128 - low / scale))
    mean = next(n for n in graph.nodes if n.op == "MEAN")
    ranges[mean.outputs[0]] = ranges[mean.inputs[0]]
    for i, tensor in enumerate(graph.tensors):
        new = Tensor(tensor.name, tensor.shape, tensor.dtype, signature=tensor.signature)
        if i in ranges:
            new.dtype, new.quantization = DType.INT8, ranges[i]
        elif tensor.dtype is not DType.FLOAT32:
            new.raw = tensor.raw
        result.tensors.append(new)
    for node in graph.nodes:
        result.nodes.append(node)
        if len(node.inputs) < 3:
            continue
        x, w, b = node.inputs
        weights, bias = seen[w], seen[b]
        per_channel = np.abs(weights).reshape(len(weights), -1).max(1) / 127
        scale = per_channel if node.op == "CONV_2D" else np.full(1, per_channel.max())
        shape = (-1,) + (1,) * (weights.ndim - 1)
        stored = np.clip(np.rint(weights / scale.reshape(shape)), -127, 127).astype(np.int8)
        _fill(result, w, stored, DType.INT8, Quantization.of(scale))
        scale = scale * float(ranges[x].scale[0])
        stored = np.rint(bias / scale).astype(np.int32)
        _fill(result, b, stored, DType.INT32, Quantization.of(scale))
    return Model([result], model.signatures, files=model.files, description=model.description)


def _fill(
    graph: Graph, index: int, value: np.ndarray, dtype: DType, quantization: Quantization
) -> None:
    tensor = graph.tensors[index]
    tensor.raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    tensor.dtype, tensor.quantization = dtype, quantization


def main() -> None:
    images, _, labels, _ = load()
    model = build(train(images, labels))
    save(model, HERE / "digits_float.tflite")
    save(quantize(model, images[:500]), HERE / "digits_int8.tflite")


if __name__ == "__main__":
    main()
