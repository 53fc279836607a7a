"""The demo: real inputs classified by small models, with accuracy, pictures and latency.

    make demo

1. The held-out fifth of scikit-learn's digits, by the float and the int8 network that
   `examples/digits/train.py` made: accuracy, latency, and a picture grid.
2. Where the model corpus is beside the repository: a cat and a cup by an ImageNet MobileNet,
   and the person on scikit-image's astronaut by an SSD, drawn on the picture.

Pictures go to `build/demo/`.
"""

from __future__ import annotations

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
from martlet.metadata import read_metadata
from martlet.schema.reader import File, read

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
