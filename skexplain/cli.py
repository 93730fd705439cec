"""The command ``skexplain``."""

from __future__ import annotations

import importlib
import os
import sys


def main() -> None:
    """Run the command line; bad input is one sentence and exit code 2."""
    # TensorFlow reads these when it is first imported, which happens when a Keras model is built; it announces
    # its oneDNN kernels whatever the log level
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # networks of this size gain nothing from a second thread, and on a busy machine wait for it ten times as long
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        for package in ("pandas", "rich", "typer"):
            importlib.import_module(package)
    except ImportError as exc:
        sys.stderr.write(f"skexplain: the command line needs {exc.name}. Run: pip install 'skexplain[cli]'\n")
        raise SystemExit(2) from None
    from . import _explain_command, _report_command  # noqa: F401  each adds its command
    from ._command import app

    app(prog_name="skexplain")


if __name__ == "__main__":
    main()
