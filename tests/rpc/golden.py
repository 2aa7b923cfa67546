"""Golden frames: every message of v1 in hexadecimal, with its meaning. A change here is a change of the protocol.

They stand in docs/protocol.md too, for those who write a client in another language.
"""

from __future__ import annotations

from asyncmachine.rpc import messages as m

ZEROS = "78019beec4ce7287fd02c328180d81d110180d81d110180d81d11018f221c0ccc00a0055db02a0"
"""A Full, compressed. Others may compress it in another way; all read it."""

GOLDEN: list[tuple[m.Message, str, str]] = [
    (
        m.Hello("amrpc", (1, 1), "rc-x"),
        "9401a5616d727063920101a472632d78",
        "All that a client has to say: kind 1, the magic word, the versions it speaks, its id",
    ),
    (
        m.Hello(
            "amrpc",
            (1, 2),
            "rc-x",
            "t",
            m.Sync(schema=True, hash=b"\x01\x02"),
            m.Resume(b"s1", 7, 300),
            ("zlib",),
            m.Limits(1048576, 16),
        ),
        "9901a5616d727063920102a472632d78a17492c3c402010293c402733107cd012c91a47a6c696292ce0010000010",
        "With token, schema hash, an earlier session to continue, features and limits",
    ),
    (
        m.Hello("amrpc", (1, 1), "rc-x", "", m.Sync(False, b"", ("A",), ("B",), True)),
        "9601a5616d727063920101a472632d78a095c2c40091a14191a142c3",
        "Wants one state, leaves one out, and counts no ticks, only whether states are active",
    ),
    (
        m.Welcome(1, b"s1", 7, 0, (), None, "src", None, None, b"\x01\x02", (0, 1, 4), 9, 0),
        "9e0201c4027331070090c0a3737263c0c0c4020102930001040900",
        "The schema is known: neither names nor schema; three ticks, queue tick 9",
    ),
    (
        m.Welcome(
            1, b"s1", 7, 0, (), None, "src", ("A",), {"A": {}}, b"", (1,), 2, 0, m.GrantList(["A"], ["*"], []), True
        ),
        "dc00100201c4027331070090c0a373726391a14181a14180c400910102009391a14191a12a90c3",
        "With names, schema and grants; an earlier session goes on",
    ),
    (
        m.Reject("BUSY", "later", 1.5),
        "9403a442555359a56c61746572cb3ff8000000000000",
        "Come back in one and a half seconds",
    ),
    (
        m.Reject("FORBIDDEN"),
        "9203a9464f5242494444454e",
        "And never come back",
    ),
    (
        m.Ready(b"s1"),
        "9204c4027331",
        "The welcome is applied",
    ),
    (
        m.Ping(1),
        "920501",
        "Are you there?",
    ),
    (
        m.Ping(1, 0.0, 9),
        "940501cb000000000000000009",
        "… and my last clock message was number 9",
    ),
    (
        m.Pong(1, 2.0),
        "930601cb4000000000000000",
        "I am; the time is the one that was sent",
    ),
    (
        m.Bye(),
        "9107",
        "A goodbye with all its defaults",
    ),
    (
        m.Bye("done", False),
        "9307a4646f6e65c2",
        "A goodbye for good",
    ),
    (
        m.GoAway(8000),
        "9208cd1f40",
        "This connection ends within 8 s: make another one",
    ),
    (
        m.GoAway(0, "restart"),
        "930800a772657374617274",
        "… ends now, and why",
    ),
    (
        m.Compressed(bytes.fromhex(ZEROS)),
        "9209c427" + ZEROS,
        "Everything of 2,000 states that were never active, as the answer to question 4: 43 bytes for 2,010",
    ),
    (
        m.Add(1, (2,)),
        "9310019102",
        "A mutation in five bytes: call 1 adds state 2",
    ),
    (
        m.Add(1, (2, 300), {"a": 1}, m.Source("m", "t", 5)),
        "9510019202cd012c81a1610193a16da17405",
        "With arguments and the transition it came from; state numbers above 127 take more bytes",
    ),
    (
        m.Remove(2, (0,)),
        "9311029100",
        "Call 2 removes state 0",
    ),
    (
        m.Set(3, ()),
        "93120390",
        "Call 3 deactivates everything",
    ),
    (
        m.AddUnanswered(4, (2,)),
        "9313049102",
        "No answer is wanted",
    ),
    (
        m.Add(1, (2,), None, None, 1000, bytes(25)),
        "9710019102c0c0cd03e8c419" + "00" * 25,
        "To be run within a second, in a trace",
    ),
    (
        m.SyncRequest(4),
        "921404",
        "Send everything; the question has number 4",
    ),
    (
        m.ArgsRequest(5),
        "921505",
        "Which arguments do the states take? The question has number 5",
    ),
    (
        m.Can(6, (2,)),
        "9318069102",
        "Could state 2 be added now?",
    ),
    (
        m.Can(7, (2,), True, {"n": 1}),
        "9518079102c381a16e01",
        "Could it be removed, with n = 1?",
    ),
    (
        m.Reply(5, False, ("Upload.path",)),
        "943205c291ab55706c6f61642e70617468",
        "The answer to question 5",
    ),
    (
        m.Reply(6, True),
        "933206c3",
        "It could",
    ),
    (
        m.Reply(7, False, (), "FORBIDDEN"),
        "953207c290a9464f5242494444454e",
        "This client may not ask that",
    ),
    (
        m.WhenArgs(1, 2),
        "93160102",
        "Tell when state 2 is called",
    ),
    (
        m.WhenArgs(1, 2, {"n": 1}),
        "9416010281a16e01",
        "… with n = 1",
    ),
    (
        m.WhenCancel(1),
        "921701",
        "Not any more",
    ),
    (
        m.WhenFired(1, 5),
        "93600105",
        "It was called; its tick is 5 now",
    ),
    (
        m.WhenFired(1, 0, "NO_STATE"),
        "94600100a84e4f5f5354415445",
        "There is no such state",
    ),
    (
        m.Result(1),
        "923001",
        "Call 1 was executed, and no tick has changed",
    ),
    (
        m.Result(1, 1),
        "93300101",
        "Call 1 was canceled",
    ),
    (
        m.Result(1, 0, 5, 1, 0, (2, 1), 0xDEADBEEF),
        "98300100050100920201cedeadbeef",
        "Executed; clock message 5: queue tick + 1, state 2 + 1, then the seal",
    ),
    (
        m.Result(1, 1, 6, 1, hash=7, reason="B requires A"),
        "9930010106010090" + "07" + "ac42207265717569726573" + "2041",
        "Canceled, and why; clock message 6: queue tick + 1",
    ),
    (
        m.Error(1, "NO_STATE"),
        "933101a84e4f5f5354415445",
        "Call 1 failed",
    ),
    (
        m.Error(0, "INTERNAL", "m", "ErrRpc", True, {"a": 1}),
        "973100a8494e5445524e414ca16da6457272527063c381a16101",
        "The session failed, with everything that can be told",
    ),
    (
        m.ClockPush(6, 1, 0, (0, 1, 4, 2), 0x01020304),
        "96400601009400010402ce01020304",
        "Clock message 6: state 0 + 1, state 4 + 2",
    ),
    (
        m.ClockSteps(9, (m.Step(0, (2,), 1, (2, 1)), m.Step(1, (2,), 1, (2, 1)), m.Step(2, (0,), 1, (), False)), 0, 5),
        "954109939500910201920201c39501910201920201c3950291000190c20005",
        "Clock message 9: state 2 was added, was removed, and a Set of state 0 was canceled",
    ),
    (
        m.Full(7, 4, (1, 2), 3, 0, 5),
        "97420704920102030005",
        "Everything, as the answer to question 4",
    ),
    (
        m.Grown(8, 0, ("A", "B"), None, (1, 0), 3, 0, 5),
        "9943080092a141a142c0920100030005",
        "State B is new; the client has not asked for a schema",
    ),
    (
        m.Grown(8, 4, ("A", "B"), {"B": {"require": ["A"]}}, (1, 0), 3, 0, 5),
        "9943080492a141a14281a14281a77265717569726591a141920100030005",
        "The same as an answer, with the definition of B",
    ),
    (
        m.Upstream(away=True),
        "9244c3",
        "The source is a mirror that has lost its own source",
    ),
    (
        m.Upstream(away=False),
        "9244c2",
        "… and is back",
    ),
    (
        m.Payload(b"tok", "name"),
        "9350c403746f6ba46e616d65",
        "A payload without data",
    ),
    (
        m.Payload(b"tok", "name", "src", "tx", "rc-x", {"r": 1}, b"\x00"),
        "9850c403746f6ba46e616d65a3737263a27478a472632d7881a17201c40100",
        "With source, transition, destination, metadata and data",
    ),
    (
        m.Payload(b"tok", "name", size=2_000_000),
        "9a50c403746f6ba46e616d65a0a0a0c0c0c400ce001e8480",
        "A payload of two million bytes is announced",
    ),
    (
        m.Chunk(b"tok", 65536, b"\x00"),
        "9451c403746f6bce00010000c40100",
        "Its data go on from byte 65,536",
    ),
    (
        m.Chunk(b"tok", 0, b"\x00", bytes(32)),
        "9551c403746f6b00c40100c420" + "00" * 32,
        "The last part, with the SHA-256 of all",
    ),
    (
        m.PayloadAck(b"tok", consumed=False, received=131072),
        "9452c403746f6bc2ce00020000",
        "So many bytes have come; go on",
    ),
    (
        m.PayloadWithdrawn(b"tok"),
        "9254c403746f6b",
        "It will not come any more",
    ),
    (
        m.PayloadAck(b"tok"),
        "9252c403746f6b",
        "The payload is consumed",
    ),
    (
        m.PayloadNack(b"tok", "REFUSED", "no"),
        "9453c403746f6ba752454655534544a26e6f",
        "The payload is refused",
    ),
]
