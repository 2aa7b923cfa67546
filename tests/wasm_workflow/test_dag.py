from hashlib import sha512

from examples.wasm_workflow import dag

# Part C of the specification gives both digests; the chain is over raw bytes.
BROWSER3 = (
    "798084a3599272353ed165b1ef2717344a89246ca3756680059b7b1340053007"
    "b7af049916f67388bea5cdc007dbf7368522d808bd5a6ad68b57612b5fc804b2"
)
BROWSER4 = (
    "7f8db768c3ff3bd492c68f48006f6e5d77981501df604eb77b9577e87acd5ee8"
    "6772cb00b6f621ce9209d1e74c770d95e2b78d658c0e0f399989bb98421f6e95"
)


def test_the_expected_digests_are_those_of_the_specification() -> None:
    assert {node: value.hex() for node, value in dag.EXPECTED.items()} == {"browser3": BROWSER3, "browser4": BROWSER4}


def test_digests_chain_as_raw_bytes() -> None:
    first = dag.digest(b"wasm-workflow-1", "browser1")
    assert first == sha512(b"wasm-workflow-1browser1").digest()
    assert dag.digest(first, "browser3").hex() == BROWSER3


def test_a_corrupt_result_looks_like_a_digest_and_spoils_the_node_behind_it() -> None:
    assert len(dag.CORRUPTED) == dag.DIGEST_SIZE
    assert dag.CORRUPTED.startswith(b"corrupted")
    behind = dag.digest(dag.CORRUPTED, "browser3")
    assert dag.wrong({"browser3": behind, "browser4": dag.EXPECTED["browser4"]}) == ("browser3",)


def test_missing_results_are_wrong_and_right_ones_are_not() -> None:
    assert dag.wrong({}) == ("browser3", "browser4")
    assert dag.wrong({"browser4": dag.EXPECTED["browser4"]}) == ("browser3",)
    assert dag.wrong(dag.EXPECTED) == ()
