"""An import-linter contract that the stock ones cannot express: "the standard library and nothing else"."""

from __future__ import annotations

import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

LATER = frozenset({"annotationlib", "compression"})
"""Modules of later standard libraries: the browser runs CPython 3.14, whatever Python checks the tree."""


class StandardLibraryOnly(Contract):
    """The packages (those that exist) import the standard library and the project's own modules, nothing else."""

    packages: Any = fields.ListField(subfield=fields.StringField())  # a list of names once the contract is read

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Collect every import that leaves the project for something outside the standard library."""
        own = set(self.session_options["root_packages"])
        foreign = [
            (importer, imported)
            for package in self.packages
            if package in graph.modules
            for importer in sorted({package} | graph.find_descendants(package))
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if imported.split(".")[0] not in own | sys.stdlib_module_names | LATER
        ]
        return ContractCheck(kept=not foreign, metadata={"foreign": foreign})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each import that must go."""
        for importer, imported in check.metadata["foreign"]:
            output.print_error(f"{importer} imports {imported}, which is not in the standard library")
