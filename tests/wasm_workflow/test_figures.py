from examples.wasm_workflow import story
from examples.wasm_workflow.figures import MOST_LINES, Gauges, Story


class Clock:
    """Time that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_story_counts_from_the_beginning_of_its_run() -> None:
    clock = Clock()
    told = Story(clock)
    told.tell(story.RunBegan(1, 7))
    clock.now = 101.5
    told.tell(story.RoundBegan(1))
    told.tell(story.RunBegan(2, 7))
    assert [(line.number, line.at, line.tone) for line in told.lines] == [
        (0, 0.0, "plain"),
        (1, 1.5, "plain"),
        (2, 0.0, "plain"),
    ]
    assert [line.text for line in told.since(2)] == ["run 2 begins with seed 7"]


def test_a_long_story_forgets_its_beginning_and_keeps_its_numbers() -> None:
    told = Story(Clock())
    for number in range(MOST_LINES + 10):
        told.tell(story.RoundBegan(number))
    assert len(told.lines) == MOST_LINES
    assert (told.lines[0].number, told.lines[-1].number) == (10, MOST_LINES + 9)


def test_latency_is_from_the_order_until_the_node_is_at_work() -> None:
    clock = Clock()
    gauges = Gauges(clock)
    gauges.at_work("browser1")
    assert gauges.latency == {}, "nobody had asked"
    gauges.asked("browser1")
    clock.now += 0.25
    gauges.at_work("browser1")
    assert gauges.latency == {"browser1": 0.25}


def test_bytes_add_up_over_all_connections() -> None:
    gauges = Gauges(Clock())
    for size in (10, 20):
        gauges.carried("browser2", size)
    assert gauges.bytes == {"browser2": 30}
