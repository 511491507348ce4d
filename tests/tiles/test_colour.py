import numpy as np
import pytest

from holohisto.tiles.colour import COMMON, KNEE, LEAST_SPREAD, Colour, mapped

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


def test_densities_are_mapped_on_a_line_and_glass_stays_glass():
    mean, gain, aim = np.array([0.5, 0.5]), np.array([0.4, 2.0]), np.array([0.3, 0.6])
    # Offsets 0.1 and -0.4. The first line is left at the knee, 0.3 * 0.5, for one to 0.
    assert KNEE == 0.3
    density = np.array([0.0, 0.075, 0.15, 0.5, 1.0])
    found = mapped(np.stack([density, density], axis=1), mean, gain, aim)
    np.testing.assert_allclose(found[:, 0], [0.0, 0.08, 0.16, 0.3, 0.5])
    np.testing.assert_allclose(found[:, 1], [0.0, 0.0, 0.0, 0.6, 1.6])


def test_mapped_densities_are_of_their_own_type():
    values = np.linspace(0, 2, 30, dtype=np.float32).reshape(10, 3)
    found = mapped(values, np.full(3, 0.3), np.full(3, 0.5), np.full(3, 0.4))
    assert found.dtype == np.float32
    assert (np.diff(found, axis=0) > 0).all()
