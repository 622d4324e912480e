"""The tables of a journal's file, and the number of their format."""

from __future__ import annotations

FORMAT = 3  # of the file; another one is refused: 1 and 2 were never released
PAGE = 16384  # bytes; ten rows of short answers, a fifth less CPU a row than at 8192

SCHEMA = """
CREATE TABLE meta    (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE block   (block INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE result  (row INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE attempt (row INTEGER, chunk INTEGER, attempt INTEGER, value BLOB NOT NULL,
                      PRIMARY KEY (row, chunk, attempt)) WITHOUT ROWID;
CREATE TABLE chunk   (row INTEGER, chunk INTEGER, value BLOB NOT NULL,
                      PRIMARY KEY (row, chunk)) WITHOUT ROWID;
CREATE TABLE answer  (digest INTEGER PRIMARY KEY, failure TEXT, value BLOB NOT NULL);
CREATE INDEX answer_failure ON answer (failure) WHERE failure IS NOT NULL;
CREATE TABLE part    (part INTEGER PRIMARY KEY, value BLOB NOT NULL);
"""
