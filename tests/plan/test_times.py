"""A plan's range of times holds what a run then takes."""

from __future__ import annotations

from random import Random

from headrace.plan.times import Beside, Times, Took

CPUS = 2
NAMES = [f"task{number}" for number in range(8)]


def lived(random: Random, needs: dict[str, list[str]], usual: dict[str, float], ran: set[str]) -> tuple[float, ...]:
    """Live through a run on two cores: what it takes, and what each task does, a twelfth more or less than usual."""
    took = {name: usual[name] * random.uniform(0.92, 1.08) if name in ran else 0.0 for name in NAMES}
    free, ends = [0.0] * CPUS, dict[str, float]()
    for name in NAMES:
        ready = max((ends[need] for need in needs[name]), default=0.0)
        core = min(range(CPUS), key=lambda each: free[each])
        ends[name] = max(ready, free[core]) + took[name] if name in ran else ready
        free[core] = ends[name] if name in ran else free[core]
    return max(ends.values()), *took.values()


def beside(random: Random, ran: set[str]) -> float:
    """What a run takes to trace, and to start a worker for each two of its tasks."""
    return (0.5 + 0.3 * len(ran)) * random.uniform(0.92, 1.08)


def test_a_run_takes_a_time_within_the_range_however_many_of_its_tasks_were_reused() -> None:
    for seed in range(300):
        random = Random(seed)
        needs = {name: random.sample(NAMES[:i], random.randint(0, min(i, 2))) for i, name in enumerate(NAMES)}
        usual = {name: random.choice((0.01, 0.3, 2.0)) for name in NAMES}
        seconds: dict[str, list[float]] = {name: [] for name in NAMES}
        past = []
        for count in range(random.randint(1, 5)):
            ran = set(NAMES) if count == 0 else set(random.sample(NAMES, random.randint(0, 8)))
            _, *each = lived(random, needs, usual, ran)
            for name, took in zip(NAMES, each, strict=True):
                seconds[name] += [took] if name in ran else []
            past.append(Beside(ran, beside(random, ran)))
        sure = set(random.sample(NAMES, random.randint(0, 8)))
        ran = sure | set(random.sample(NAMES, random.randint(0, 8)))
        times = Times(CPUS, past)
        for name in NAMES:
            took = Took(seconds[name][0], min(seconds[name]), max(seconds[name]))
            times.add(name, needs[name], took, cpu=1.0, is_sure=name in sure)
        total, *_ = lived(random, needs, usual, ran)
        low, high = times.all([]) or (0.0, 0.0)
        assert low <= total + beside(random, ran) <= high, seed


def test_what_tasks_that_wait_for_a_core_take_is_counted_beside_what_they_wait_for() -> None:
    times = Times(2, [])
    one = Took(1.0, 1.0, 1.0)
    for name in ("a", "b", "c"):
        times.add(name, [], one, cpu=1.0, is_sure=True)
    times.add("last", ["c"], one, cpu=1.0, is_sure=True)
    low, high = times.all([]) or (0.0, 0.0)
    assert low <= 2.0
    assert high >= 3.0  # `a` and `b` first, then `c`, then `last`
