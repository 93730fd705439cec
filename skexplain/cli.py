"""The command ``skexplain``."""

from __future__ import annotations

import importlib
import os
import sys


def main() -> None:
    """Run the command line; bad input is one sentence and exit code 2."""
    # TensorFlow reads it when it is first imported, which happens when a Keras model is built
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        for package in ("pandas", "rich", "typer"):
            importlib.import_module(package)
    except ImportError as exc:
        sys.stderr.write(f"skexplain: the command line needs {exc.name}. Run: pip install 'skexplain[cli]'\n")
        raise SystemExit(2) from None
    from ._command import app

    app(prog_name="skexplain")


if __name__ == "__main__":
    main()
