"""Signatures of mutations, as tools show them."""

from __future__ import annotations

from asyncmachine import CallSignature


def test_a_signature_reads_as_its_mutation() -> None:
    assert str(CallSignature(("A", "B"))) == "Add: A B"
    assert str(CallSignature(("A",), is_remove=True)) == "Remove: A"


def test_a_name_stands_for_the_mutation_and_needed_arguments_follow() -> None:
    signature = CallSignature(("Upload",), name="Upload a file", needed=("path",), optional=("retries",))
    assert str(signature) == "Upload a file [path]"
    assert signature.args == ("path", "retries")
