"""Where kernel images are: in the package, or in the user's cache.

A wheel carries images in `martlet/images`, one a target, `<target>.image`. A checkout has none; it
builds what it needs (`runtime/image_building.py`) into `$XDG_CACHE_HOME/martlet`
(`~/.cache/martlet`), into files whose names hold a hash of the kernels' sources.
"""

from __future__ import annotations

import os
import stat

from martlet.errors import MartletError
from martlet.kernels.image import source_hash
from martlet.kernels.targets import Target

PACKAGED = os.path.join(os.path.dirname(os.path.dirname(__file__)), "images")


def packaged(target: Target) -> str:
    """Where a wheel has the image of a target."""
    return os.path.join(PACKAGED, f"{target.name}.image")


def is_checkout() -> bool:
    """Whether the package came without images."""
    return not os.path.isdir(PACKAGED)


def cache_directory() -> str:
    """The user's own directory, for images and plans, made if need be. Nobody else may write there.

    The first to make it lets nobody else enter.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    directory = os.path.join(base, "martlet")
    try:
        if not os.path.isabs(directory):  # nobody knows where the user's home is
            raise FileNotFoundError(f"no home directory: {directory}")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        status = os.stat(directory)
    except OSError as error:
        raise MartletError(
            "there is no cache directory for kernel images", found=str(error)
        ) from None
    if status.st_uid != os.geteuid():
        raise MartletError("the cache directory belongs to somebody else", where=directory)
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise MartletError(
            "others may write into the cache directory",
            where=directory,
            hint=f"chmod 700 {directory}",
        )
    return directory


def cached(target: Target) -> str:
    """Where the image of a target is once it was built from the sources as they are."""
    return os.path.join(cache_directory(), f"{target.name}-{source_hash()}.image")
