"""What a YAML parser lets through, and a stack file must not hold."""

from __future__ import annotations

import pytest

from settings.stack_text import StackTextError, read

BOMB = "\n".join(
    [
        "a: &a [1,1,1,1,1,1,1,1,1,1]",
        *(f"{to}: &{to} [{','.join([f'*{of}'] * 10)}]" for of, to in zip("abcdefg", "bcdefgh", strict=True)),
    ]
)
REFUSED = {
    "equal keys": ("a: 1\nb: 2\na: 3", "a is there twice, again in line 3"),
    "equal keys below": ("a:\n  - b: {c: 1, c: 2}", r"a\[0\]\.b\.c is there twice"),
    "recursive anchor": ("a: &x {b: [*x]}", r"a\.b\[0\] .* would never end"),
    "alias bomb": (BOMB, "more than 100000 values by its aliases"),
    "number as a key": ("a: {1: b}", "`1`, a key in a .* in quotes"),
    "truth as a key": ("true: b", "`true`, a key in the top level .* in quotes"),
    "list as a key": ("? [a]\n: b", "a mapping or a list, a key in"),
    "depth": (f"a: {'[' * 5000}", "too deep"),
    "digits": (f"a: {'9' * 5000}", "does not exist"),
    "date": ("a: 2030-02-31", "does not exist"),
    "no YAML": ("a: {b: 1", "not YAML"),
    "unknown alias": ("a: *b", "not YAML"),
    "control character": ("a: \0", "not YAML"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(StackTextError, match=words) as refused:
        read(text.encode())
    assert len(str(refused.value)) < 500


def test_text_in_another_encoding_is_refused_with_its_line() -> None:
    with pytest.raises(StackTextError, match="line 2 is not UTF-8"):
        read("a: 1\nb: K\xf6ln".encode("latin-1"))


def test_what_is_no_mistake_is_read() -> None:
    text = "a: &x {b: 5e-08, c: [1, 2.5]}\nd: *x\ne: {<<: *x, b: 2}\nf: '1'\n"
    same = {"b": 5e-08, "c": [1, 2.5]}
    assert read(text.encode()) == {"a": same, "d": same, "e": {"b": 2, "c": [1, 2.5]}, "f": "1"}
    assert read(b"") is None
