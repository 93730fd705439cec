"""The report: a page about a model, in one file.

Not called ``report``, as the name belongs to the function: ``skexplain.report(...)``.
"""

from ._write import report

__all__ = ["report"]
