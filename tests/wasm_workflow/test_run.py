from examples.wasm_workflow import dag
from examples.wasm_workflow.run import MAX_RETRIES, Attempt, Run


def delivered(run: Run, *nodes: str) -> Run:
    for node in nodes:
        payload = run.payload(node)
        assert payload is not None
        run = run.deliver(node, dag.digest(payload, node))
    return run


def test_a_round_starts_from_nothing_and_counts_restarts() -> None:
    run = Run("r").next_round(4)
    assert (run.round, run.restarts) == (4, 0)
    run = delivered(run.next_attempt("browser1"), "browser1").next_round(5)
    assert (run.round, run.restarts, dict(run.attempts), dict(run.results)) == (5, 1, {}, {})


def test_nodes_are_ready_when_their_feed_has_delivered() -> None:
    run = Run("r").next_round(1)
    assert run.ready() == ("browser1", "browser2")
    run = delivered(run, "browser2")
    assert run.ready() == ("browser1", "browser4")
    assert run.payload("browser4") == run.results["browser2"]
    assert run.payload("browser3") is None
    run = delivered(run, "browser1", "browser3", "browser4")
    assert run.ready() == ()
    assert run.wrong() == ()


def test_one_corrupt_result_is_found_at_the_end_only() -> None:
    run = delivered(Run("r").next_round(1).deliver("browser1", dag.CORRUPTED), "browser2", "browser3", "browser4")
    assert run.wrong() == ("browser3",)


def test_final_results_are_shown_until_there_are_newer_ones() -> None:
    run = delivered(Run("r").next_round(3), "browser1", "browser2", "browser3")
    assert (dict(run.finals), run.finals_round) == ({}, 0)
    run = delivered(run, "browser4").next_round(4)
    assert (dict(run.finals), run.finals_round) == (dag.EXPECTED, 3)


def test_only_the_answer_to_the_current_attempt_is_expected() -> None:
    run = Run("r").next_round(2).next_attempt("browser1").next_attempt("browser1")
    assert run.attempt("browser1") == Attempt("r", 2, 2)
    assert run.expects("browser1", Attempt("r", 2, 2))
    assert not run.expects("browser1", Attempt("r", 2, 1)), "an earlier attempt"
    assert not run.expects("browser1", Attempt("r", 1, 2)), "an earlier round"
    assert not run.expects("browser1", Attempt("q", 2, 2)), "an earlier run, perhaps of a process that died"
    assert not run.expects("browser2", Attempt("r", 2, 0)), "a node that was never asked"
    assert not delivered(run, "browser1").expects("browser1", Attempt("r", 2, 2)), "a second answer"


def test_a_node_that_failed_too_often_is_exhausted_until_the_next_round() -> None:
    run = Run("r").next_round(1)
    for _ in range(MAX_RETRIES):
        run = run.next_attempt("browser1").fail("browser1")
        assert not run.exhausted("browser1")
    assert run.next_attempt("browser1").exhausted("browser1") is False, "lost attempts do not count"
    run = run.fail("browser1")
    assert run.exhausted("browser1")
    assert not run.exhausted("browser2")
    assert not run.next_round(2).exhausted("browser1")


def test_a_run_is_a_value() -> None:
    run = Run("r").next_round(1)
    run.next_attempt("browser1").deliver("browser1", b"x")
    assert run == Run("r").next_round(1)
