"""How runs share a pool."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.place.share import _amount, _Level, _shares, _three, grant, shares
from headrace.spec.claim import Amount, Claim

CAPACITY = Amount(cpu=8, memory_gib=32, gpus=4)
NOTHING = Amount()
PARTS = ("cpu", "memory_gib", "gpus")


def cpus(cpu: float) -> Amount:
    return Amount(cpu=cpu)


def test_a_run_alone_gets_all_of_the_pool_whatever_it_wants() -> None:
    assert grant(CAPACITY, [Claim(want=cpus(1))], 0) == CAPACITY


def test_a_run_beside_idle_ones_gets_all_of_the_pool() -> None:
    assert grant(CAPACITY, [Claim(want=cpus(0)), Claim(want=cpus(1))], 1) == CAPACITY


def test_two_runs_that_want_everything_get_half_each() -> None:
    claims = [Claim(want=cpus(8), least=cpus(1)), Claim(want=cpus(8), least=cpus(1))]
    assert shares(CAPACITY, claims) == [cpus(4), cpus(4)]


def test_what_one_run_does_not_want_goes_to_the_others() -> None:
    claims = [Claim(want=cpus(1)), Claim(want=cpus(8)), Claim(want=cpus(8))]
    assert [each.cpu for each in shares(CAPACITY, claims)] == [1, 4, 3]


def test_what_is_in_use_stays_though_it_is_more_than_a_fair_share() -> None:
    claims = [Claim(want=cpus(8), used=cpus(7), held=cpus(8)), Claim(want=cpus(8))]
    assert [each.cpu for each in shares(CAPACITY, claims)] == [7, 1]
    assert grant(CAPACITY, claims, 0).cpu == 7


def test_a_grant_is_no_more_than_what_the_others_were_not_granted() -> None:
    claims = [Claim(want=cpus(8), used=cpus(2), held=cpus(8)), Claim(want=cpus(8))]
    assert grant(CAPACITY, claims, 1).cpu == 0, "the first may still start attempts within its grant"
    claims[0] = Claim(want=cpus(8), used=cpus(2), held=grant(CAPACITY, claims, 0))
    assert grant(CAPACITY, claims, 1).cpu == 4


def test_shares_are_equal_in_the_resource_that_each_run_wants_most_of() -> None:
    claims = [
        Claim(want=Amount(cpu=8, memory_gib=8), least=Amount(cpu=1, memory_gib=1)),
        Claim(want=Amount(cpu=8, memory_gib=256), least=Amount(cpu=1, memory_gib=8)),
    ]
    first, second = shares(CAPACITY, claims)
    assert (first.cpu, second.memory_gib) == (5, 24), "5 of 8 cpus, 3 of 4 quarters of the memory"


def test_what_is_free_is_held_back_for_an_attempt_that_needs_more_than_its_share() -> None:
    big = Claim(want=cpus(6), least=cpus(6))
    claims = [big, Claim(want=cpus(8), used=cpus(4), held=cpus(4), least=cpus(1))]
    assert [each.cpu for each in shares(CAPACITY, claims)] == [0, 4], "4 are free, and wait for 2 more"
    claims[1] = Claim(want=cpus(8), used=cpus(2), held=cpus(2), least=cpus(1))
    assert [each.cpu for each in shares(CAPACITY, claims)] == [6, 2]


def test_after_its_turn_a_large_attempt_comes_after_those_that_waited() -> None:
    whole = Claim(want=cpus(8), least=cpus(8), served=7)
    waited = Claim(want=cpus(8), least=cpus(1), served=3)
    assert shares(CAPACITY, [whole, waited])[1].cpu == 8


def test_nothing_is_held_back_for_a_run_that_has_something_in_use() -> None:
    claims = [Claim(want=cpus(8), least=cpus(3)), Claim(want=cpus(8), least=cpus(1))]
    assert [each.cpu for each in shares(CAPACITY, claims)] == [3, 5]


def test_what_can_never_fit_holds_nothing_back() -> None:
    claims = [Claim(want=cpus(99), least=cpus(99)), Claim(want=cpus(8))]
    assert [each.cpu for each in shares(CAPACITY, claims)] == [0, 8]


def test_where_all_that_is_wanted_fits_each_run_gets_it_even_less_than_an_attempt() -> None:
    claims = [Claim(want=cpus(3.5), used=cpus(3), least=cpus(1)), Claim(want=cpus(4), least=cpus(4))]
    assert [each.cpu for each in shares(CAPACITY, claims)] == [3.5, 4]
    claims = [Claim(want=cpus(3.5), used=cpus(3), least=cpus(1)), Claim(want=cpus(5), least=cpus(1))]
    assert [each.cpu for each in shares(CAPACITY, claims)] == [3, 5], "half an attempt too much: no rest is handed out"


def test_gpus_go_out_whole() -> None:
    claims = [Claim(want=Amount(cpu=4, gpus=4), least=Amount(cpu=1, gpus=1)) for _ in range(3)]
    assert [each.gpus for each in shares(CAPACITY, claims)] == [2, 1, 1]


def test_thousands_of_runs_share_a_large_pool_to_within_one_attempt() -> None:
    total = Amount(cpu=100_000, memory_gib=1e6, gpus=10_000)
    claims = [Claim(want=cpus(1e6), least=cpus(1)) for _ in range(3000)]
    found = [each.cpu for each in shares(total, claims)]
    assert sum(found) == 100_000
    assert max(found) - min(found) <= 1


def one_by_one(capacity: Amount, claims: list[Claim]) -> list[dict[str, float]]:
    """Hand out the free resources of a pool attempt by attempt, as the rules say it, for wants of whole attempts."""
    total = {part: float(getattr(capacity, part)) for part in PARTS}
    has = [{part: float(getattr(claim.used, part)) for part in PARTS} for claim in claims]
    need = [{part: float(getattr(claim.least, part)) for part in PARTS} for claim in claims]
    free = {part: total[part] - sum(each[part] for each in has) for part in PARTS}

    def place(i: int) -> tuple[float, int, int]:
        return max(has[i][part] / total[part] if total[part] else 0.0 for part in PARTS), claims[i].served, i

    first = sorted(range(len(claims)), key=place)
    got: set[int] = set()
    waiting = set(first)
    while waiting:
        i = min(waiting, key=place)
        wants_more = all(has[i][part] + need[i][part] <= getattr(claims[i].want, part) for part in PARTS)
        if wants_more and all(need[i][part] <= free[part] for part in PARTS):
            has[i] = {part: has[i][part] + need[i][part] for part in PARTS}
            free = {part: free[part] - need[i][part] for part in PARTS}
            got.add(i)
            continue
        waiting.remove(i)
        was_passed = any(each in got for each in first[: first.index(i)])
        is_reserved = wants_more and not any(has[i].values()) and not was_passed
        if is_reserved and all(need[i][part] <= total[part] for part in PARTS):
            free = {part: max(0.0, free[part] - need[i][part]) for part in PARTS}
    return has


@st.composite
def claims_of_whole_attempts(draw: st.DrawFn) -> list[Claim]:
    found, room = [], {"cpu": 100.0, "memory_gib": 64.0, "gpus": 16.0}
    for _ in range(draw(st.integers(1, 8))):
        need = {
            "cpu": draw(st.sampled_from([0.5, 1, 2, 6])),
            "memory_gib": draw(st.sampled_from([0, 1, 8])),
            "gpus": draw(st.sampled_from([0, 0, 1, 2])),
        }
        want = draw(st.sampled_from([1, 3, 10, 99]))
        used = draw(st.sampled_from([0, 0, 1, min(3, want)]))
        if any(used * need[part] > room[part] for part in PARTS):
            used = 0
        room = {part: room[part] - used * need[part] for part in PARTS}
        wanted, in_use = ({part: times * need[part] for part in PARTS} for times in (want, used))
        found.append(
            Claim(
                want=Amount(**wanted), used=Amount(**in_use), held=Amount(**in_use), least=Amount(**need),
                served=draw(st.integers(0, 3)),
            )
        )  # fmt: skip
    return found


@settings(max_examples=300)
@given(claims=claims_of_whole_attempts())
def test_several_attempts_at_once_give_what_one_by_one_gives(claims: list[Claim]) -> None:
    capacity = Amount(cpu=100, memory_gib=64, gpus=16)
    for claim, found, expected in zip(claims, shares(capacity, claims), one_by_one(capacity, claims), strict=True):
        for part in PARTS:
            assert abs(getattr(found, part) - expected[part]) <= getattr(claim.least, part) + 1e-6


@st.composite
def claims_of_runs_that_want_various_things(draw: st.DrawFn) -> list[Claim]:
    """Claims of amounts that floats hold exactly. What a run wants or uses needn't be of the form of its attempts."""
    room, found = {"cpu": 128.0, "memory_gib": 64.0, "gpus": 16.0}, []
    sizes = {"cpu": [0, 0.5, 1, 4], "memory_gib": [0, 0.5, 2, 8], "gpus": [0, 0, 1, 2]}
    totals = {"cpu": [0, 3, 20, 99], "memory_gib": [0, 5, 20, 50], "gpus": [0, 1, 4, 16]}
    for _ in range(draw(st.integers(2, 6))):
        need, want, used = (dict.fromkeys(PARTS, 0.0) for _ in range(3))
        times, in_use = draw(st.sampled_from([1, 3, 10, 99])), draw(st.sampled_from([0, 0, 1, 3]))
        for part in PARTS:
            need[part] = draw(st.sampled_from(sizes[part]))
            is_even = draw(st.booleans())
            want[part] = times * need[part] if is_even else draw(st.sampled_from(totals[part]))
            used[part] = min(room[part], in_use * need[part] if is_even else draw(st.sampled_from(totals[part])) // 4)
            room[part] -= used[part]
        need["cpu"] = need["cpu"] if any(need.values()) else 1.0  # or the size is computed, and rounded
        amount, in_all = Amount(**used), Amount(**{part: max(want[part], used[part]) for part in PARTS})
        least = Amount(**need)
        found.append(Claim(want=in_all, used=amount, held=amount, least=least, served=draw(st.integers(0, 3))))
    return found


def each_alone(capacity: Amount, claims: list[Claim]) -> list[Amount]:
    total = _three(capacity)
    return [_amount(_shares(total, claims, asks)[asks]) for asks in range(len(claims))]


@settings(max_examples=500)
@given(claims=claims_of_runs_that_want_various_things())
def test_several_attempts_at_once_give_exactly_what_single_ones_give(claims: list[Claim]) -> None:
    capacity = Amount(cpu=128, memory_gib=64, gpus=16)
    found = shares(capacity, claims)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Level, "attempts", lambda *_: 1)
        assert shares(capacity, claims) == found
    assert each_alone(capacity, claims) == found, "to stop early changes nothing for the run that asks"


amounts = st.builds(
    Amount,
    cpu=st.integers(0, 32).map(lambda n: n / 2),
    memory_gib=st.integers(0, 128).map(lambda n: n / 2),
    gpus=st.integers(0, 6),
)


@st.composite
def claims_within(draw: st.DrawFn) -> list[Claim]:
    """Claims whose grants fit the capacity together, as the ledger keeps them, each using some of its own."""
    room = {part: float(getattr(CAPACITY, part)) for part in PARTS}
    found = []
    for _ in range(draw(st.integers(1, 5))):
        held = {part: draw(st.integers(0, int(room[part]))) for part in PARTS}
        used = {part: draw(st.integers(0, held[part])) for part in PARTS}
        room = {part: room[part] - held[part] for part in PARTS}
        found.append(
            Claim(
                want=draw(amounts),
                least=draw(amounts),
                held=Amount(**held),
                used=Amount(**used),
                served=draw(st.integers(0, 3)),
            )
        )
    return found


@given(claims=claims_within(), data=st.data())
def test_grants_never_pass_the_capacity_nor_take_what_is_in_use(claims: list[Claim], data: st.DataObject) -> None:
    asks = data.draw(st.integers(0, len(claims) - 1))
    given_now = grant(CAPACITY, claims, asks)
    for part in PARTS:
        others = sum(getattr(each.held, part) for i, each in enumerate(claims) if i != asks)
        assert others + getattr(given_now, part) <= getattr(CAPACITY, part) + 1e-6
        assert getattr(given_now, part) >= getattr(claims[asks].used, part)


@given(claims=claims_within())
def test_no_share_is_more_than_is_wanted_and_all_together_fit(claims: list[Claim]) -> None:
    found = shares(CAPACITY, claims)
    for part in PARTS:
        assert sum(getattr(each, part) for each in found) <= getattr(CAPACITY, part) + 1e-6
        for claim, share in zip(claims, found, strict=True):
            most = max(getattr(claim.want, part), getattr(claim.used, part))
            assert getattr(claim.used, part) <= getattr(share, part) <= most + 1e-6


@given(
    wants=st.lists(st.integers(0, 20), min_size=2, max_size=5),
)
def test_shares_in_steps_of_one_are_max_min_fair_to_within_a_step(wants: list[int]) -> None:
    found = [each.cpu for each in shares(CAPACITY, [Claim(want=cpus(want), least=cpus(1)) for want in wants])]
    assert sum(found) == min(8, sum(wants))
    for want, share in zip(wants, found, strict=True):
        if share < want:
            assert share >= max(found) - 1, "nobody has a step more than one that wants more"


@dataclass
class SimulatedRun:
    """A run that always has more attempts of one size to start, each of which takes so many ticks."""

    need: int
    ticks: int
    ends: list[int] = field(default_factory=list)
    held: Amount = NOTHING
    served: int = 0
    last_start: int = 0

    def claim(self) -> Claim:
        used = cpus(len(self.ends) * self.need)
        return Claim(want=cpus(99), least=cpus(self.need), used=used, held=self.held, served=self.served)


@settings(max_examples=50)
@given(
    runs=st.lists(st.builds(SimulatedRun, need=st.integers(1, 8), ticks=st.integers(1, 5)), min_size=1, max_size=5),
    data=st.data(),
)
@example(runs=[SimulatedRun(8, 5), SimulatedRun(1, 1), SimulatedRun(1, 5), SimulatedRun(5, 2)], data=None)
def test_no_run_starves_whatever_the_sizes_of_attempts(runs: list[SimulatedRun], data: st.DataObject | None) -> None:
    patience = 2 * len(runs) * (max(run.ticks for run in runs) + 2)
    epoch = 0
    for tick in range(6 * patience):
        order = range(len(runs)) if data is None or tick > 40 else data.draw(st.permutations(range(len(runs))))
        for i in order:
            run, epoch = runs[i], epoch + 1
            run.ends = [end for end in run.ends if end > tick]
            given_now = grant(cpus(8), [each.claim() for each in runs], i)
            if given_now.cpu > run.held.cpu:
                run.served = epoch
            run.held = given_now
            assert sum(each.held.cpu for each in runs) <= 8
            while (len(run.ends) + 1) * run.need <= run.held.cpu:
                run.ends.append(tick + run.ticks)
                run.last_start = tick
            assert tick - run.last_start <= patience, f"{run} starves"
