"""Small files that a node starts from again: written whole or not at all, and never a reason not to start.

They are caches, not records. One that cannot be read is told and set aside, and the node does without.
"""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

log = logging.getLogger(__name__)

MAX_FILE: Final = 2 * 1024 * 1024
"""Largest file that is read, bytes; the full tables of an address book take less."""

Content = TypeVar("Content")


def load(path: Path, parse: Callable[[dict[str, Any]], Content]) -> Content | None:
    """What `parse` makes of the JSON object in the file at `path`; None if there is none to be had.

    Args:
        path: An unreadable file is renamed to `*.unreadable`, over an older one of that name.
        parse: Raises `ValueError` (or `KeyError`, `TypeError`, `AttributeError`) on what it cannot use.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ValueError(f"larger than {MAX_FILE} bytes")
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ValueError(f"not an object but a {type(document).__name__}")
        return parse(document)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("event=file_not_read path=%s reason=%s", path, error)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        set_aside(path, repr(error))
    return None


def set_aside(path: Path, reason: str) -> None:
    """Rename a file that is of no use, and say so."""
    aside = path.with_suffix(path.suffix + ".unreadable")
    try:
        path.replace(aside)
    except OSError as error:
        log.warning("event=file_not_set_aside path=%s reason=%s", path, error)
    log.warning("event=file_set_aside path=%s as=%s reason=%s", path, aside, reason)


def save(path: Path, document: dict[str, Any]) -> None:
    """Write `document` as JSON, whole or not at all.

    Raises:
        OSError: The disk would not have it.
    """
    write_whole(path, json.dumps(document, indent=1).encode("ascii"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, in place of an older one.

    Raises:
        OSError: The disk would not have it.
    """
    draft = path.with_suffix(path.suffix + ".draft")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def try_save(path: Path, document: dict[str, Any]) -> bool:
    """`save`; a disk that fails must not end the node over a cache, so that is only told."""
    try:
        save(path, document)
    except OSError as error:
        log.warning("event=file_not_saved path=%s reason=%s", path, error)
        return False
    return True
