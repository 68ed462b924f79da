"""The installed packages, compared with what this package requires."""

import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from pdanet_tf.diagnosis.finding import Finding

_PYTHONS = ((3, 11), (3, 13))  # the first and the last version that is supported
# Packages of each of these groups write to the same folder, so that the last one that is installed
# replaces files of the others.
_SAME_FOLDER = (
    (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    ("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu", "intel-tensorflow"),
)
_DEVELOPMENT = ("dev", "docs")  # extras that are not for users


def installed_version(package: str) -> str | None:
    """Returns the version of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def requirements_of(package: str) -> list[Requirement]:
    """Returns what an installed package requires; nothing if it is not installed."""
    try:
        return [Requirement(text) for text in metadata.requires(package) or ()]
    except metadata.PackageNotFoundError:
        return []


def find_extras() -> dict[str, dict[str, str | None]]:
    """Returns the packages of each extra with their installed versions, None if one is missing."""
    extras: dict[str, dict[str, str | None]] = {}
    for requirement in requirements_of("pdanet_tf"):
        name = _extra_of(requirement)
        if name is None or name in _DEVELOPMENT:
            continue
        needed = [requirement]
        for other in requirement.extras:  # such as tensorflow[and-cuda]
            needed += [
                nested
                for nested in requirements_of(requirement.name)
                if nested.marker
                and nested.marker.evaluate({"extra": other})
                and not nested.marker.evaluate({"extra": ""})
            ]
        found = extras.setdefault(name, {})
        found.update((package.name, installed_version(package.name)) for package in needed)
    return extras


def _extra_of(requirement: Requirement) -> str | None:
    text = str(requirement.marker or "").replace('"', "'")
    return text.partition("extra == '")[2].partition("'")[0] or None


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Iterator[Finding]:
    """Yields a finding if this version of Python is not supported."""
    first, last = _PYTHONS
    if not first <= version <= last:
        yield Finding(
            "broken",
            f"Python {version[0]}.{version[1]} is not supported; {first[0]}.{first[1]} to "
            f"{last[0]}.{last[1]} are",
            f"Make a virtual environment with another Python: python{last[0]}.{last[1]} -m venv "
            ".venv",
        )


def check_requirements() -> Iterator[Finding]:
    """Yields a finding for each requirement of the package that is missing or does not fit.

    The requirements of TensorFlow, Keras and TensorFlow Datasets are checked as well: pip warns
    about a conflict, such as that of two versions of protobuf, and installs it nevertheless.
    """
    for package in ("pdanet_tf", "tensorflow", "keras", "tensorflow-datasets"):
        if installed_version(package) is None:
            continue
        for requirement in requirements_of(package):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            found = installed_version(requirement.name)
            if found is None:
                text = f"{package} requires {requirement.name}, which is not installed"
            elif not requirement.specifier.contains(found, prereleases=True):
                text = f"{package} requires {_spell(requirement)}, but {found} is installed"
            else:
                continue
            remedy = f"pip install '{_spell(requirement)}'"
            yield Finding("broken" if package == "pdanet_tf" else "warning", text, remedy)


def _spell(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def check_twins() -> Iterator[Finding]:
    """Yields a finding for each group of packages that overwrite each other's files."""
    for group in _SAME_FOLDER:
        found = [package for package in group if installed_version(package) is not None]
        if len(found) > 1:
            yield Finding(
                "warning",
                f"{' and '.join(found)} are installed together, and each has replaced files of the "
                "other",
                f"pip uninstall -y {' '.join(found)}; then pip install {found[0]}",
            )
