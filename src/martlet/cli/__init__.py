"""The command `martlet`. Its libraries come with `pip install martlet[cli]`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without its libraries, say how to get them."""
    try:
        from martlet.cli.app import app
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "martlet":
            raise
        print(
            f"The command line needs the package '{error.name}'. Install it with:\n"
            "    pip install 'martlet[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    app()
