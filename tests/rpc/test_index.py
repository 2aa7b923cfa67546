"""Where to find the proof of each thing that aRPC has to do: the checklist, and the mistakes of the original.

The names are those of the specification. Each leads to the functions themselves, so that none can be renamed or dropped
without the index. What is said to hold on both is seen to run on memory and on TCP.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.bench import test_rpc_loop as loop
from tests.helpers import test_pipes as pipes
from tests.rpc import behaviour as b
from tests.rpc import growing, large, situations, stepping, sync_modes
from tests.rpc import machine_suite as local
from tests.rpc import test_bytes as counted
from tests.rpc import test_checklist as checklist
from tests.rpc import test_client as client
from tests.rpc import test_clients as clients
from tests.rpc import test_clock as clock
from tests.rpc import test_codec as codec
from tests.rpc import test_convergence as convergence
from tests.rpc import test_counters as counters
from tests.rpc import test_direct as direct
from tests.rpc import test_faults as faults
from tests.rpc import test_frames as frames
from tests.rpc import test_kept_sessions as kept
from tests.rpc import test_memory as memory
from tests.rpc import test_mux as mux
from tests.rpc import test_mux_payloads as mux_payloads
from tests.rpc import test_named as named
from tests.rpc import test_payloads as payloads
from tests.rpc import test_proof as at_size
from tests.rpc import test_repl as repl
from tests.rpc import test_server as server
from tests.rpc import test_session as session
from tests.rpc import test_session_fuzz as fuzz
from tests.rpc import test_tls as tls
from tests.rpc import test_tracing as tracing
from tests.rpc import test_tree_convergence as trees
from tests.rpc.behaviour import ALL, IN_BROWSER
from tests.rpc.nets import NETS, WHOLE

CHROMIUM = Path(__file__).parents[2] / "playwright" / "test_rpc.py"

Proof = Callable[..., Any]
Index = dict[str, tuple[Proof, ...]]

NAMED: Index = {
    "Basic": (b.an_add_runs_at_the_source_and_shows_here,),
    "TypeSafe": (b.an_add_runs_at_the_source_and_shows_here,),
    "Waiting": (checklist.test_waiting, b.waits_and_scopes_are_answered_by_the_mirror),
    "AddMany": (checklist.test_add_many,),
    "AddManyNoSync": (checklist.test_add_many_no_sync, b.calls_that_are_not_answered_run_once_in_their_order),
    "AddManyInstantClock": (checklist.test_add_many_instant_clock,),
    "ManyStates": (checklist.test_many_states,),
    "HighInstantClocks": (checklist.test_high_instant_clocks,),
    "ClockPush": (b.changes_of_the_source_are_pushed,),
    "RetryCall": (situations.retry_call, situations.retry_err_network_timeout),
    "RetryConn": (clients.test_retry_conn,),
    "RetryErrNetworkTimeout": (situations.retry_err_network_timeout,),
    "RetryClosedListener": (clients.test_retry_closed_listener,),
    "Payload": (b.a_getter_is_a_mutation_answered_by_a_payload, b.a_payload_reaches_the_consumer),
    "Mux": (mux.test_three_clients_see_what_one_of_them_does,),
    "RetryingConnState": (b.states_of_the_connection_can_be_added_by_hand,),
    "Partial": (sync_modes.partial,),
    "PartialInferred": (sync_modes.partial_inferred,),
    "PartialNoSchema": (sync_modes.partial_no_schema,),
    "SchemaFilteringSync": (sync_modes.schema_filtering_sync,),
    "ShallowSync": (sync_modes.shallow_sync,),
    "NoSchema": (sync_modes.no_schema,),
    "MutationsSync": (checklist.test_mutations_sync, stepping.every_transition_is_shown_as_it_was),
    "Export": (sync_modes.export, situations.a_source_that_was_restored_begins_a_new_session),
}
"""By name: what a mirror and its source do."""

MACHINE: Index = {
    "SingleStateActive": (local.single_state_active,),
    "MultipleStatesActive": (local.multiple_states_active,),
    "ExposeAllStateNames": (local.expose_all_state_names,),
    "StateSet": (local.state_set,),
    "StateAdd": (local.state_add,),
    "StateRemove": (local.state_remove,),
    "RemoveRelation": (local.remove_relation,),
    "RemoveRelationSimultaneous": (local.remove_relation_simultaneous,),
    "RemoveRelationCrossBlocking": (local.remove_relation_cross_blocking,),
    "AddRelation": (local.add_relation,),
    "RequireRelation": (local.require_relation,),
    "RequireRelationWhenRequiredIsntActive": (local.require_relation_when_required_isnt_active,),
    "AutoStates": (local.auto_states,),
    "Switch": (local.switch,),
    "RegressionRemoveCrossBlockedByImplied": (local.regression_remove_cross_blocked_by_implied,),
    "RegressionImpliedBlockByBeingRemoved": (local.regression_implied_block_by_being_removed,),
    "When2": (local.when_2,),
    "WhenActive": (local.when_active,),
    "WhenNot2": (local.when_not_2,),
    "WhenNotActive": (local.when_not_active,),
    "PartialAuto": (local.partial_auto,),
    "Time": (local.time,),
    "WhenTime": (local.when_time,),
    "Is": (local.is_,),
    "Not": (local.not_,),
    "Any": (local.any_,),
    "Clock": (local.clock,),
    "Inspect": (local.inspect,),
    "String": (local.string_and_string_all,),
    "NestedMutation": (local.nested_mutation, b.what_handlers_add_within_a_call_comes_with_its_answer),
    "IsClock": (local.is_clock,),
    "IsTime": (local.is_time,),
    "WhenQueue": (local.when_queue,),
    "WhenQuery": (local.when_query,),
    "Pipes": (local.pipes, b.pipes_lead_to_a_mirror_and_from_one),
    "StateCtx": (local.state_ctx,),
    "WhenCtx": (b.waits_and_scopes_are_answered_by_the_mirror,),
    "WhenArgs": (b.waits_for_arguments_are_answered_by_the_source,),
}
"""By name: what a mirror does as a local machine does."""

ADDITIONAL: Index = {
    "1 refused at hello": (situations.after_a_refusal_nothing_is_answered,),
    "2 a second client is told BUSY": (
        b.a_second_client_is_told_to_come_later_and_the_first_is_undisturbed,
        mux_payloads.test_one_of_the_same_id_is_told_to_come_later_and_gets_nothing_of_the_first,
    ),
    "3 a timed-out Add runs once": (situations.retry_err_network_timeout, situations.retry_call),
    "4 lost, doubled and swapped pushes": (situations.pushes_that_are_lost_doubled_and_swapped_converge,),
    "5 syncs race with pushes": (situations.syncs_that_race_with_pushes_keep_the_mirror_exact,),
    "6 partial, no schema": (sync_modes.partial_no_schema,),
    "7 shallow, sums too": (sync_modes.shallow_sync,),
    "8 steps over several pushes": (
        stepping.every_transition_is_shown_as_it_was,
        stepping.an_answer_comes_after_its_steps,
    ),
    "9 a schema changes": (
        growing.new_states_join_the_session,
        growing.a_partial_mirror_grows_by_what_it_follows,
        growing.those_who_asked_for_no_schema_get_names,
    ),
    "10 three levels": (b.three_levels_of_mirrors,),
    "11 arguments are waited for": (
        b.waits_for_arguments_are_answered_by_the_source,
        b.what_happens_while_the_connection_is_down_is_not_missed,
        b.a_wait_for_arguments_is_armed_again_at_a_server_that_knows_nothing_of_it,
    ),
    "12 a large payload, cut in the middle": (
        large.a_large_payload_goes_on_after_a_cut_where_it_stopped,
        at_size.test_64_mebibytes_go_on_after_a_cut_and_little_of_them_goes_twice,
    ),
    "13 a restart with a machine tick": (situations.a_source_that_was_restored_begins_a_new_session,),
    "14 a slow consumer": (
        situations.a_slow_reader_costs_no_memory_and_disturbs_nobody,
        at_size.test_a_slow_reader_at_ten_thousand_transitions_costs_no_memory_and_disturbs_nobody,
    ),
    "15 every transport": (b.an_add_runs_at_the_source_and_shows_here,),
    "16 no widths": (situations.differences_have_no_width, situations.more_than_65_535_states),
    "17 garbage": (situations.garbage_ends_its_own_connection_and_no_other,),
}
"""The further situations, by number."""

MORE: Index = {
    "5": (convergence.test_mirror_and_source_are_equal_after_any_weather,),
    "10": (trees.test_mirrors_of_mirrors_are_equal_to_the_source_after_any_weather,),
    "16": (codec.test_ticks_go_up_to_the_largest_number_of_the_wire,),
    "17": (
        fuzz.test_a_server_session_survives_anything_and_says_little_before_ready,
        fuzz.test_a_client_session_survives_anything,
        codec.test_bytes_at_random_are_a_message_or_a_fault,
    ),
    "18 certificates": (
        tls.test_a_client_knows_its_server_and_a_server_only_clients_with_certificates,
        tls.test_a_client_without_a_good_certificate_is_told_so,
    ),
}
"""More of them, where no connection is needed or a certain one."""

MISTAKES: Index = {
    "1 a late call is run again": (
        situations.retry_err_network_timeout,
        faults.test_a_call_expires_while_there_is_no_connection,
        server.test_a_call_that_has_waited_beyond_its_time_is_not_run,
    ),
    "2 steps are sent again": (stepping.every_transition_is_shown_as_it_was, stepping.an_answer_comes_after_its_steps),
    "3 a wrong sum is ignored": (
        faults.test_a_wrong_checksum_is_mended,
        situations.pushes_that_are_lost_doubled_and_swapped_converge,
    ),
    "4 a sync moves no base": (sync_modes.partial, sync_modes.no_schema, session.test_a_sync_on_request),
    "5 updates before the handshake is done": (server.test_what_changed_between_welcome_and_ready_follows_at_once,),
    "6 rights are asked for once": (
        b.grants_are_checked_on_every_request,
        server.test_nothing_but_hello_is_answered_first,
        server.test_requests_between_welcome_and_ready_close_the_connection,
    ),
    "7 the latest takes over": (
        b.a_second_client_is_told_to_come_later_and_the_first_is_undisturbed,
        server.test_only_the_session_itself_can_be_taken_over,
    ),
    "8 no timer after a reconnect": (situations.a_server_that_dials_pushes_again_after_it_has_dialled_again,),
    "9 shallow sums": (sync_modes.shallow_sync, growing.a_shallow_mirror_goes_on_counting),
    "10 indexes of another list": (
        sync_modes.partial_no_schema,
        b.a_schema_in_another_order_and_of_fewer_states_still_fits,
    ),
    "11 exports and trees": (
        sync_modes.export,
        b.three_levels_of_mirrors,
        stepping.a_mirror_of_a_mirror_shows_each_as_well,
    ),
    "12 a weak sum": (
        clock.test_swapped_ticks_give_another_checksum,
        clock.test_small_mistakes_do_not_cancel_out,
    ),
    "13 called states are cut for all": (situations.what_a_partial_mirror_is_told_changes_nothing_for_other_tracers,),
    "14 handlers stay": (situations.handlers_of_a_mirror_can_be_taken_away_again,),
    "15 queued counts as consumed": (
        b.a_payload_that_nobody_takes_fails_at_its_sender,
        faults.test_a_payload_is_not_acknowledged_while_its_consumer_has_not_decided,
        session.test_a_payload_that_is_only_buffered_is_not_settled,
    ),
    "16 a stop disposes, accepting spins": (
        b.a_client_can_be_stopped_and_started_again,
        mux.test_it_can_be_stopped_and_started_again,
        mux.test_its_states_tell_of_the_address_and_of_clients,
        mux.test_a_listener_that_ends_at_once_does_not_make_it_spin,
    ),
    "17 a page that listens": (
        repl.test_a_page_cannot_listen,
        repl.test_through_a_relay_it_is_called_by_one_repl,
    ),
    "18 pipes lose the order": (
        situations.a_quick_add_and_remove_pass_a_pipe_in_their_order,
        pipes.test_the_order_is_kept_while_the_target_is_busy,
    ),
    "19 errors are objects, or texts to guess from": (
        b.errors_of_a_mirror_reach_the_source_as_name_and_text,
        session.test_a_refused_call,
    ),
    "20 a connection that was handed over": (client.test_a_connection_that_was_handed_over_is_not_made_again,),
    "21 declared and dead": (
        payloads.test_after_its_time_nothing_more_of_a_payload_is_sent,
        faults.test_full_syncs_that_are_asked_for_are_counted_by_the_machines_of_both_sides,
        sync_modes.schema_filtering_sync,
        frames.test_every_message_has_a_golden_frame,
        fuzz.test_every_kind_of_message_is_tried,
    ),
}
"""Of the original, by number."""

SITUATIONS: Index = {
    "a hundred mutations during a cut of 5 s": (
        named.test_a_hundred_mutations_during_a_cut_of_five_seconds_come_with_one_exchange,
    ),
    "a slow consumer at 10,000 transitions": (named.test_a_slow_consumer_costs_no_memory_and_disturbs_nobody,),
    "a server that is restarted in the middle of a call": (
        faults.test_a_server_that_was_replaced_does_not_know_and_nothing_is_run_again,
    ),
    "two clients with one id": (clients.test_one_too_many_and_one_of_the_same_id_are_told_to_come_later,),
    "large ticks": (
        named.test_a_tick_beyond_what_javascript_can_count_arrives_exactly,
        server.test_ticks_up_to_the_largest_number_and_not_beyond,
    ),
    "values": (
        named.test_an_argument_arrives_equal,
        named.test_an_argument_that_cannot_arrive_is_refused_before_anything_is_sent,
    ),
    "a cancelled caller": (client.test_a_caller_that_is_cancelled_leaves_the_call_alone,),
    "if mirror.add(…)": (named.test_an_outcome_that_is_not_awaited_cannot_be_mistaken_for_one,),
    "a thousand mirrors": (named.test_a_thousand_mirrors_of_one_source_hear_of_one_change_with_one_frame_each,),
    "two servers of one source": (
        clients.test_two_servers_of_one_source_push_each_in_its_own_time_and_both_mirrors_end_equal,
    ),
    "origin and trace of every mutation": (
        tracing.test_every_kind_of_mutation_brings_its_origin_and_trace_to_the_handlers_of_the_source,
    ),
    "sessions that are kept": (
        kept.test_of_too_many_the_oldest_is_forgotten,
        kept.test_a_session_does_not_go_on_with_other_rights,
    ),
    "an idle mirror": (memory.test_an_idle_mirror_of_twenty_states_takes_less_than_24_kilobytes,),
    "64 MiB": (payloads.test_64_mebibytes_over_tcp_take_no_memory_but_their_own,),
}
"""That the plan names."""

COUNTED: Index = {
    "calls and bytes": (
        counted.test_a_handshake_with_a_known_schema,
        counted.test_a_mutation,
        counted.test_five_hundred_mutations_in_a_row,
        counted.test_idle_is_silent,
        loop.test_an_operation_of_the_loop_is_one_call_and_at_most_48_bytes,
        loop.test_the_handshake_of_a_known_schema_takes_at_most_250_bytes,
    ),
    "metrics": (
        counters.test_both_sides_of_a_session,
        counters.test_a_wrong_sum_is_told_apart_from_a_message_that_is_missing,
        counters.test_the_backlog_is_the_most_that_ever_waited_to_be_sent,
        counters.test_both_sides_tell_the_round_trip_once_they_have_asked,
    ),
    "pipelining": (
        b.calls_arrive_in_their_order_and_are_not_waited_for,
        direct.test_answers_to_calls_that_came_together_leave_together,
    ),
}
"""What is promised in numbers."""


def proofs(*indexes: Index) -> Iterable[tuple[str, Proof]]:
    for index in indexes:
        for name, found in index.items():
            assert found, f"{name} has no proof"
            for proof in found:
                yield name, proof


def is_test(proof: Proof) -> bool:
    """Whether pytest finds it where it stands."""
    module = proof.__module__.rpartition(".")[2]
    return module.startswith("test_") and proof.__name__.startswith("test_")


def parameters(test: Proof) -> dict[str, Any]:
    """The marks that give a test its parameters, by their names."""
    marks = getattr(test, "pytestmark", [])
    return {str(mark.args[0]): mark for mark in marks if mark.name == "parametrize"}


def nets_of(proof: Proof) -> set[str]:
    """The connections that a function is run on."""
    if proof in ALL:
        return set(NETS) if proof in IN_BROWSER else set(WHOLE)
    marks = parameters(proof).values()
    values = [str(value) for mark in marks for value in (mark.kwargs.get("ids") or mark.args[1])]
    return {net for net in NETS if any(value.partition(":")[0] == net for value in values)}


def test_nothing_of_the_lists_is_missing() -> None:
    assert (len(NAMED), len(MACHINE)) == (24, 38)
    numbers = {int(name.partition(" ")[0]) for name in (*ADDITIONAL, *MORE)}
    assert numbers == set(range(1, 19))
    assert {int(name.partition(" ")[0]) for name in MISTAKES} == set(range(1, 22))


def test_each_proof_is_run() -> None:
    for name, proof in proofs(NAMED, MACHINE, ADDITIONAL, MORE, MISTAKES, SITUATIONS, COUNTED):
        assert proof in ALL or is_test(proof), name


def test_the_checklist_is_whole_on_memory_and_tcp() -> None:
    assert set(WHOLE) == {"memory", "tcp"}
    for name, proof in proofs(NAMED, MACHINE, ADDITIONAL):
        assert nets_of(proof) >= set(WHOLE), name


def test_every_other_transport_carries_the_marked_part() -> None:
    assert set(NETS) >= {"unix", "tls", "websocket", "wss", "port"}
    marked = {name for name, proof in proofs(NAMED, MACHINE, ADDITIONAL) if proof in IN_BROWSER}
    assert {"Basic", "Waiting", "ClockPush", "Payload", "MutationsSync", "WhenArgs", "WhenCtx"} <= marked


def test_chromium_carries_the_whole_marked_part() -> None:
    test = runpy.run_path(str(CHROMIUM))["test_behaviour"]
    found = {name: mark.args[1] for name, mark in parameters(test).items()}
    assert found["net"] == ["port", "websocket"]
    assert [each.__name__ for each in IN_BROWSER if each not in found["found"]] == []
