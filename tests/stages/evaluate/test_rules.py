"""The language of gates: what is written is what is judged, and what can't be read says where."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import UsageError
from headrace.spec.report import Fact, Report
from headrace.stages import evaluate
from headrace.stages.evaluate._gate.gate import judge, parts_of
from headrace.stages.evaluate.metrics.catalogue import Catalogue, catalogue_of
from headrace.watch.rules import Comparison, Either, Every, Rule, comparisons, parse

WORDS = st.sampled_from(["AUC", "log loss", "worst-slice gap", "TPR difference by sex", "F1", "R2", "recall ratio"])
LEVELS = st.none() | st.integers(50, 99).map(lambda percent: percent / 100)
BOUNDS = st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.6g}"))
PLAIN = st.builds(
    Comparison, metric=WORDS, operator=st.sampled_from([">=", ">", "<=", "<"]), bound=BOUNDS, confidence=LEVELS
)
AGAINST = st.builds(
    Comparison,
    metric=WORDS,
    operator=st.sampled_from([">", "<"]),
    bound=st.just(0.0),
    against=st.sampled_from(["baseline", "previous"]),
    confidence=LEVELS,
)
COMPARISONS = PLAIN | AGAINST


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Rules whose comparisons all have a confidence, or none has: in text, one stands for those before it too."""
    sure = draw(st.booleans())
    some = st.lists(COMPARISONS.filter(lambda each: (each.confidence is not None) == sure), min_size=1, max_size=3)
    parts = [draw(some) for _ in range(draw(st.integers(1, 3)))]
    every = [each[0] if len(each) == 1 else Every(rules=tuple(each)) for each in parts]
    return every[0] if len(every) == 1 else Either(rules=tuple(every))


@given(rules())
def test_what_a_rule_says_reads_as_the_same_rule(rule: Rule) -> None:
    assert parse(str(rule)) == rule


@given(
    st.text() | st.lists(st.sampled_from(["AUC", ">=", "0.7", "and", "or", "(", ")", "with", "95%", "`"])).map(" ".join)
)
def test_any_text_is_a_rule_or_one_clear_error(text: str) -> None:
    try:
        rule = parse(text)
    except UsageError:
        return
    assert list(comparisons(rule))


def test_a_confidence_goes_with_what_stands_before_it() -> None:
    rule = parse(
        "AUC >= 0.7 and worst-slice gap <= 10% with 95% confidence and (F1 > 0.1 or R2 > 0 with 90% confidence)"
    )
    assert [(each.metric, each.bound, each.confidence) for each in comparisons(rule)] == [
        ("AUC", 0.7, 0.95),
        ("worst-slice gap", 0.1, 0.95),
        ("F1", 0.1, 0.9),
        ("R2", 0.0, 0.9),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("AUC", "`>=`, `>`, `<=` or `<` is expected"),
        ("AUC >= high", "a number, `baseline` or `previous` is expected"),
        ("AUC == 0.7", "a measured number can't be compared by `==`"),
        ("(AUC >= 0.7", "not closed"),
        ("`AUC >= 0.7", "this backtick is not closed"),
        ("AUC >= 0.7 with 950% confidence", "makes no sense"),
        ("AUC >= 0.7 with 95%", "`confidence` is expected"),
        ("AUC >= 0.7 F1 > 1", "`and`, `or` or the end is expected"),
        ("AUC >= 0.7 & F1 > 1", "`and`, `or` or the end is expected"),
    ],
)
def test_a_rule_that_cannot_be_read_says_where(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert told in caught.value.message


REPORT = Report(
    title="t",
    facts=(
        Fact(name="AUC", value=0.75, low=0.7, high=0.8, better="higher"),
        Fact(name="worst-slice gap", value=0.05, low=0.02, high=0.12),
        Fact(name="log loss less baseline", value=-0.1, low=-0.15, high=-0.05),
        Fact(name="precision", value=None, why="no row is predicted positive"),
    ),
)


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("AUC >= 0.75", True),
        ("auc > 0.75", False),
        ("ROC AUC >= 0.7 with 95% confidence", True),
        ("AUC > 0.7 with 95% confidence", None),
        ("AUC >= 0.72 with 95% confidence", None),
        ("AUC > 0.8 with 95% confidence", False),
        ("worst_slice_gap <= 0.12 with 90% confidence", True),
        ("worst slice gap <= 0.1 with 95% confidence", None),
        ("log loss < baseline with 95% confidence", True),
        ("precision > 0", None),
        ("precision > 0 and AUC > 0.9", False),
        ("precision > 0 or AUC > 0.7", True),
        ("precision > 0 and AUC > 0.7", None),
        ("AUC > previous", None),
        ("AUC > previous or AUC > 0.6", True),
        ("AUC > previous and AUC > 0.8", False),
    ],
)
def test_a_gate_holds_fails_or_cannot_tell(rule: str, holds: bool | None) -> None:
    found = judge(parse(rule), catalogue_of(REPORT))
    assert found.holds is holds
    assert evaluate.gate(REPORT, rule) is (holds is True)
    assert all(each.why for each in found.verdicts)


def test_a_gate_says_which_metric_may_be_meant() -> None:
    with pytest.raises(UsageError) as caught:
        evaluate.gate(REPORT, "precison >= 0.5")
    assert caught.value.hint == "did you mean `precision`?"


def test_a_metric_that_is_not_there_is_told_whatever_it_is_held_against() -> None:
    with pytest.raises(UsageError) as caught:
        evaluate.gate(REPORT, "AOC > previous")
    assert (caught.value.message[:27], caught.value.hint) == ("the gate asks for `AOC`, wh", "did you mean `AUC`?")


def test_a_difference_that_the_report_lacks_is_undecided_and_the_reason_says_which_it_has() -> None:
    (verdict,) = judge(parse("AUC > baseline"), catalogue_of(REPORT)).verdicts
    assert verdict.holds is None
    assert verdict.why == (
        "the report doesn't have AUC less baseline: it has the differences of the main metric, if they are defined, and"
        " of those that the evaluation's `gates=` names"
    )


def test_a_percentage_is_refused_for_a_number_with_a_unit() -> None:
    report = Report(title="t", facts=(Fact(name="refunds", value=4.0, unit="%"), Fact(name="refunded", value=0.04)))
    with pytest.raises(UsageError, match="the unit of `refunds` is `%`"):
        evaluate.gate(report, "refunds <= 5%")
    assert evaluate.gate(report, "refunds <= 5 and refunded <= 5%")


def test_a_gate_on_a_report_cannot_be_surer_than_its_intervals() -> None:
    with pytest.raises(UsageError, match="asks for 99% confidence"):
        evaluate.gate(REPORT, "AUC >= 0.7 with 99% confidence")


@pytest.mark.parametrize("rule", ["0.7 <= AUC", "0.5 <= AUC <= 0.9"])
def test_a_number_that_stands_first_is_told_to_follow_the_metric(rule: str) -> None:
    with pytest.raises(UsageError, match="write the metric first, then the number"):
        parse(rule)


def test_a_gate_that_is_no_text_is_refused() -> None:
    for strange in (None, 3):
        with pytest.raises(UsageError, match="a gate is a text"):
            parse(strange)  # type: ignore[arg-type]


@pytest.mark.parametrize("percent", ["1e9999999%", "0e99999999999999999999%", "1e-9999999%"])
def test_a_percentage_beyond_all_measure_is_read_as_a_number_would_be(percent: str) -> None:
    assert str(parse(f"AUC >= {percent}")) == str(parse(f"AUC >= {percent[:-1]}"))


@pytest.mark.parametrize("percent", ["0.7%", "1.1 %", "2.9%", "57%", ".5%", "1e1%"])
def test_a_percentage_is_the_number_that_its_decimals_say(percent: str) -> None:
    exact = Decimal(percent.rstrip("% ")) / 100
    assert [each.bound for each in comparisons(parse(f"AUC >= {percent}"))] == [float(exact)]


@pytest.mark.parametrize(("rule", "holds"), [("gap <= 0.1", True), ("gap >= 10%", True), ("gap > 0.1", False)])
def test_a_number_that_misses_its_bound_by_rounding_lies_on_it(rule: str, holds: bool) -> None:
    value = 0.4 - 0.3  # 0.10000000000000003
    facts = (Fact(name="gap", value=value, low=value, high=value),)
    for level in ("", " with 95% confidence"):
        found = judge(parse(f"{rule}{level}"), catalogue_of(Report(title="", about="", facts=facts, confidence=0.95)))
        assert found.holds is holds
        assert "0.1, " in found.verdicts[0].why or "0.1 " in found.verdicts[0].why


@pytest.mark.parametrize(("rule", "holds"), [("gap <= 0", True), ("gap >= 0", True), ("gap > 0", False)])
def test_a_number_that_is_0_but_for_rounding_lies_on_a_bound_of_0(rule: str, holds: bool) -> None:
    value = 0.1 + 0.2 - 0.3  # 5.6e-17
    facts = (Fact(name="gap", value=value, low=value, high=value),)
    for level in ("", " with 95% confidence"):
        found = judge(parse(f"{rule}{level}"), catalogue_of(Report(title="", about="", facts=facts, confidence=0.95)))
        assert found.holds is holds


def test_parts_of_which_any_may_hold_share_the_chance_of_a_wrong_verdict() -> None:
    def asked(rule: str) -> list[float]:
        return list(parts_of(parse(f"{rule} with 95% confidence")).values())

    assert asked("A > 1 and B > 1 and C > 1") == [1, 1, 1]
    assert asked("A > 1 or B > 1") == [2, 2]
    assert asked("A > 1 or B > 1 and C > 1 or D > 1") == [3, 3, 3, 3]
    assert asked("A > 1 and (B > 1 or C > 1)") == [1, 2, 2]
    assert asked("A > 1 or B > 1 and (C > 1 or D > 1)") == [2, 2, 4, 4]
    assert asked("A > 1 or (B > 1 or C > 1)") == [2, 4, 4]
    assert asked("A > 1 and (A > 1 or B > 1)") == [2, 2]
    # what asks no confidence takes no share, nor does what stands alone
    assert list(parts_of(parse("A > 1 with 95% confidence or B > 1")).values()) == [1, 1]


def test_an_or_is_asked_at_the_confidence_of_its_parts() -> None:
    said = []

    def fact(level: float) -> Fact:
        said.append(round(level, 4))
        return Fact(name="A", value=1.0, low=level, high=2.0)

    known = Catalogue()
    for name in "ABC":
        known.add(name, fact)
    found = judge(parse("(A > 0.97 or B > 0.97) and C > 0.94 with 95% confidence"), known)
    assert (said, found.holds) == ([0.975, 0.975, 0.95], True)
    assert "97.5% confidence (2 alternatives share the chance of error)" in found.verdicts[1].why


def test_an_or_on_a_report_says_how_sure_its_intervals_must_be() -> None:
    with pytest.raises(UsageError, match=r"97\.5% confidence for each of 2 alternatives") as caught:
        evaluate.gate(REPORT, "AUC >= 0.7 or AUC >= 0.6 with 95% confidence")
    assert "`confidence=0.975`" in caught.value.hint
    assert "90%" in caught.value.hint
    assert evaluate.gate(REPORT, "AUC >= 0.7 or AUC >= 0.6 with 90% confidence")


def test_an_undecided_rule_says_how_many_times_as_many_rows_might_tell() -> None:
    fact = Fact(name="AUC", value=0.75, low=0.65, high=0.85)
    known = catalogue_of(Report(title="", facts=(fact,)))

    def why(rule: str) -> str:
        return judge(parse(f"{rule} with 95% confidence"), known).verdicts[0].why

    assert "these rows can't decide it; about 4 times as many might." in why("AUC >= 0.7")
    assert "times" not in why("AUC >= 0.8")  # the value itself doesn't hold
    assert "times" not in why("AUC >= 0.75")
