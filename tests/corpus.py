"""The cases of `../shared/corpus`, and the rule by which an answer passes.

As a program: `python tests/corpus.py [-p PART] [-r ref|default] [-v] [FILTER ...]` runs the cases
whose name (or operators, as `op:CONV_2D`) contain a filter and prints those that fail.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(os.environ.get("MARTLET_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
PARTS = ("ops", "optests", "exact", "models", "micro")


@dataclass(frozen=True)
class Case:
    part: str
    name: str
    ops: tuple[str, ...]

    @property
    def path(self) -> Path:
        return ROOT / self.part / f"{self.name}.tflite"

    @property
    def answers(self) -> dict[str, np.ndarray]:
        with np.load(ROOT / self.part / f"{self.name}.npz", allow_pickle=True) as file:
            return {k: file[k] for k in file.files}


@cache
def cases() -> list[Case]:
    """Every case that has answers; [] where the corpus is absent."""
    index = ROOT / "index.json"
    if not index.exists():
        return []
    listing: dict[str, list[Any]] = json.loads(index.read_text())
    return [
        Case(part, c["name"], tuple(c["ops"]))
        for part in PARTS
        for c in listing.get(part, [])
        if (ROOT / part / f"{c['name']}.npz").exists()
    ]


def run_case(case: Case, reference: bool) -> list[str]:
    """Run a case as its README says; returns what is wrong with the answers ([] if nothing)."""
    from martlet.runtime.interpreter import Interpreter, OpResolverType

    answers = case.answers
    resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(str(case.path), experimental_op_resolver_type=resolver)
    inputs: dict[int, np.ndarray] = {}
    for key, value in answers.items():
        if match := re.fullmatch(r"in(\d+)", key):
            inputs[interpreter.get_input_details()[int(match[1])]["index"]] = value
    for index, value in inputs.items():
        interpreter.resize_tensor_input(index, value.shape)
    interpreter.allocate_tensors()
    for index, value in inputs.items():
        interpreter.set_tensor(index, value)
    runs = 1 + max(
        (int(m[1]) - 1 for k in answers if (m := re.fullmatch(r"ref\d+_(\d+)", k))), default=0
    )
    problems: list[str] = []
    for run in range(1, runs + 1):
        interpreter.invoke()
        suffix = "" if run == 1 else f"_{run}"
        for k, detail in enumerate(interpreter.get_output_details()):
            got = np.asarray(interpreter.get_tensor(detail["index"]))
            if (ref := answers.get(f"ref{k}{suffix}")) is None:
                continue
            opt = answers.get(f"opt{k}{suffix}", ref)
            wrong = compare(got, ref, opt, reference, exact=case.part == "exact")
            problems += [f"output {k}, run {run}: {w}" for w in wrong]
    return problems


def compare(
    got: np.ndarray, ref: np.ndarray, opt: np.ndarray, reference: bool, exact: bool
) -> list[str]:
    """What is wrong with one output, by the rule of the corpus' README."""
    if got.shape != ref.shape:
        return [f"shape {got.shape}, should be {ref.shape}"]
    if got.dtype.kind in "OS" or ref.dtype.kind in "OS":
        same = [bytes(a) for a in got.ravel()] == [bytes(a) for a in ref.ravel()]
        return [] if same else ["strings differ"]
    if got.dtype != ref.dtype:
        return [f"type {got.dtype}, should be {ref.dtype}"]
    if got.size == 0:
        return []
    if got.dtype.kind in "iub":
        if np.array_equal(got, ref) or np.array_equal(got, opt):
            return []
        if exact and not reference:
            bad = (got != ref) & (got != opt)
            return [f"{bad.sum()} of {bad.size} equal neither answer"] if bad.any() else []
        if reference:
            bad = got != ref
            first = np.argwhere(bad)[0].tolist() if got.ndim else []
            at = tuple(first)
            return [
                f"{bad.sum()} of {bad.size} differ, first at {first}: "
                f"{got[at]}, should be {ref[at]}"
            ]
    problems = []
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    g, r, o = (a.astype(wide) for a in (got, ref, opt))
    finite = np.isfinite(r)
    special = np.where(finite, 0, r)
    if not np.array_equal(np.where(np.isfinite(g), 0, g), special, equal_nan=True):
        problems.append("infinities or NaNs differ")
    both = finite & np.isfinite(g) & np.isfinite(o)
    if both.any():
        g, r, o = g[both], r[both], o[both]
        slack = 0.0
        if got.dtype.kind in "fc":
            slack = max(1e-4 * float(np.abs(r).max()), 1e-3)
            slack = slack if got.dtype.kind in "fc" else 0
        apart = np.abs(r - o)
        near = np.minimum(np.abs(g - r), np.abs(g - o))
        for what, f in (("most", np.max), ("mean", np.mean)):
            if f(near) > f(apart) + slack:
                problems.append(f"{what} difference {f(near):.3g}, allowed {f(apart) + slack:.3g}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("filters", nargs="*")
    parser.add_argument("-p", "--part", choices=PARTS, action="append")
    parser.add_argument("-r", "--resolver", choices=("ref", "default"), action="append")
    parser.add_argument("-v", "--verbose", action="store_true", help="also list what passes")
    args = parser.parse_args()
    chosen = [
        c
        for c in cases()
        if (not args.part or c.part in args.part)
        and (
            not args.filters
            or any(f[3:] in c.ops if f.startswith("op:") else f in c.name for f in args.filters)
        )
    ]
    failed = 0
    for case in chosen:
        for resolver in args.resolver or ("ref", "default"):
            start = time.perf_counter()
            try:
                problems = run_case(case, resolver == "ref")
            except Exception as error:
                problems = [f"{type(error).__name__}: {error}"]
            seconds = time.perf_counter() - start
            failed += bool(problems)
            if problems or args.verbose or seconds > 5:
                text = "; ".join(problems) or "ok"
                print(f"{case.part}/{case.name} [{resolver}] {seconds:.2f} s: {text}")
    print(f"{len(chosen)} cases, {failed} runs failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
