import pytest

from examples.wasm_workflow import settings
from examples.wasm_workflow.settings import Settings, SettingsError


def read(*argv: str, **environ: str) -> Settings:
    return settings.read(argv, environ, random_seed=lambda: 42)


def test_without_any_setting_the_demo_is_for_watching() -> None:
    assert read() == Settings(seed=42, success_rate=5, hash_iterations=settings.DEMO_ITERATIONS, port=14050)


def test_headless_runs_are_quick_unless_told_otherwise() -> None:
    assert read("--headless").hash_iterations == 10_000
    assert read(HEADLESS="1").hash_iterations == 10_000
    assert read("--headless", "--hash-iterations", "5").hash_iterations == 5


def test_the_command_line_wins_over_the_environment() -> None:
    assert read("--seed", "1", SEED="2").seed == 1
    assert read(SEED="2", SUCCESS_RATE="500", HASH_ITERATIONS="7", PORT="0") == Settings(
        seed=2, success_rate=500, hash_iterations=7, port=0
    )
    assert not read("--headless", "0", HEADLESS="1").headless


@pytest.mark.parametrize(("text", "on"), [("1", True), ("yes", True), ("True", True), ("0", False), ("no", False)])
def test_switches_may_be_words(text: str, on: bool) -> None:
    assert read(HEADLESS=text).headless is on


def test_a_variable_that_is_set_to_nothing_is_not_set() -> None:
    assert read(SEED="", SUCCESS_RATE="", HEADLESS="") == read()


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("--success-rate", "1"), "SUCCESS_RATE=1: no run could ever succeed"),
        (("--success-rate", "2"), "at least 3 is needed"),
        (("--success-rate", "-5"), "no run could ever succeed"),
        (("--hash-iterations", "0"), "HASH_ITERATIONS=0: must be from 1"),
        (("--hash-iterations", "99999999"), "a node has 30 s"),
        (("--seed", "-1"), "SEED=-1: must not be negative"),
        (("--seed", "seven"), "SEED=seven: must be a whole number"),
        (("--port", "65536"), "PORT=65536: must be from 0 to 65535"),
        (("--headless", "maybe"), "HEADLESS=maybe: must be 0 or 1"),
        (("--sede", "7"), "see --help"),
    ],
)
def test_impossible_settings_are_refused_with_the_reason(argv: tuple[str, ...], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        read(*argv)


def test_a_fresh_seed_is_short() -> None:
    assert 0 <= settings.read((), {}).seed < 1_000_000
