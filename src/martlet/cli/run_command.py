"""`martlet run`: inputs from files, one run, outputs as a table, JSON or a file."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from martlet.cli.inputs import from_file, random_values
from martlet.errors import ArgumentError
from martlet.metadata import Metadata, TensorMetadata, parse_labels, read_metadata
from martlet.runtime.interpreter import Interpreter, OpResolverType

LISTED = 20  # outputs with at most so many elements are shown whole


@dataclass
class Request:
    """The options of the command, see its help."""

    model: Path
    inputs: list[str]
    random: bool
    seed: int
    labels: Path | None
    top: int
    mean: list[float]
    std: list[float]
    signature: str | None
    save: Path | None
    reference: bool
    as_json: bool


def run(request: Request) -> None:
    """Run the model once and show what comes out."""
    resolver = OpResolverType.BUILTIN_REF if request.reference else OpResolverType.AUTO
    interpreter = Interpreter(str(request.model), experimental_op_resolver_type=resolver)
    metadata = read_metadata(interpreter.model)
    if request.signature is None:
        outputs, seconds = _run_main(interpreter, request, metadata)
    else:
        outputs, seconds = _run_signature(interpreter, request)
    labels = _labels(request, metadata)
    if request.save is not None:
        _save(request.save, {name: value for name, value, _ in outputs})
    report = {
        "model": str(request.model),
        "milliseconds": round(seconds * 1000, 3),
        "outputs": [_report(*output, labels, request.top) for output in outputs],
    }
    if request.as_json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        _show(report)


Output = tuple[str, np.ndarray, tuple[float, int]]  # name, value, quantisation


def _run_main(
    interpreter: Interpreter, request: Request, metadata: Metadata
) -> tuple[list[Output], float]:
    details = interpreter.get_input_details()
    arrays = _arrays(request, details, [d["name"] for d in details], metadata.inputs)
    for detail, array in zip(details, arrays, strict=True):
        if tuple(array.shape) != tuple(detail["shape"]):
            interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    for detail, array in zip(details, arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    start = time.perf_counter()
    interpreter.invoke()
    seconds = time.perf_counter() - start
    outputs = [
        (d["name"], interpreter.get_tensor(d["index"]), d["quantization"])
        for d in interpreter.get_output_details()
    ]
    return outputs, seconds


def _run_signature(interpreter: Interpreter, request: Request) -> tuple[list[Output], float]:
    runner = interpreter.get_signature_runner(request.signature)
    named = runner.get_input_details()
    arrays = _arrays(request, list(named.values()), list(named), [])
    start = time.perf_counter()
    results = runner(**dict(zip(named, arrays, strict=True)))
    seconds = time.perf_counter() - start
    details = runner.get_output_details()
    return [(n, v, details[n]["quantization"]) for n, v in results.items()], seconds


def _arrays(
    request: Request, details: list[dict[str, Any]], names: list[str], about: list[TensorMetadata]
) -> list[np.ndarray]:
    """One array for each input, from the files that were named or else at random."""
    files: dict[int, Path] = {}
    free = iter(range(len(details)))
    for text in request.inputs:
        name, separator, path = text.partition("=")
        if separator and name in names:
            files[names.index(name)] = Path(path)
            continue
        position = next((i for i in free if i not in files), None)
        if position is None:
            raise ArgumentError(
                "more files than inputs",
                expected=f"{len(details)}: {', '.join(names)}",
                found=f"{text!r} in addition",
            )
        files[position] = Path(text)
    source = np.random.default_rng(request.seed)
    arrays = []
    for i, detail in enumerate(details):
        if i in files:
            known = about[i] if i < len(about) else None
            arrays.append(from_file(files[i], detail, known, request.mean, request.std))
        elif request.random:
            arrays.append(random_values(detail, source))
        else:
            raise ArgumentError(
                f"nothing is given for input {names[i]!r}",
                expected=f"a file for {np.dtype(detail['dtype'])} {list(detail['shape'])}",
                hint="Name an image or a .npy file, or use --random.",
            )
    return arrays


def _labels(request: Request, metadata: Metadata) -> list[str]:
    if request.labels is not None:
        try:
            return parse_labels(request.labels.read_bytes())
        except OSError as error:
            raise ArgumentError(f"Could not read {request.labels}: {error.strerror}") from error
    return next((t.labels for t in metadata.outputs if t.labels), [])


def _report(
    name: str,
    value: np.ndarray,
    quantization: tuple[float, int],
    labels: list[str],
    top: int,
) -> dict[str, Any]:
    """One output in plain values: its best scores, all its values, or their range."""
    report: dict[str, Any] = {"name": name, "shape": list(value.shape), "dtype": str(value.dtype)}
    if value.dtype == object:
        report["values"] = [_text(v) for v in value.ravel().tolist()]
        return report
    scale, zero_point = quantization
    real = value
    if scale and value.dtype.kind in "iu":
        real = (value.astype(np.float64) - zero_point) * scale
    scores = real.reshape(-1)
    is_scores = value.ndim >= 1 and value.shape[-1] == value.size > 1 and value.dtype.kind != "c"
    if is_scores and (labels or value.size > LISTED):
        best = np.argsort(-scores.astype(np.float64), kind="stable")[:top]
        # Some label files leave out the background class that models count as 0.
        shift = 1 if len(labels) == scores.size - 1 else 0
        report["top"] = [
            {
                "index": int(i),
                "label": labels[i - shift] if 0 <= i - shift < len(labels) else "",
                "score": float(scores[i]),
            }
            for i in best
        ]
    elif value.size <= LISTED:
        report["values"] = [_number(v) for v in scores.tolist()]
    elif value.dtype.kind != "c":
        finite = scores[np.isfinite(scores)] if scores.dtype.kind == "f" else scores
        if finite.size:
            report["range"] = [float(finite.min()), float(finite.max())]
            report["mean"] = float(finite.mean())
        report["not_finite"] = int(scores.size - finite.size)
    return report


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: Any) -> Any:
    return str(value) if isinstance(value, complex) else value


def _save(path: Path, outputs: dict[str, np.ndarray]) -> None:
    try:
        if path.suffix == ".npy" and len(outputs) == 1:
            np.save(path, next(iter(outputs.values())))
        else:
            np.savez(path, allow_pickle=True, **outputs)
    except OSError as error:
        raise ArgumentError(f"Could not write {path}: {error.strerror}") from error


def _show(report: dict[str, Any]) -> None:
    console = Console(highlight=False)
    for output in report["outputs"]:
        shape = "×".join(map(str, output["shape"])) or "scalar"
        console.print(f"[bold]{escape(output['name'])}[/]  {output['dtype']} {shape}")
        if "top" in output:
            table = Table(box=None, pad_edge=False, padding=(0, 2))
            for heading in ("score", "class", "label"):
                table.add_column(heading, justify="left" if heading == "label" else "right")
            for row in output["top"]:
                table.add_row(f"{row['score']:.4f}", str(row["index"]), escape(row["label"]))
            console.print(table)
        elif "values" in output:
            console.print("  " + escape(", ".join(_short(v) for v in output["values"])))
        elif "range" in output:
            low, high = output["range"]
            console.print(f"  {low:.6g} to {high:.6g}, mean {output['mean']:.6g}")
        if output.get("not_finite"):
            console.print(f"  [yellow]{output['not_finite']} values are not finite[/]")
    console.print(f"[dim]{report['milliseconds']:.1f} ms[/]")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
