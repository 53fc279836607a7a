"""`martlet reply`: a message in, ranked replies out."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from martlet.smartreply import SmartReply


def run(message: str, model: Path, top: int, as_json: bool) -> None:
    """Show the replies, best first."""
    replies = SmartReply(model).reply(message)
    ranked = dict(sorted(replies.items(), key=lambda item: (-item[1], item[0]))[:top])
    if as_json:
        print(json.dumps({"message": message, "replies": ranked}, ensure_ascii=False))
        return
    console = Console(highlight=False)
    if not ranked:
        console.print("[dim]no reply[/]")
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for reply, score in ranked.items():
        table.add_row(f"{score:.3f}", escape(reply))
    console.print(table)
