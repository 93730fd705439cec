"""Texts: networks that read them by tokens are explained by tokens, words and entries of the vocabulary."""

from ._explanation import TextExplanation, WordImportances

__all__ = ["TextExplanation", "WordImportances"]
