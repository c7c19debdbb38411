"""Certificates for tests: made at run time by the script that users have."""

import subprocess
from pathlib import Path

from tests.daemons import ROOT


def make(folder: Path, *hosts: str) -> None:
    """Make `ca.pem` (once) and `HOST.pem`, `HOST.key` for each of *hosts* in *folder*."""
    subprocess.run([str(ROOT / "scripts/certificates"), str(folder), *hosts], check=True, capture_output=True)
