"""The demo: real inputs classified by small models, with accuracy, pictures and latency.

    make demo

1. The held-out fifth of scikit-learn's digits, by the float and the int8 network that
   `examples/digits/train.py` made: accuracy, latency, and a picture grid.
2. Speed: MobileNet v1 in float32 (with random weights, which cost the same) on machine code, on the
   NumPy semantics, and on LiteRT if it is installed.
3. Where the model corpus is beside the repository: a cat and a cup by an ImageNet MobileNet,
   and the person on scikit-image's astronaut by an SSD, drawn on the picture.

Pictures go to `build/demo/`.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent / "digits"))
from train import load

import martlet
from martlet.graph import Graph, Model, Tensor
from martlet.metadata import read_metadata
from martlet.schema.file import File
from martlet.schema.reader import read
from martlet.schema.writer import write

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "demo"
MODELS = ROOT.parent / "shared" / "corpus" / "models"
MOBILENET = "7aad0c74_mobilenet_v2_1.0_224_quant.tflite"
SSD = "61d59809_coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
console = Console(highlight=False)


def main() -> None:
    """Run all parts."""
    OUT.mkdir(parents=True, exist_ok=True)
    digits()
    speed()
    if MODELS.is_dir():
        photographs()
        person()
    else:
        console.print("[dim]The model corpus is not here; photographs are left out.[/]")


def digits() -> None:
    """Accuracy and latency on images that training never saw."""
    _, images, _, labels = load()
    table = Table(title=f"digits: {len(images)} held-out images", title_justify="left", box=None)
    for heading in ("model", "size", "accuracy", "median latency", "fastest"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    answers = np.zeros(len(images), np.int64)
    for name in ("digits_float", "digits_int8"):
        path = ROOT / "examples" / "digits" / f"{name}.tflite"
        answers, seconds = classify(path, images)
        table.add_row(
            name,
            f"{path.stat().st_size / 1024:.0f} KiB",
            f"{np.mean(answers == labels):.2%}",
            f"{statistics.median(seconds) * 1e6:.0f} µs",
            f"{min(seconds) * 1e6:.0f} µs",
        )
    console.print(table)
    grid(images, labels, answers).save(OUT / "digits.png")
    console.print(f"picture: {(OUT / 'digits.png').relative_to(ROOT)}\n")


def classify(path: Path, images: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """(the likeliest class of each image, seconds each took), one image at a time."""
    interpreter = martlet.Interpreter(str(path))
    interpreter.allocate_tensors()
    into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    answers, seconds = [], []
    for image in track(images, description=path.stem, console=console, transient=True):
        interpreter.set_tensor(into["index"], stored(image[None], into))
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
        answers.append(int(interpreter.get_tensor(out["index"]).argmax()))
    return np.array(answers), seconds


def stored(real: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """Real values as the input holds them: as they are, or quantised."""
    dtype = np.dtype(detail["dtype"])
    if dtype.kind == "f":
        return real.astype(dtype)
    scale, zero_point = detail["quantization"]
    info = np.iinfo(dtype)
    return np.clip(np.rint(real / scale) + zero_point, info.min, info.max).astype(dtype)


def grid(images: np.ndarray, labels: np.ndarray, answers: np.ndarray) -> Image.Image:
    """All mistakes and then some right ones, each with its answer; mistakes are red."""
    order = np.argsort(labels == answers, kind="stable")[:60]
    cell, columns = 56, 12
    picture = Image.new("RGB", (columns * cell, -(-len(order) // columns) * cell), "white")
    draw = ImageDraw.Draw(picture)
    for place, i in enumerate(order):
        x, y = place % columns * cell, place // columns * cell
        digit = Image.fromarray((255 - images[i, :, :, 0] * 255).astype(np.uint8))
        picture.paste(digit.resize((40, 40), Image.Resampling.NEAREST).convert("RGB"), (x, y))
        right = labels[i] == answers[i]
        text = str(answers[i]) if right else f"{answers[i]} not {labels[i]}"
        draw.text((x + 2, y + 41), text, fill="darkgreen" if right else "red")
    return picture


def speed() -> None:
    """MobileNet v1 by several ways, in turns."""
    content = mobilenet()
    runners: dict[str, Any] = {
        "NumPy semantics": martlet.Interpreter(
            model_content=content, experimental_op_resolver_type=martlet.OpResolverType.BUILTIN_REF
        )
    }
    for threads in (1, 2):
        name = f"machine code, {threads} thread{'s' * (threads > 1)}"
        runners[name] = martlet.Interpreter(model_content=content, num_threads=threads)
        if importlib.util.find_spec("ai_edge_litert"):
            from ai_edge_litert.interpreter import Interpreter

            name = name.replace("machine code", "LiteRT")
            runners[name] = Interpreter(model_content=content, num_threads=threads)
    image = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner.allocate_tensors()
        runner.set_tensor(runner.get_input_details()[0]["index"], image)
        runner.invoke()
    for turn in track(range(20), description="mobilenet_v1", console=console, transient=True):
        for name, runner in runners.items():
            if turn % 5 == 0 or not name.startswith("NumPy"):
                start = time.perf_counter()
                runner.invoke()
                seconds[name].append(time.perf_counter() - start)
    table = Table(title="mobilenet_v1, float32, 224 x 224", title_justify="left", box=None)
    for heading in ("", "median latency", "fastest"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, times in seconds.items():
        table.add_row(
            name, f"{statistics.median(times) * 1e3:.1f} ms", f"{min(times) * 1e3:.1f} ms"
        )
    console.print(table)
    console.print()


def mobilenet() -> bytes:
    """The file of a MobileNet v1 (Howard et al., arXiv 1704.04861) with random weights."""
    random, graph = np.random.default_rng(0), Graph()
    x, size, depth = graph.input("image", (1, 224, 224, 3)), 224, 3

    def layer(op: str, x: int, shape: tuple[int, ...], stride: int, channels: int) -> int:
        weights = random.normal(size=shape).astype(np.float32) * np.sqrt(2 / np.prod(shape[1:]))
        bias = graph.constant(np.zeros(channels, np.float32))
        options = {
            "padding": "SAME", "stride_h": stride, "stride_w": stride,
            "fused_activation_function": "RELU6",
        }  # fmt: skip
        table = "Conv2DOptions"
        if op == "DEPTHWISE_CONV_2D":
            table, options["depth_multiplier"] = "DepthwiseConv2DOptions", 1
        output = Tensor("", (1, size, size, channels))
        inputs = [x, graph.constant(weights.astype(np.float32)), bias]
        return graph.add(op, inputs, options, options_type=table, outputs=[output])

    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    size //= 2
    x, depth = layer("CONV_2D", x, (32, 3, 3, 3), 2, 32), 32
    for channels, stride in [*blocks, (1024, 2), (1024, 1)]:
        size //= stride
        x = layer("DEPTHWISE_CONV_2D", x, (1, 3, 3, depth), stride, depth)
        x, depth = layer("CONV_2D", x, (channels, 1, 1, depth), 1, channels), channels
    axes = graph.constant(np.array([1, 2], np.int32))
    x = graph.add(
        "MEAN", [x, axes], {"keep_dims": False}, options_type="ReducerOptions",
        outputs=[Tensor("", (1, depth))],
    )  # fmt: skip
    weights = random.normal(size=(1000, depth)).astype(np.float32) / 32
    x = graph.add(
        "FULLY_CONNECTED", [x, graph.constant(weights), graph.constant(np.zeros(1000, np.float32))],
        {}, options_type="FullyConnectedOptions", outputs=[Tensor("", (1, 1000))],
    )  # fmt: skip
    graph.output(x)
    return bytes(write(Model([graph])))


def photographs() -> None:
    """A cat and a cup of coffee, among the thousand classes of ImageNet."""
    file = File(MODELS / MOBILENET)
    labels = read_metadata(read(file.data, MOBILENET)).outputs[0].labels
    interpreter = martlet.Interpreter(str(MODELS / MOBILENET))
    interpreter.allocate_tensors()
    into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    height, width = into["shape"][1:3]
    for name in ("chelsea", "coffee"):
        photo = Image.fromarray(getattr(skimage.data, name)()).resize((width, height))
        interpreter.set_tensor(into["index"], np.asarray(photo, np.uint8)[None])
        start = time.perf_counter()
        interpreter.invoke()
        seconds = time.perf_counter() - start
        scale, zero_point = out["quantization"]
        scores = (interpreter.get_tensor(out["index"])[0].astype(float) - zero_point) * scale
        best = ", ".join(f"{labels[i]} {scores[i]:.2f}" for i in np.argsort(-scores)[:3])
        console.print(f"[bold]{name}[/] (MobileNet v2, {seconds * 1000:.0f} ms): {best}")


def person() -> None:
    """What the SSD finds on the astronaut's portrait, as boxes on the picture."""
    interpreter = martlet.Interpreter(str(MODELS / SSD))
    labels = next(t.labels for t in read_metadata(interpreter.model).outputs if t.labels)
    interpreter.allocate_tensors()
    into = interpreter.get_input_details()[0]
    photo = Image.fromarray(skimage.data.astronaut())
    height, width = into["shape"][1:3]
    interpreter.set_tensor(into["index"], np.asarray(photo.resize((width, height)))[None])
    interpreter.invoke()
    boxes, classes, scores, _ = (
        interpreter.get_tensor(d["index"])[0] for d in interpreter.get_output_details()
    )
    draw = ImageDraw.Draw(photo)
    for box, number, score in zip(boxes, classes, scores, strict=True):
        if score < 0.5:
            continue
        top, left, bottom, right = box * np.array([photo.height, photo.width] * 2)
        text = f"{labels[int(number)]} {score:.2f}"
        draw.rectangle((left, top, right, bottom), outline="lime", width=4)
        draw.text((max(left, 0) + 8, max(top, 0) + 8), text, fill="lime")
        console.print(f"[bold]astronaut[/] (SSD MobileNet v1): {text}")
    photo.save(OUT / "astronaut.png")
    console.print(f"picture: {(OUT / 'astronaut.png').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
