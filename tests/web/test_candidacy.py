"""Who leads among the pages of an application, in a browser that is made up: a lock, a channel, and no time."""

from __future__ import annotations

from collections.abc import Sequence

from asyncmachine_web.page.candidacy import PATIENCE, Act, Candidacy


class Browser:
    """Its lock, and pages that have not left."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Page, int]] = []
        self.holder: tuple[Page, int] | None = None
        self.pages: list[Page] = []

    def grant(self) -> None:
        if self.holder is None and self.waiting:
            page, request = self.holder = self.waiting.pop(0)
            acts = page.candidacy.granted(request)
            page.do(acts)
            if not acts:
                self.release(page)

    def release(self, page: Page) -> None:
        self.waiting = [(other, request) for other, request in self.waiting if other is not page]
        if self.holder is not None and self.holder[0] is page:
            self.holder = None
            self.grant()


class Page:
    """Keeps what it was told; one that is not `awake` hears nothing, as one does that stands still."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.candidacy = Candidacy()
        self.told: list[str] = []
        self.asked = 0
        self.awake = True
        self.visible = True
        self.requests = 0
        browser.pages.append(self)
        self.request()

    def request(self) -> None:
        self.requests += 1
        self.browser.waiting.append((self, self.requests))
        self.browser.grant()

    def steal(self) -> None:
        robbed, self.browser.holder = self.browser.holder, None
        self.browser.waiting = [each for each in self.browser.waiting if each[0] is not self]
        self.requests += 1
        self.browser.waiting.insert(0, (self, self.requests))
        self.browser.grant()
        if robbed is not None:
            page, request = robbed
            page.do(page.candidacy.lost(request))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.do(self.candidacy.tick(visible=self.visible))

    def leave(self) -> None:
        self.do(self.candidacy.leave())

    def do(self, acts: Sequence[Act]) -> None:
        for act in acts:
            match act:
                case Act.HERE | Act.THERE:
                    self.asked += act is Act.THERE
                    self.say(act.value)
                case Act.STEAL:
                    self.steal()
                case Act.LEAD | Act.OUSTED:
                    self.told.append(act.value)
                case Act.END:
                    self.browser.pages.remove(self)
                    self.browser.release(self)

    def say(self, word: str) -> None:
        for page in list(self.browser.pages):
            if page is not self and page.awake:
                page.do(page.candidacy.heard(word))


def three() -> tuple[Page, Page, Page]:
    browser = Browser()
    return Page(browser), Page(browser), Page(browser)


def told(*pages: Page) -> list[list[str]]:
    return [page.told for page in pages]


def test_the_next_leads_when_the_first_leaves() -> None:
    first, second, third = three()
    assert told(first, second, third) == [["lead"], [], []]
    first.leave()
    assert told(first, second, third) == [["lead"], ["lead"], []]


def test_who_stopped_waiting_never_leads() -> None:
    first, second, third = three()
    second.leave()
    first.leave()
    assert told(second, third) == [[], ["lead"]]


def test_who_has_left_gives_back_a_lock_that_comes_late_and_ends_once() -> None:
    candidacy = Candidacy()
    assert candidacy.leave() == [Act.END]
    assert candidacy.granted(1) == []
    assert candidacy.lost(1) == []
    assert candidacy.leave() == []
    assert not candidacy.leads


def test_who_has_left_answers_for_nobody() -> None:
    first, second, third = three()
    first.leave()
    second.awake = False
    third.tick(PATIENCE + 1)
    assert told(first, second, third) == [["lead"], ["lead", "ousted"], ["lead"]]
    assert first.candidacy.heard(Act.THERE.value) == []


def test_a_leader_that_answers_is_left_alone_and_asks_nobody() -> None:
    first, second, _ = three()
    first.tick(3 * PATIENCE)
    second.tick(3 * PATIENCE)
    assert told(first, second) == [["lead"], []]
    assert (first.asked, second.asked) == (0, 3 * PATIENCE)


def test_a_leader_that_does_not_answer_is_ousted_after_so_many_questions_and_knows() -> None:
    first, second, _ = three()
    first.awake = False
    second.tick(PATIENCE)
    assert told(first, second) == [["lead"], []]
    second.tick()
    assert told(first, second) == [["lead", "ousted"], ["lead"]]
    assert second.asked == PATIENCE
    assert not first.candidacy.leads


def test_a_page_that_nobody_sees_ousts_nobody_and_begins_anew_when_it_is_seen() -> None:
    """Its timers are slowed down, and those of the others may be, too."""
    first, second, _ = three()
    first.awake = False
    second.tick(PATIENCE)
    second.visible = False
    second.tick(3 * PATIENCE)
    assert second.asked == PATIENCE
    second.visible = True
    second.tick(PATIENCE)
    assert told(first, second) == [["lead"], []]
    second.tick()
    assert told(first, second) == [["lead", "ousted"], ["lead"]]


def test_one_answer_begins_the_count_anew() -> None:
    first, second, third = three()
    first.awake = False
    second.tick(PATIENCE)
    third.tick()
    first.awake = True
    third.tick()  # all hear the answer
    first.awake = False
    second.tick(PATIENCE)
    assert told(first, second, third) == [["lead"], [], []]
    second.tick()
    assert told(first, second, third) == [["lead", "ousted"], ["lead"], []]


def test_a_wait_that_was_given_up_ousts_nobody_however_late_that_is_told() -> None:
    """The browser tells it as an error of that request, as it tells that the lock was taken away."""
    candidacy = Candidacy()
    for _ in range(PATIENCE):
        assert candidacy.tick(visible=True) == [Act.THERE]
    assert candidacy.tick(visible=True) == [Act.STEAL]
    assert candidacy.granted(2) == [Act.HERE, Act.LEAD]
    assert candidacy.lost(1) == []
    assert candidacy.leads
    assert candidacy.lost(2) == [Act.END, Act.OUSTED]
    assert not candidacy.leads


def test_a_wait_that_failed_before_the_lock_came_changes_nothing() -> None:
    candidacy = Candidacy()
    assert candidacy.lost(1) == []
    assert candidacy.granted(2) == [Act.HERE, Act.LEAD]


def test_a_second_lock_is_given_back() -> None:
    candidacy = Candidacy()
    assert candidacy.granted(1) == [Act.HERE, Act.LEAD]
    assert candidacy.granted(2) == []
    assert candidacy.lost(2) == []
    assert candidacy.leads
