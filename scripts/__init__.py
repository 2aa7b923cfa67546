"""What the Makefile calls. Everything up to `setup` runs on a bare Python and imports the standard library only.

Reading order: bootstrap (finds a Python) → setup (the list of steps) → step (what is done is not done
again) → prerequisites, python_env, npm, vendor, page_wheels, browser (one step each) → clean.
Beside them: nightly, mutants, and the checks tree_rules, import_rules and doc_links.
"""
