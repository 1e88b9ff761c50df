"""Errors: the table of kinds, the built-in classes, and what they carry."""

from __future__ import annotations

import copy
import json
import pickle

import headwater
import pytest
from headwater import _native
from support import GOLDEN

#: The table of kinds, as the documentation has it: kind, retriable, fatal, built-in class.
KINDS: list[tuple[str, bool, bool, type[BaseException] | None]] = [
    ("InvalidArgument", False, False, ValueError),
    ("NotFound", False, False, LookupError),
    ("AlreadyExists", False, False, None),
    ("OffsetOutOfRange", False, False, LookupError),
    ("Full", True, False, BufferError),
    ("Unavailable", True, False, ConnectionError),
    ("Locked", True, False, BlockingIOError),
    ("Timeout", True, False, TimeoutError),
    ("Fenced", False, True, None),
    ("Denied", False, False, PermissionError),
    ("Unsupported", False, False, None),
    ("Corrupt", False, False, None),
    ("Storage", False, True, OSError),
    ("Closed", False, True, None),
    ("Internal", False, False, RuntimeError),
]


@pytest.mark.parametrize(("kind", "retriable", "fatal", "builtin"), KINDS)
def test_class_of_a_kind_says_what_the_table_says(
    kind: str, retriable: bool, fatal: bool, builtin: type[BaseException] | None
) -> None:
    cls = getattr(headwater, kind)

    assert issubclass(cls, headwater.HeadwaterError)
    assert (cls.kind, cls.retriable, cls.fatal) == (kind, retriable, fatal)
    if builtin is not None:
        assert issubclass(cls, builtin)
    bases = [base for base in cls.__bases__ if base is not headwater.HeadwaterError]
    assert bases == ([builtin] if builtin is not None else [])


def test_every_code_of_core_becomes_an_exception_of_its_kind() -> None:
    table = [row[1:] for row in _native.error_table()]
    assert {kind for kind, *_ in table} == {kind for kind, *_ in KINDS}
    for kind, code, retriable, fatal in table:
        error = _native.make_error(code, f"about {code}")

        assert type(error) is getattr(headwater, kind)
        assert (error.kind, error.code, error.retriable, error.fatal) == (
            kind,
            code,
            retriable,
            fatal,
        )
        assert error.outcome == "not_done"
        assert str(error) == error.message == f"about {code}"


def test_table_of_codes_is_the_golden_one() -> None:
    rows = json.loads((GOLDEN / "errors.json").read_text())
    names = ("number", "kind", "code", "retriable", "fatal")

    assert [tuple(row[name] for name in names) for row in rows] == _native.error_table()


def test_error_survives_pickle_and_copy() -> None:
    error = _native.make_error("FOLDER_LOCKED", "process 7 owns it")

    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is headwater.Locked
        assert (again.code, again.outcome, str(again)) == (
            "FOLDER_LOCKED",
            "not_done",
            "process 7 owns it",
        )


def test_wrong_type_of_an_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="from_block"):
        headwater.Batch.from_block()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        headwater.Batch.from_block("text")  # type: ignore[arg-type]


def test_class_cannot_be_made_by_hand_where_only_headwater_can() -> None:
    for cls in (headwater.Msg, headwater.Batch, headwater.Delivery, headwater.RecordMetadata):
        with pytest.raises(TypeError):
            cls()
