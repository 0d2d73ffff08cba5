"""The statistics compared with scipy, statsmodels, brute force and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar

from l2s.evaluation import stats
from l2s.evaluation.stats import bootstrap
from support.stats_scenarios import SCENARIOS, Scenario, measure


def test_wilson_interval_is_the_closed_form() -> None:
    successes, n, z = 5, 50, scipy_stats.norm.ppf(0.975)
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert stats.wilson_interval(successes, n) == pytest.approx((centre - half, centre + half))


@pytest.mark.parametrize(("successes", "n"), [(0, 50), (50, 50), (1, 1)])
def test_wilson_interval_has_width_and_stays_within_0_and_1_at_the_edges(successes: int, n: int) -> None:
    low, high = stats.wilson_interval(successes, n)
    assert 0 <= low < high <= 1
    assert low <= successes / n <= high


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        stats.wilson_interval(successes, n)


@pytest.mark.parametrize(("wins", "losses"), [(9, 1), (3, 12), (5, 5), (0, 6), (1, 0)])
def test_midp_mcnemar_is_the_exact_test_less_half_of_the_observed_table(wins: int, losses: int) -> None:
    exact = mcnemar([[10, wins], [losses, 10]], exact=True).pvalue
    observed = scipy_stats.binom.pmf(min(wins, losses), wins + losses, 0.5)
    expected = 1.0 if wins == losses else exact - observed
    assert stats.mcnemar_midp(wins, losses) == pytest.approx(expected)


def test_midp_mcnemar_without_discordant_pairs_is_1() -> None:
    assert stats.mcnemar_midp(0, 0) == 1.0


def test_sign_flip_test_is_the_full_enumeration_for_few_items() -> None:
    a, b = np.array([0.9, 0.4, 0.75, 0.5, 1.0, 0.25, 0.8]), np.array([0.5, 0.5, 0.25, 0.0, 0.5, 0.5, 0.1])
    flips = np.array(list(itertools.product((1, -1), repeat=len(a)))) @ (a - b)
    reached = np.abs(flips) >= abs((a - b).sum()) - 1e-12
    assert stats.sign_flip_test(a, b) == pytest.approx(reached.mean())


def test_holm_matches_a_worked_example_and_keeps_the_order() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([]) == []


def test_ratio_interval_holds_the_percentile_interval_of_scipy() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.integers(20, 300, 80).astype(float)
    nats = rng.lognormal(-1.5, 0.6, 80) * tokens
    low, high = stats.ratio_interval(nats, tokens)
    reference = scipy_stats.bootstrap(
        (nats, tokens), lambda x, y, axis: x.sum(axis) / y.sum(axis), paired=True, method="percentile", rng=1
    ).confidence_interval
    width = reference.high - reference.low
    assert low < reference.low + 0.05 * width
    assert high > reference.high - 0.05 * width
    assert high - low < 1.5 * width


def test_ratio_interval_of_units_that_are_alike_to_rounding_is_narrow() -> None:
    """Losses of four answers of one random student: their squares cannot tell them apart."""
    losses = [34.799095153808594, 34.799072265625, 34.7990837097168, 34.7990837097168]
    low, high = stats.ratio_interval(losses, [8, 8, 8, 8])
    assert min(losses) / 8 <= low <= sum(losses) / 32 <= high <= max(losses) / 8


def test_ratio_interval_of_a_normal_mean_is_the_t_interval() -> None:
    values = np.random.default_rng(4).normal(0.5, 0.1, 120)
    expected = scipy_stats.t.interval(0.95, 119, values.mean(), scipy_stats.sem(values))
    assert stats.ratio_interval(values, np.ones(120)) == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("units", [2, 3, 5])
def test_the_interval_of_few_units_covers_the_truth(units: int) -> None:
    samples = np.random.default_rng(11).normal(0.5, 0.1, (200, units))
    intervals = [stats.ratio_interval(sample, np.ones(units)) for sample in samples]
    assert np.mean([low <= 0.5 <= high for low, high in intervals]) >= 0.9


def test_right_or_wrong_scores_get_wilsons_interval() -> None:
    assert stats.mean_interval([1.0] * 5 + [0.0] * 45) == stats.wilson_interval(5, 50)


def test_scores_that_are_all_alike_do_not_get_an_interval_of_width_0() -> None:
    families = [number // 4 for number in range(40)]
    assert stats.mean_interval([0.0] * 40, clusters=families) == stats.wilson_interval(0, 10)
    nothing_found = stats.paired_comparison([0.0] * 40, [0.0] * 40)
    assert nothing_found.ci95.low < 0 < nothing_found.ci95.high
    clustered = stats.paired_comparison([0.25] * 40, [0.25] * 40, clusters=families)
    assert clustered.ci95.low < 0 < clustered.ci95.high
    assert clustered.p_value == 1.0


def test_the_difference_is_a_minus_b_and_wins_are_those_of_a() -> None:
    found = stats.paired_comparison([1, 1, 1, 0, 1], [0, 0, 1, 1, 0])
    assert found.difference == pytest.approx(0.4)
    assert (found.wins, found.losses, found.n) == (3, 1, 5)
    assert found.test == stats.MCNEMAR
    assert found.ci95.low < 0.4 < found.ci95.high


def test_paired_interval_is_near_the_adjusted_wald_interval() -> None:
    wins, losses, n = 60, 35, 200
    a = np.array([1.0] * wins + [0.0] * losses + [1.0] * (n - wins - losses))
    b = np.array([0.0] * wins + [1.0] * losses + [1.0] * (n - wins - losses))
    centre = (wins - losses) / (n + 2)
    error = math.sqrt((wins + losses + 1) - (wins - losses) ** 2 / (n + 2)) / (n + 2)
    expected = (centre - 1.96 * error, centre + 1.96 * error)
    assert stats.paired_comparison(a, b).ci95 == pytest.approx(expected, abs=0.006)


def test_copies_of_an_item_in_one_cluster_add_no_information() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.choice([0.0, 0.25, 0.5, 1.0], 30), rng.choice([0.0, 0.25, 0.5, 1.0], 30)
    single = stats.paired_comparison(a, b, clusters=range(30))
    copied = stats.paired_comparison(np.repeat(a, 4), np.repeat(b, 4), clusters=[i // 4 for i in range(120)])
    naive = stats.paired_comparison(np.repeat(a, 4), np.repeat(b, 4))
    assert copied.ci95 == pytest.approx(single.ci95)
    assert copied.effective_n == pytest.approx(30, rel=0.05)
    assert copied.units == 30
    assert naive.ci95.high - naive.ci95.low < 0.6 * (copied.ci95.high - copied.ci95.low)


def test_a_ratio_comparison_weighs_items_by_their_tokens() -> None:
    found = stats.paired_ratio_comparison([10.0, 40.0, 5.0], [20.0, 40.0, 10.0], [10, 80, 10])
    assert found.difference == pytest.approx((55 - 70) / 100)
    assert (found.wins, found.losses) == (0, 2)


def test_a_ratio_comparison_can_show_differences_above_1() -> None:
    rng = np.random.default_rng(6)
    tokens = np.full(20, 50.0)
    found = stats.paired_ratio_comparison(rng.normal(5, 1, 20) * tokens, rng.normal(1, 1, 20) * tokens, tokens)
    least = found.minimum_detectable_difference()
    assert least is not None
    assert 0.3 < least < 2.5


def test_minimum_detectable_difference_is_found_with_the_stated_power() -> None:
    n, discordance = 100, 0.3
    least = stats.minimum_detectable_difference(n, discordance=discordance)
    assert least is not None
    rng = np.random.default_rng(7)
    table = [(discordance + least) / 2, (discordance - least) / 2, 1 - discordance]
    found = [stats.mcnemar_midp(wins, losses) < 0.05 for wins, losses, _ in rng.multinomial(n, table, 2_000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("units", [8, 20])
def test_minimum_detectable_mean_is_found_with_the_stated_power_by_few_units(units: int) -> None:
    rng = np.random.default_rng(9)
    least = stats.minimum_detectable_mean(units, units=units, variance=0.04, smallest_step=0.05)
    assert least is not None
    found = [stats.sign_flip_test(rng.normal(least, 0.2, units), np.zeros(units)) < 0.05 for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_the_words_about_a_concept_rate_use_the_test_for_few_families() -> None:
    rng = np.random.default_rng(10)
    a, b = rng.choice([0.0, 0.25, 0.5, 1.0], (2, 32))
    found = stats.paired_comparison(a, b, clusters=[number // 4 for number in range(32)])
    least = found.minimum_detectable_difference()
    too_small = stats.minimum_detectable_difference(found.effective_n, discordance=found.discordance)
    assert found.units == 8
    assert least == stats.minimum_detectable_mean(
        found.effective_n, units=8, variance=float(np.var(a - b, ddof=1)), smallest_step=0.25
    )
    assert least is not None
    assert too_small is not None
    assert least > too_small


def test_minimum_detectable_difference_shrinks_with_items_and_grows_with_tests() -> None:
    sizes = [stats.minimum_detectable_difference(n) or 0.0 for n in (50, 100, 200, 800)]
    assert sizes == sorted(sizes, reverse=True)
    strict = stats.minimum_detectable_difference(100, alpha=0.05 / 3)
    assert strict is not None
    assert strict > sizes[1]


def test_without_a_discordant_pair_no_arbitrarily_small_difference_is_promised() -> None:
    found = stats.paired_comparison([1.0] * 50, [1.0] * 50).minimum_detectable_difference()
    assert found is not None
    assert found > 5 / 50  # mid-p McNemar needs at least five one-sided pairs to reject


def test_too_few_items_can_show_nothing() -> None:
    assert stats.minimum_detectable_difference(3) is None
    assert stats.minimum_detectable_mean(1, units=1, variance=0.1, smallest_step=0.1) is None


def test_gap_recovered_is_the_ratio_of_the_gains() -> None:
    base, student, teacher = np.zeros(100), np.repeat([1.0, 0.0], 50), np.repeat([1.0, 0.0], [80, 20])
    found = stats.gap_recovered(student, base, teacher)
    assert found.ratio == pytest.approx(50 / 80)
    assert found.ci95 is not None
    assert found.ci95.low < 0.625 < found.ci95.high


def test_gap_recovered_of_a_single_cluster_has_no_interval() -> None:
    found = stats.gap_recovered([0.5, 0.5], [0.0, 0.0], [1.0, 1.0], clusters=["a", "a"])
    assert (found.ratio, found.ci95) == (0.5, None)


@pytest.mark.parametrize("clusters", [None, [number // 2 for number in range(50)]])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_gap_recovered_has_width_where_a_student_equals_the_base_or_the_teacher(
    share: float, clusters: list[int] | None
) -> None:
    """On 50 items that is not certain of the next ones; on more items it is more certain."""
    teacher = np.repeat([1.0, 0.0], 25)
    found = stats.gap_recovered(share * teacher, np.zeros(50), teacher, clusters=clusters)
    assert found.ratio == share
    assert found.ci95 is not None
    assert found.ci95.low < share < found.ci95.high
    more = stats.gap_recovered(share * np.tile(teacher, 8), np.zeros(400), np.tile(teacher, 8))
    assert more.ci95 is not None
    assert more.ci95.high - more.ci95.low < 0.5 * (found.ci95.high - found.ci95.low)


def test_gap_recovered_is_withheld_without_a_lead_of_the_teacher() -> None:
    same = np.tile([1.0, 0.0], 25)
    found = stats.gap_recovered(same, same, same[::-1])
    assert found.ratio is None
    assert found.ci95 is None
    ahead = stats.gap_recovered(np.ones(50), np.ones(50), np.zeros(50))
    assert ahead.ratio is None  # a base that beats its teacher leaves no gap either


def test_mismatched_lengths_and_empty_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="3 scores against 2"):
        stats.paired_comparison([1, 0, 1], [1, 0])
    with pytest.raises(ValueError, match="non-empty"):
        stats.paired_comparison([], [])
    with pytest.raises(ValueError, match="cluster labels"):
        stats.mean_interval([0.5, 1.0], clusters=["a"])


def test_the_same_scores_give_the_same_numbers() -> None:
    a, b = np.random.default_rng(8).random((2, 60))
    assert stats.paired_comparison(a, b) == stats.paired_comparison(a, b)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_intervals_cover_and_tests_keep_their_level(scenario: Scenario) -> None:
    result = measure(scenario, simulations=100 if "families" in scenario.name or "answers" in scenario.name else 200)
    assert result.coverage >= 0.90
    if scenario.is_null:
        assert result.rejected is not None
        assert result.rejected <= 0.09


def test_gap_recovered_survives_samples_in_which_the_teacher_does_not_lead() -> None:
    teacher, base = np.repeat([1.0, 0.0], [14, 6]), np.repeat([0.0, 1.0, 0.0], [12, 3, 5])
    found = stats.gap_recovered(np.repeat([1.0, 0.0], 10), base, teacher)
    assert found.ci95 is not None
    assert all(math.isfinite(bound) for bound in found.ci95)


def test_a_comparison_over_seeds_covers_the_truth_where_seeds_differ() -> None:
    rng, covered, by_items_alone, trials = np.random.default_rng(5), 0, 0, 300
    for _ in range(trials):
        ability = rng.normal(0, 0.25, 200)
        base = (rng.random(200) < np.clip(0.4 + ability, 0, 1)).astype(float)
        gains = 0.1 + rng.normal(0, 0.06, 3)  # the truth: a mean gain of 0.1 over all seeds
        scores = [(rng.random(200) < np.clip(0.4 + ability, 0, 1) + gain).astype(float) for gain in gains]
        found = stats.compare_over_seeds(scores, base)
        covered += found.ci95.low <= 0.1 <= found.ci95.high
        one = stats.paired_comparison(scores[0], base).ci95
        by_items_alone += one.low <= 0.1 <= one.high
    assert covered / trials >= 0.93
    assert by_items_alone / trials < 0.88


def test_a_comparison_over_seeds_is_the_mean_of_the_seeds_and_has_width() -> None:
    base, same = np.zeros(40), np.tile([0.0, 1.0], 20)
    assert stats.compare_over_seeds([same, same], base).difference == pytest.approx(0.5)
    alike = stats.compare_over_seeds([base, base], base).ci95
    assert alike.low < 0 < alike.high
    apart = stats.compare_over_seeds([same, base], base).ci95
    assert apart.low < 0 < apart.high  # two seeds that differ this much show nothing
    with pytest.raises(ValueError, match="seeds needs two"):
        stats.compare_over_seeds([base], base)


@pytest.mark.parametrize("clusters", [None, [1, 1, 2, 2]])
def test_scores_that_differ_by_rounding_alone_are_equal(clusters: list[int] | None) -> None:
    found = stats.paired_comparison([0.1 + 0.2, 0, 0, 1], [0.3, 0, 0, 1], clusters=clusters)
    assert (found.wins, found.losses, found.difference, found.p_value) == (0, 0, 0, 1)
    assert found == stats.paired_comparison([0.3, 0, 0, 1], [0.3, 0, 0, 1], clusters=clusters)
    found.minimum_detectable_difference()


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No samples of the tests before, nor for those after."""
    monkeypatch.setattr(bootstrap, "_kept", {})


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("kept_bytes", [bootstrap.KEPT_BYTES, 0])
def test_bootstrap_samples_of_many_units_are_those_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    rng = np.random.default_rng(1)
    scores, tokens = rng.random(40), rng.integers(1, 9, 40)
    at_once = stats.ratio_interval(scores, tokens)
    monkeypatch.setattr(bootstrap, "BLOCK_NUMBERS", 1_000)  # 25 samples at a time
    monkeypatch.setattr(bootstrap, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(bootstrap, "_kept", {})
    assert stats.ratio_interval(scores, tokens) == pytest.approx(at_once, rel=1e-12)
    counts = np.concatenate([*bootstrap._resample_counts(40)])
    whole = np.random.default_rng(bootstrap.SEED).multinomial(40, np.full(40, 1 / 40), bootstrap.RESAMPLES)
    assert np.array_equal(counts, whole)
    assert len(bootstrap._kept) == (kept_bytes > 0)


@pytest.mark.usefixtures("nothing_kept")
def test_bootstrap_samples_that_are_kept_take_no_more_than_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "KEPT_BYTES", 100 * bootstrap.RESAMPLES)
    for units, kept in ((30, [30]), (60, [30, 60]), (30, [60, 30]), (50, [30, 50]), (101, [30, 50]), (100, [100])):
        bootstrap.resampled_sums(np.ones((units, 1)))
        assert list(bootstrap._kept) == kept
        assert sum(counts.nbytes for counts in bootstrap._kept.values()) <= bootstrap.KEPT_BYTES
