"""`martlet verify`: every finding with where it is; the exit status says whether it runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from martlet.errors import ModelError
from martlet.report.verify import Finding, verify
from martlet.schema.file import File


def run(path: Path, as_json: bool) -> int:
    """Show the findings; returns 1 if there are errors, else 0."""
    try:
        findings = verify(File(path).data, path.name)
    except ModelError as error:  # an empty file
        findings = [Finding("error", path.name, str(error).removeprefix(f"{path.name}: "))]
    errors = sum(f.severity == "error" for f in findings)
    if as_json:
        report = {"model": str(path), "ok": not errors, "findings": [asdict(f) for f in findings]}
        print(json.dumps(report, ensure_ascii=False, indent=2))
        return 1 if errors else 0
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        style = "red" if finding.severity == "error" else "yellow"
        console.print(
            f"[{style}]{finding.severity}[/] {escape(finding.where)}: {escape(finding.problem)}"
        )
    warnings = len(findings) - errors
    if errors:
        console.print(f"[bold red]{errors} errors[/], {warnings} warnings: it will not run")
    else:
        console.print(f"[bold green]sound[/], {warnings} warnings")
    return 1 if errors else 0
