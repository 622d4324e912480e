"""Structured output: the schema a job names, the answers it accepts, the Arrow type they become."""

from __future__ import annotations

from batchkit.schema.output import Invalid, OutputSchema, Valid

__all__ = ["Invalid", "OutputSchema", "Valid"]
