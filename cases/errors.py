"""Errors of recordings.

TruelineError
└── CaseError
    ├── CaseSchemaError   case.toml or a Parquet table does not say what it must
    ├── CaseFileError     a file is missing, truncated, undecodable or not the one that was hashed
    └── ImportSourceError a source that cannot become a case
"""

from __future__ import annotations

from trueline import TruelineError

__all__ = ["CaseError", "CaseFileError", "CaseSchemaError", "ImportSourceError"]


class CaseError(TruelineError):
    """Any error of a recording."""


class CaseSchemaError(CaseError):
    """case.toml or a Parquet table does not say what it must."""


class CaseFileError(CaseError):
    """A file is missing, truncated, undecodable or not the one that was hashed."""


class ImportSourceError(CaseError):
    """A source that cannot become a case."""
