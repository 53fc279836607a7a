"""Kernel images in memory: chosen for the processor, checked, mapped, called through ctypes.

`host_image` is what the rest of Martlet asks for; `MARTLET_IMAGE` in the environment overrules
its choice with a file's path, or with `none`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from martlet import log
from martlet.errors import MartletError
from martlet.kernels.image import HASHED, HEADER, Image, ImageError, parse, source_hash
from martlet.kernels.targets import TARGETS, Target
from martlet.runtime import image_files
from martlet.runtime.executable import map_code


@cache
def processor_features() -> frozenset[str]:
    """What the operating system says that the processor has."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return frozenset(value.split())
    except OSError:
        pass
    return frozenset()


def machine() -> str:
    """The processor's family as this process sees it, "" where images are not to be had."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return ""
    return os.uname().machine


def host_targets() -> list[Target]:
    """The targets that this processor can run, the best first."""
    return [
        target
        for target in TARGETS.values()
        if target.machine == machine() and target.needs <= processor_features()
    ]


class LoadedImage:
    """An image that can be called. Stays mapped as long as the process lives."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self._load(path)
        except OSError as error:
            raise MartletError(
                "the kernel image cannot be read", where=str(path), found=str(error)
            ) from None

    def _load(self, path: str | os.PathLike[str]) -> None:
        with open(path, "rb") as file:
            descriptor = file.fileno()
            check_owner(os.fstat(descriptor), str(path))
            if os.fstat(descriptor).st_size < HEADER:
                raise ImageError("the file is too short for a kernel image", where=str(path))
            with (
                mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as pages,
                memoryview(pages) as data,
            ):
                self.image: Image = parse(data, str(path))
                self.digest = bytes(data[8:HASHED]).hex()
            _check_machine(self.image, path)
            self.base = map_code(descriptor, self.image.code_start, self.image.code_size)
        self.run_alone = self._entry("run_alone")
        self.run_shared = self._entry("run_shared")
        self.work = self._entry("work")
        self.stop = self._entry("stop")

    @property
    def lanes(self) -> int:
        """float32 in a vector of the image's target."""
        return self.image.lanes

    def address(self, kernel: str) -> int:
        """Where a kernel's code starts."""
        return self.base + self.image.offsets[kernel]

    def _entry(self, name: str) -> Any:
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address(name))


def check_owner(status: os.stat_result, path: str) -> None:
    """Code is run only if nobody but the user or the system can have written its file."""
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("what holds code is not a file", where=path)
    if status.st_uid not in (os.geteuid(), 0):
        raise ImageError(
            "a file that holds code belongs to somebody else",
            where=path,
            expected=f"user {os.geteuid()} or 0",
            found=f"user {status.st_uid}",
        )
    if status.st_mode & 0o022:
        raise ImageError(
            "a file that holds code can be written by others",
            where=path,
            found=f"mode {stat.S_IMODE(status.st_mode):o}",
            hint=f"If it is what you built, chmod 644 {path}",
        )


def _check_machine(image: Image, path: str | os.PathLike[str]) -> None:
    if image.machine != machine():
        raise MartletError(
            "the kernel image is for another machine",
            where=str(path),
            expected=machine() or "no image",
            found=image.machine,
        )
    missing = set(image.needs) - processor_features()
    if missing:
        raise MartletError(
            "the processor lacks what the kernel image needs",
            where=str(path),
            found=f"no {', '.join(sorted(missing))}",
        )


@cache
def host_image() -> LoadedImage | None:
    """The best image for this processor, built first if need be, or None: then NumPy computes.

    A file named by MARTLET_IMAGE that cannot be used is an error; anything else that stands in
    the way is logged, once.
    """
    switch = os.environ.get("MARTLET_IMAGE", "")
    if switch == "none":
        log.info("MARTLET_IMAGE=none: models run on the NumPy semantics")
        return None
    if switch:
        return LoadedImage(switch)
    try:
        return find_image(host_targets())
    except MartletError as error:
        log.warning("%s. Models run on the NumPy semantics, which are slower", error)
        return None


def find_image(targets: Sequence[Target]) -> LoadedImage:
    """The image of the first target that has one; in a checkout, the first is built."""
    if not targets:
        raise MartletError(f"there are no kernels for this processor ({machine() or sys.platform})")
    if image_files.is_checkout():
        return _of_checkout(targets[0])
    for target in targets:
        path = image_files.packaged(target)
        if os.path.exists(path):
            loaded = LoadedImage(path)
            if loaded.image.sources == source_hash():
                return loaded
            log.debug("%s was built from other sources", path)
    raise MartletError(
        "the package has no kernel image for this processor",
        expected=" or ".join(target.name for target in targets),
    )


def _of_checkout(target: Target) -> LoadedImage:
    path = image_files.cached(target)
    problem: MartletError = MartletError(
        "there is no kernel image, and nothing to build one with",
        hint="Install it with: pip install 'martlet[compiler]'",
    )
    if os.path.exists(path):
        try:
            return LoadedImage(path)
        except ImageError as error:
            problem = error
    from martlet.runtime import image_building  # where none is built, this is not needed

    if not image_building.can_build():
        raise problem
    if isinstance(problem, ImageError):
        log.warning("%s. It is built again", problem)
        with suppress(FileNotFoundError):
            os.unlink(path)
    image_building.build_cached(target, path)
    return LoadedImage(path)
