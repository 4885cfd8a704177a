"""What `metalearn-edu doctor` looks at: packages, device, data, cache."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One check: what it looks at, what it found, and advice if something is wrong."""

    what: str
    found: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing needs doing."""
        return not self.advice


def examine() -> Iterator[Finding]:
    """Check one thing after the other."""
    yield Finding("Python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield from _packages()
    yield _device()
    yield _cache()
    yield _glyphs()
    yield _omniglot()


def _packages() -> Iterator[Finding]:
    try:
        lines = importlib.metadata.requires("metalearn_edu") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder with its source
        yield Finding("metalearn_edu", "not installed", "python -m pip install -e .")
        return
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        yield _package(requirement)


def _package(requirement: Requirement) -> Finding:
    install = f"python -m pip install '{requirement}'"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(requirement.name, "not installed", install)
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(requirement.name, f"{version}, but {requirement} is needed", install)
    return Finding(requirement.name, version)


def _device() -> Finding:
    try:
        import torch
    except Exception as error:  # a broken installation raises whatever it likes
        return Finding("device", f"torch cannot be loaded: {error}", "install torch again")
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return Finding("device", f"CUDA, {name}; move learners with .to('cuda')")
    if torch.backends.mps.is_available():
        return Finding("device", "Apple MPS; move learners with .to('mps')")
    return Finding("device", f"CPU, {torch.get_num_threads()} threads: enough for every lesson")


def _cache() -> Finding:
    advice = "set METALEARN_EDU_CACHE to a folder that you can write to"
    try:
        from .tasks.cache import cache_folder

        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Finding("cache", f"{folder}, writable")
    except Exception as error:
        where = os.environ.get("METALEARN_EDU_CACHE") or "the usual folder"
        return Finding("cache", f"{where}: {getattr(error, 'strerror', None) or error}", advice)


def _glyphs() -> Finding:
    try:
        from .tasks import load_glyphs

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unwritable cache has its own line
            return Finding("glyphs", repr(load_glyphs()))
    except Exception as error:
        return Finding("glyphs", str(error), "metalearn-edu data glyphs shows the whole message")


def _omniglot() -> Finding:
    named = os.environ.get("METALEARN_EDU_DATA")
    try:
        from .tasks import load_omniglot

        return Finding("omniglot", repr(load_omniglot("background", download=False)))
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not named:
            found = "not here; optional: metalearn-edu data omniglot downloads it"
            return Finding("omniglot", found)
        where = f"METALEARN_EDU_DATA is {named}" if named else "it is in the cache folder"
        advice = f"{where}; fix or remove it, or download it with metalearn-edu data omniglot"
        return Finding("omniglot", str(error), advice)
