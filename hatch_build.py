"""Puts kernel images into the wheel: those that `make wheel` has built in build/images."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """What hatchling calls before it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the images. A checkout that is installed in place builds its own instead."""
        if version == "editable":
            return
        for path in Path(self.root, "build", "images").glob("*.image"):
            build_data["force_include"][str(path)] = f"martlet/images/{path.name}"
