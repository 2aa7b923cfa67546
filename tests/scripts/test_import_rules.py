"""The import contract of our own: a foreign import breaks it, wherever in the package it stands."""

from __future__ import annotations

import pytest
from grimp import ImportGraph

from scripts.import_rules import StandardLibraryOnly


@pytest.mark.parametrize(
    ("importer", "imported", "kept"),
    [
        ("core.machine.queue", "collections", True),
        ("core.machine.queue", "core.other", True),
        ("core.machine.queue", "msgspec", False),
        ("core.machine", "js", False),
        ("core.other", "msgspec", True),
    ],
)
def test_only_the_standard_library_and_our_own(importer: str, imported: str, kept: bool) -> None:
    graph = ImportGraph()
    for module in ("core", "core.machine", "core.machine.queue", "core.other"):
        graph.add_module(module)
    graph.add_module(imported, is_squashed=not imported.startswith("core"))
    graph.add_import(importer=importer, imported=imported)
    contract = StandardLibraryOnly(
        name="own",
        session_options={"root_packages": ["core"]},
        contract_options={"packages": ["core.machine", "core.states"]},
    )
    check = contract.check(graph, verbose=False)
    assert check.kept is kept
    assert check.metadata["foreign"] == ([] if kept else [(importer, imported)])
