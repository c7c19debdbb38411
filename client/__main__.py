"""`python3 -m client`: continues under the repository's .venv when there is one."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def continue_under_venv() -> None:
    """Become `.venv/bin/python -m client` unless that is what runs already, or there is none."""
    venv = ROOT / ".venv"
    python = venv / "bin" / "python"
    if Path(sys.prefix).resolve() != venv.resolve() and os.access(python, os.X_OK):
        found = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
        os.execve(python, [str(python), "-m", "client", *sys.argv[1:]], {**os.environ, "PYTHONPATH": found})  # noqa: S606 - itself again


if __name__ == "__main__":
    continue_under_venv()
    from client.cli import main

    sys.exit(main())
