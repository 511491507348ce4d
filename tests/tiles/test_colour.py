import numpy as np
import pytest

from holohisto.tiles.colour import COMMON, LEAST_SPREAD, Colour

OWN = Colour.of((0.1, 0.2, 0.3), [[0.01, 0.005, 0.0], [0.005, 0.04, 0.006], [0.0, 0.006, 0.09]])
OTHER = Colour.of((0.5, 0.6, 0.7), [[0.04, 0, 0], [0, 0.01, 0], [0, 0, 0.09]])


def test_spread_is_the_root_of_the_variances():
    np.testing.assert_allclose(OWN.spread, [0.1, 0.2, 0.3])


def test_stretch_leads_from_one_spread_to_the_other():
    np.testing.assert_allclose(OWN.stretch(OTHER), [2.0, 0.5, 1.0])


def test_a_tiny_spread_is_stretched_as_the_least():
    flat = Colour.of((0.1, 0.2, 0.3), np.diag([1e-8, 0.04, 0.0]))
    assert LEAST_SPREAD == 0.02
    np.testing.assert_allclose(flat.stretch(OTHER), [0.2 / 0.02, 0.5, 0.3 / 0.02])


def test_brought_to_another_has_its_means_and_spreads_and_its_own_correlations():
    brought = OWN.brought_to(OTHER)
    assert brought.mean == OTHER.mean
    expected = [[0.04, 0.005 * 2 * 0.5, 0.0], [0.005, 0.01, 0.006 * 0.5], [0.0, 0.003, 0.09]]
    np.testing.assert_allclose(brought.covariance, expected)


def test_the_common_stain_is_a_covariance_and_its_own_fixed_point():
    covariance = np.array(COMMON.covariance)
    assert (covariance == covariance.T).all()
    assert np.linalg.eigvalsh(covariance).min() > 0
    brought = COMMON.brought_to(COMMON)
    assert brought.mean == COMMON.mean
    np.testing.assert_allclose(brought.covariance, covariance)


@pytest.mark.parametrize("mean", [(0.1, 0.2), (0.1, 0.2, 0.3, 0.4)])
def test_a_colour_has_three_channels(mean):
    with pytest.raises(ValueError, match="unpack"):
        Colour.of(mean, COMMON.covariance)
