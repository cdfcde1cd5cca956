import numpy as np
import pytest

from zssr.config import Config
from zssr.training.schedule import Cosine, SlopeRule, fit_trend, make_schedule

RATE = 1e-3


def feed(rule, errors):
    rates = []
    for error in errors:
        rule.observe(error)
        rates.append(rule.rate)
    return rates


def test_trend_is_the_least_squares_line():
    rng = np.random.default_rng(0)
    errors = 5 - 0.3 * np.arange(50) + rng.normal(0, 0.2, 50)
    fall, scatter = fit_trend(errors.tolist())
    design = np.stack([np.arange(50), np.ones(50)], 1)
    (slope, _), residual, *_ = np.linalg.lstsq(design, errors, rcond=None)
    assert fall == pytest.approx(-slope)
    assert scatter == pytest.approx(np.sqrt(residual[0] / 48))


def test_slope_rule_waits_while_the_error_falls():
    rule = SlopeRule(Config(), RATE, 4000)
    assert set(feed(rule, np.linspace(1, 0.1, 40))) == {RATE}


def test_slope_rule_waits_for_enough_errors():
    config = Config()
    rates = feed(SlopeRule(config, RATE, 4000), [1.0] * (config.lr_decay_range - 1))
    assert set(rates) == {RATE}


def test_slope_rule_decays_when_the_fall_is_less_than_the_noise():
    config = Config()
    rng = np.random.default_rng(0)
    rule = SlopeRule(config, RATE, 4000)
    rates = feed(rule, 1 + rng.normal(0, 0.05, config.lr_decay_range))
    assert RATE * config.lr_decay in rates


def test_slope_rule_ends_after_the_last_rate():
    config = Config(lr_stop=1e-5)
    rule = SlopeRule(config, RATE, 4000)
    rates = []
    while not rule.finished:
        rates += feed(rule, [1.0])
    assert sorted({round(rate, 9) for rate in rates}, reverse=True) == [1e-3, 1e-4, 1e-5, 1e-6]
    assert len(rates) <= 3 * config.lr_decay_range


def test_higher_ratio_is_more_patient():
    errors = 1 - 0.004 * np.arange(60) + np.random.default_rng(0).normal(0, 0.01, 60)
    when = [
        next(i for i, rate in enumerate(feed(SlopeRule(Config(lr_decay_ratio=r), RATE, 4000), errors)) if rate < RATE)
        for r in (0.5, 2)
    ]
    assert when[0] < when[1]


def test_errors_before_a_decay_do_not_count_after_it():
    config = Config()
    rule = SlopeRule(config, RATE, 4000)
    while rule.rate == RATE:
        rule.observe(1.0)
    falling = np.linspace(0.9, 0.5, 30)
    assert feed(rule, falling)[-1] == pytest.approx(RATE * config.lr_decay)


def test_cosine_goes_from_first_to_last_rate():
    config = Config(lr_schedule="cosine", num_epochs=100)
    rule = make_schedule(config.replace(lr=RATE), "prior")
    assert isinstance(rule, Cosine)
    assert rule.steps == 100
    rates = []
    for step in range(101):
        rule.advance(step)
        rule.observe(1.0)
        rates.append(rule.rate)
    assert rates[0] == RATE
    assert rates[50] == pytest.approx((RATE + config.lr_stop) / 2)
    assert rates[100] == pytest.approx(config.lr_stop)
    assert rates == sorted(rates, reverse=True)
    assert not rule.finished


def test_cosine_rises_first_from_random_weights():
    prior, random = (
        make_schedule(Config(lr_schedule="cosine", num_epochs=100, lr=RATE), s) for s in ("prior", "random")
    )
    rises = []
    for step in range(100):
        for rule in (prior, random):
            rule.advance(step)
        rises.append(random.rate / prior.rate)
    assert rises[:6] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert set(rises[5:]) == {1.0}


@pytest.mark.parametrize(
    ("settings", "start", "kind", "steps"),
    [
        ({}, "prior", Cosine, 60),
        ({}, "random", SlopeRule, 4000),
        ({"lr_schedule": "slope"}, "prior", SlopeRule, 4000),
        ({"lr_schedule": "cosine"}, "random", Cosine, 60),
        ({"num_epochs": 7}, "prior", Cosine, 7),
        ({"num_epochs": 7}, "random", SlopeRule, 7),
        ({"num_epochs": 0}, "prior", Cosine, 0),
    ],
)
def test_schedule_follows_the_start_weights_unless_it_is_named(settings, start, kind, steps):
    schedule = make_schedule(Config(**settings), start)
    assert isinstance(schedule, kind)
    assert schedule.steps == steps


def test_first_rate_follows_start_schedule_and_crops_unless_it_is_given():
    prior, random = (make_schedule(Config(), start).rate for start in ("prior", "random"))
    assert make_schedule(Config(lr_schedule="slope"), "prior").rate == prior < random
    assert make_schedule(Config(), "random", 8).rate == pytest.approx(2 * random)
    assert make_schedule(Config(), "prior", 8).rate == prior
    for start in ("prior", "random"):
        assert make_schedule(Config(lr=2e-4), start, 8).rate == 2e-4
