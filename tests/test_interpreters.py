"""Whether something changed in an interpreter's environment."""

from __future__ import annotations

import os
from pathlib import Path

from badc_core.interpreters import packages_changed_ns


def test_the_folder_of_packages_that_changed_last_counts(tmp_path: Path) -> None:
    for version, changed_ns in (("3.11", 5_000), ("3.12", 7_000), ("3.13", 6_000)):
        packages = tmp_path / f"lib/python{version}/site-packages"
        packages.mkdir(parents=True)
        os.utime(packages, ns=(0, changed_ns))
    assert packages_changed_ns(tmp_path / "bin/python") == 7_000


def test_what_is_installed_is_noticed(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.12/site-packages"
    packages.mkdir(parents=True)
    os.utime(packages, ns=(0, 0))
    (packages / "torch").mkdir()
    assert packages_changed_ns(tmp_path / "bin/python") > 0


def test_the_environment_is_that_of_the_link(tmp_path: Path) -> None:
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").symlink_to("/usr/bin/env")
    packages = tmp_path / "env/lib/python3.12/site-packages"
    packages.mkdir(parents=True)
    os.utime(packages, ns=(0, 9_000))
    assert packages_changed_ns(tmp_path / "env/bin/python") == 9_000


def test_an_environment_that_is_not_there(tmp_path: Path) -> None:
    """Whoever asks the interpreter next says what is wrong with it."""
    (tmp_path / "lib/python3.12").mkdir(parents=True)
    (tmp_path / "lib/python3.12/site-packages").symlink_to(tmp_path / "gone")
    assert packages_changed_ns(tmp_path / "bin/python") == 0
    assert packages_changed_ns(tmp_path / "nowhere/bin/python") == 0
