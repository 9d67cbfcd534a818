"""Distribution metrics against closed forms, the textbook formulas, and the packages people use instead."""

import math
import pickle

import numpy as np
import pytest
import torch

from rs_course import metrics as d


def features(count, width, seed, *, shift=0.0, dtype=torch.float64):
    """Correlated, skewed, non-negative features, as a network's pooled activations are."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64) / width**0.5
    return (torch.randn(count, width, generator=generator, dtype=torch.float64) @ mix + shift).abs().to(dtype)


class Identity(torch.nn.Module):
    """Feature extractor of `torchmetrics` that hands the features through."""

    num_features = 32

    def forward(self, features):
        return features


@pytest.fixture(scope="module")
def pair():
    return features(300, 32, 0), features(360, 32, 1, shift=0.2)


# --- Fréchet distance --------------------------------------------------------------------------


def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form():
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.0])
    expected = 3 * 0.5**2 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert d.frechet_distance(np.zeros(3), np.diag(a), np.full(3, 0.5), np.diag(b)) == pytest.approx(expected)


def test_frechet_distance_of_rotated_rank_deficient_gaussians_is_the_closed_form():
    """tr (Σa Σb)^½ of two rank-one covariances uuᵀ and vvᵀ is |u·v|."""
    u, v = torch.randn(2, 50, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    zero = torch.zeros(50)
    expected = (u @ u + v @ v - 2 * (u @ v).abs()).item()
    assert d.frechet_distance(zero, u.outer(u), zero, v.outer(v)) == pytest.approx(expected, rel=1e-12)


def test_fid_equals_torchmetrics(pair):
    from torchmetrics.image.fid import FrechetInceptionDistance

    theirs = FrechetInceptionDistance(feature=Identity())
    theirs.update(pair[0], real=True)
    theirs.update(pair[1], real=False)
    assert d.fid(*pair) == pytest.approx(theirs.compute().item(), rel=1e-9)
    assert d.fid(*(x.numpy() for x in pair)) == d.fid(*pair)


def test_fid_equals_scipys_matrix_root(pair):
    from scipy.linalg import sqrtm

    a, b = (x.numpy() for x in pair)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(cov_a @ cov_b).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert d.fid(*pair) == pytest.approx(expected, rel=1e-9)


def test_fid_of_fewer_images_than_features_is_exact():
    """Centred data matrices are roots of the covariances, so the singular case has an independent formula."""
    a, b = features(20, 64, 4), features(30, 64, 5, shift=0.1)
    roots = [(x - x.mean(0)) / math.sqrt(len(x) - 1) for x in (a, b)]
    cross = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    expected = (a.mean(0) - b.mean(0)).square().sum() + sum(r.square().sum() for r in roots) - 2 * cross
    assert d.fid(a, b) == pytest.approx(expected.item(), rel=1e-9)
    assert d.fid(a, a) == pytest.approx(0, abs=1e-9)


def test_statistics_are_those_of_numpy_however_they_are_streamed_and_merged(pair):
    a = pair[0] + 1000  # far from zero, where E xxᵀ - μμᵀ would lose digits
    whole, first, second = d.FeatureStatistics(a), d.FeatureStatistics(), d.FeatureStatistics()
    for start, stop in ((0, 1), (1, 64), (64, 100)):
        first.update(a[start:stop])
    second.update(a[100:].numpy())
    first.merge(second)
    empty = d.FeatureStatistics()
    empty.merge(first)
    first.merge(d.FeatureStatistics())
    for statistics in (whole, first, empty):
        assert statistics.count == len(a)
        np.testing.assert_allclose(statistics.mean, a.numpy().mean(0), rtol=1e-12)
        np.testing.assert_allclose(
            statistics.covariance, np.cov(a.numpy(), rowvar=False), rtol=1e-9, atol=1e-11
        )
    assert d.fid(first, pair[1] + 1000) == pytest.approx(d.fid(*pair), rel=1e-9)


def test_statistics_of_many_rows_are_the_same_however_they_are_cut():
    a = features(1500, 200, 6, dtype=torch.float32)
    whole = d.FeatureStatistics(a)
    np.testing.assert_allclose(
        whole.covariance, np.cov(a.double().numpy(), rowvar=False), rtol=1e-9, atol=1e-12
    )
    for size in (50, 511, 512, 513):
        streamed = d.FeatureStatistics()
        for batch in a.split(size):
            streamed.update(batch)
        assert torch.equal(streamed.mean, whole.mean)
        assert torch.equal(streamed.covariance, whole.covariance)


def test_statistics_can_be_read_and_copied_while_they_are_gathered():
    a = features(1500, 20, 6)
    streamed, copied = d.FeatureStatistics(), d.FeatureStatistics()
    for batch in a.split(70):
        streamed.update(batch)
        if streamed.count > 1000 and not copied.count:
            np.testing.assert_allclose(streamed.mean, a[: streamed.count].mean(0), rtol=1e-12)
            streamed.update(a[:10])  # ten rows wait while the copy is taken
            copied.merge(streamed)
            copied.update(a[streamed.count - 10 :])
    both = torch.cat([a, a[:10]])
    for statistics in (streamed, copied):
        assert statistics.count == len(both)
        np.testing.assert_allclose(statistics.covariance, np.cov(both.T), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("width", [1, 5, 64, 203])
def test_the_lower_triangle_of_a_product_is_added(width):
    from rs_course.metrics.features import _add_gram

    generator = torch.Generator().manual_seed(width)
    x = torch.randn(90, width, generator=generator, dtype=torch.float64)
    before = torch.randn(width, width, generator=generator, dtype=torch.float64)
    total = before.clone()
    _add_gram(total, x)
    torch.testing.assert_close(total.tril(), (before + x.T @ x).tril(), rtol=1e-12, atol=1e-12)


def test_an_update_is_seen_by_the_next_distance(pair):
    statistics = d.FeatureStatistics(pair[0][:150])
    before = d.fid(statistics, pair[1])
    statistics.update(pair[0][150:])
    assert d.fid(statistics, pair[1]) == pytest.approx(d.fid(*pair), rel=1e-9) and d.fid(*pair) != before


def test_fid_infinity_takes_the_sample_size_bias_out():
    """Two Gaussians whose distance is known: FID of 400 images is too large, the extrapolation is not."""
    width, generator = 32, torch.Generator().manual_seed(7)
    real = d.FeatureStatistics(torch.randn(100_000, width, generator=generator))
    biased, extrapolated = [], []
    for seed in range(5):
        generated = 1.2 * torch.randn(400, width, generator=generator)
        biased.append(d.fid(real, generated))
        estimate = d.fid_infinity(real, generated, seed=seed)
        extrapolated.append(estimate)
    truth = width * 0.2**2
    assert np.mean(biased) > 1.2 * truth
    assert np.mean(extrapolated) == pytest.approx(truth, rel=0.1)
    assert estimate.slope > 0 and len(estimate.sizes) == len(estimate.values) == 15
    assert estimate.values[-1] == pytest.approx(biased[-1], rel=1e-9)
    assert d.fid_infinity(real, generated, seed=4) == estimate


# --- kernel distances --------------------------------------------------------------------------


def unbiased_mmd(x, y):
    x, y = x.double().numpy(), y.double().numpy()
    xx, yy, xy = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    m, n = len(x), len(y)
    within = (xx.sum() - np.trace(xx)) / (m * (m - 1)) + (yy.sum() - np.trace(yy)) / (n * (n - 1))
    return within - 2 * xy.mean()


def test_kid_is_the_u_statistic(pair):
    assert d.kid(*pair) == pytest.approx(unbiased_mmd(*pair), rel=1e-10)
    single = [x.float() for x in pair]
    assert d.kid(*single) == pytest.approx(unbiased_mmd(*single), rel=1e-6)


def test_kid_over_more_than_one_block():
    a, b = features(700, 8, 8), features(1200, 8, 9, shift=0.1)
    assert d.kid(a, b) == pytest.approx(unbiased_mmd(a, b), rel=1e-9)


def test_kid_error_is_the_delete_one_jackknife(pair):
    x, y = pair[0][:20], pair[1][:25]
    variance = 0.0
    for size, leave_out in (
        (20, lambda i: unbiased_mmd(torch.cat([x[:i], x[i + 1 :]]), y)),
        (25, lambda i: unbiased_mmd(x, torch.cat([y[:i], y[i + 1 :]]))),
    ):
        values = np.array([leave_out(i) for i in range(size)])
        variance += (size - 1) / size * ((values - values.mean()) ** 2).sum()
    assert d.kid(x, y).standard_error == pytest.approx(math.sqrt(variance), rel=1e-8)


def test_kid_subsets_equal_torchmetrics_draw_by_draw(pair):
    from torchmetrics.image.kid import KernelInceptionDistance

    theirs = KernelInceptionDistance(feature=Identity(), subsets=20, subset_size=100)
    theirs.update(pair[0], real=True)
    theirs.update(pair[1], real=False)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        mean, std = theirs.compute()
    ours = d.kid(*pair, subset_size=100, subsets=20, seed=11)
    assert ours == pytest.approx(mean.item(), rel=1e-9)
    assert ours.subset_std == pytest.approx(std.item(), rel=1e-9)


def test_both_errors_of_kid_agree_with_the_spread_of_fresh_samples():
    generator = torch.Generator().manual_seed(12)
    values, jackknife, subsets = [], [], []
    for _ in range(60):
        x, y = torch.randn(100, 8, generator=generator), torch.randn(100, 8, generator=generator) + 0.5
        values.append(d.kid(x, y))
        jackknife.append(values[-1].standard_error)
        subsets.append(d.kid(x, y, subset_size=50, subsets=25).standard_error)
    spread = np.std(values, ddof=1)
    assert np.mean(jackknife) == pytest.approx(spread, rel=0.3)
    assert np.mean(subsets) == pytest.approx(spread, rel=0.3)


def test_cmmd_is_the_authors_v_statistic(pair):
    x, y = (torch.nn.functional.normalize(a, dim=1) for a in pair)

    def kernel(a, b):
        return np.exp(-torch.cdist(a, b).square().numpy() / (2 * 10**2))

    expected = 1000 * (kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean())
    assert d.cmmd(x, y) == pytest.approx(expected, rel=1e-8)
    assert d.cmmd(x.float(), y.float()) == pytest.approx(expected, rel=1e-5)
    assert d.cmmd(x, x) == pytest.approx(0, abs=1e-12)


# --- neighbours, probabilities, transfer -------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5])
def test_precision_recall_equals_prdc(pair, k):
    prdc = pytest.importorskip("prdc", reason="the reference package of density and coverage")
    theirs = prdc.compute_prdc(*(x.numpy() for x in pair), nearest_k=k)
    assert d.precision_recall(*pair, k=k)._asdict() == pytest.approx(theirs, abs=1e-12)


def test_precision_recall_of_points_on_a_line():
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    generated = torch.tensor([[0.5], [1.5], [30.0], [33.0]])
    # Radii to the first neighbour: real 1, 1, 1, 8; generated 1, 1, 3, 3.
    result = d.precision_recall(real, generated, k=1)
    # 0.5 lies in the balls of 0 and 1; 1.5 in those of 1 and 2 (10 - 8 = 2 is the edge of the last).
    assert result == d.PrecisionRecall(precision=0.5, recall=0.75, density=1.0, coverage=0.75)


def test_a_set_compared_with_itself_is_precise_and_complete(pair):
    assert d.precision_recall(pair[0], pair[0]) == pytest.approx((1, 1, 1, 1))


def test_precision_sees_fidelity_and_recall_sees_diversity():
    generator = torch.Generator().manual_seed(13)
    real = torch.randn(300, 2, generator=generator)
    collapsed = 0.1 * torch.randn(300, 2, generator=generator)
    scattered = 4 * torch.randn(300, 2, generator=generator)
    narrow, wide = d.precision_recall(real, collapsed), d.precision_recall(real, scattered)
    assert narrow.precision > 0.95 and narrow.recall < 0.2 and narrow.coverage < 0.2
    assert wide.precision < 0.5 and wide.recall > 0.9


def test_inception_score_between_one_and_the_number_of_classes():
    assert d.inception_score(torch.full((20, 10), 0.1)) == pytest.approx(1)
    assert d.inception_score(torch.eye(10).repeat(3, 1)) == pytest.approx(10)


def test_inception_score_equals_torchmetrics():
    from torchmetrics.image.inception import InceptionScore

    logits = 3 * torch.randn(200, 7, generator=torch.Generator().manual_seed(14), dtype=torch.float64)
    theirs = InceptionScore(feature=Identity(), splits=4)
    theirs.update(logits)
    with torch.random.fork_rng():
        torch.manual_seed(15)
        mean, std = theirs.compute()
        torch.manual_seed(15)
        order = torch.randperm(200)
    ours = d.inception_score(logits[order].softmax(dim=1), splits=4)
    assert ours == pytest.approx(mean.item(), rel=1e-6)
    # torchmetrics prints the sample standard deviation, the paper's code the population's.
    assert ours.standard_deviation == pytest.approx(std.item() * math.sqrt(3 / 4), rel=1e-6)


def test_classification_accuracy_score_of_matching_and_of_shuffled_classes():
    labels = torch.arange(3).repeat(40)
    generator = torch.Generator().manual_seed(16)
    centres = 4 * torch.eye(3, 6)
    generated, real = (centres[labels] + torch.randn(120, 6, generator=generator) for _ in range(2))
    assert d.classification_accuracy_score(generated, labels, real, labels) > 0.9
    assert d.classification_accuracy_score(generated, labels.roll(1), real, labels) < 0.1


# --- the packages that need torchvision --------------------------------------------------------


def test_equal_to_clean_fid(pair):
    cleanfid = pytest.importorskip("cleanfid.fid", reason="clean-fid needs torchvision", exc_type=ImportError)
    a, b = (x.numpy() for x in pair)
    expected = cleanfid.frechet_distance(
        a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False)
    )
    assert d.fid(*pair) == pytest.approx(expected, rel=1e-6)
    assert d.kid(pair[0], pair[1][:300]) == pytest.approx(
        cleanfid.kernel_distance(a, b[:300], num_subsets=1, max_subset_size=300), rel=1e-6
    )


def test_equal_to_torch_fidelity(pair):
    package = pytest.importorskip(
        "torch_fidelity", reason="torch-fidelity needs torchvision", exc_type=ImportError
    )
    a, b = pair[0], pair[1][:300]
    theirs = package.metric_fid.fid_statistics_to_metric(
        *({"mu": x.numpy().mean(0), "sigma": np.cov(x.numpy(), rowvar=False)} for x in (a, b)), verbose=False
    )
    assert d.fid(a, b) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    theirs = package.metric_kid.kid_features_to_metric(
        a, b, kid_subsets=1, kid_subset_size=300, verbose=False, rng_seed=0
    )
    assert d.kid(a, b) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)


def test_bootstrap_of_a_metric_contains_its_estimate(pair):
    for metric, replace in ((d.fid, True), (d.kid, True), (d.precision_recall, False)):
        interval = d.bootstrap(
            lambda a, b, metric=metric: metric(a, b)[0] if metric is d.precision_recall else metric(a, b),
            *pair,
            resamples=20,
            replace=replace,
        )
        assert interval.low < interval.estimate < interval.high


def test_an_estimate_is_a_float_that_survives_a_copy(pair):
    estimate = d.kid(*pair)
    copied = pickle.loads(pickle.dumps(estimate))
    assert isinstance(estimate, float) and copied == estimate
    assert copied.standard_error == estimate.standard_error


# --- one clear sentence for every mistake ------------------------------------------------------

ONE, TWO = torch.zeros(1, 4), torch.rand(2, 4)
HOLES = torch.rand(5, 4).index_fill(0, torch.tensor([3]), float("nan"))


@pytest.mark.parametrize("metric", [d.fid, d.kid, d.cmmd, lambda a, b: d.precision_recall(a, b, k=1)])
@pytest.mark.parametrize(
    ("real", "generated", "error", "words"),
    [
        (ONE, TWO, ValueError, "real has shape .* at least 2 images"),
        (TWO, torch.zeros(0, 4), ValueError, "generated has shape"),
        (TWO, torch.rand(2, 5), ValueError, "real has 4 features per image and generated has 5"),
        (HOLES, TWO, ValueError, r"NaN or infinity in 1 of 5 rows \(first: 3\)"),
        (TWO, torch.rand(2, 3, 8, 8), ValueError, "features are a matrix"),
        (TWO, ["a", "b"], TypeError, "not list"),
    ],
)
def test_wrong_features_are_named(metric, real, generated, error, words):
    with pytest.raises(error, match=words):
        metric(real, generated)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: d.kid(TWO, TWO, subset_size=3), "use at least one subset of 2 to 2"),
        (lambda: d.cmmd(TWO, TWO, sigma=0), "must be positive"),
        (lambda: d.precision_recall(TWO, TWO, k=5), "k lies between 1 and 1"),
        (lambda: d.fid_infinity(TWO, torch.rand(5, 4), smallest=5), "between 2 and the 5 generated"),
        (lambda: d.fid(d.FeatureStatistics(ONE), TWO), "have seen 1 image; a covariance needs at least 2"),
        (lambda: d.FeatureStatistics(TWO).update(torch.rand(2, 3)), "the statistics so far has 4 features"),
        (lambda: d.FeatureStatistics().mean, "have seen 0 images; a mean needs"),
        (lambda: d.frechet_distance([0.0], np.eye(2), [0.0], np.eye(1)), "a mean .D. goes with"),
        (lambda: d.frechet_distance([0.0, 0], [[1.0, 2], [0, 1]], [0.0, 0], np.eye(2)), "not symmetric"),
        (lambda: d.frechet_distance([0.0, 0], [[1.0, 2], [2, 1]], [0.0, 0], np.eye(2)), "eigenvalue -1"),
        (lambda: d.frechet_distance([0.0], [[np.nan]], [0.0], np.eye(1)), "covariance_a contains NaN"),
        (lambda: d.inception_score(torch.randn(5, 3)), "apply softmax"),
        (lambda: d.inception_score(torch.full((5, 2), 0.5), splits=6), "1 to 5 parts"),
        (lambda: d.classification_accuracy_score(TWO, [0], TWO, [0, 1]), "generated_labels has shape"),
        (lambda: d.classification_accuracy_score(TWO, [0, 1], TWO, [0, 2]), "real class 2"),
        (lambda: d.classification_accuracy_score(TWO, [0, 0], TWO, [0, 0]), "at least two"),
    ],
)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_features_without_spread():
    """A collapsed generator, flat tiles: what remains of FID is the squared distance of the means."""
    ones = torch.ones(10, 8)
    assert d.fid(ones, 2 * ones) == pytest.approx(8)
    assert d.fid(ones, ones) == 0
    spread = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    by_hand = (spread.mean(0) - 1).square().sum() + torch.cov(spread.T).trace()
    assert d.fid(ones, spread) == pytest.approx(by_hand.item())
    assert d.fid(spread, ones) == pytest.approx(by_hand.item())
    assert d.frechet_distance(torch.zeros(3), torch.zeros(3, 3), torch.ones(3), torch.zeros(3, 3)) == 3
    assert d.kid(ones, ones) == pytest.approx(0, abs=1e-6)
    assert d.cmmd(ones, ones) == pytest.approx(0, abs=1e-6)
    for value in (0.0, 1.0, 0.3):
        flat = torch.full((10, 8), value)
        assert d.precision_recall(flat, flat)[:2] == (1, 1)
        assert d.precision_recall(flat, flat + 1)[:2] == (0, 0)


@pytest.mark.parametrize("degree", [0, -1, 1.5, None])
def test_a_kernel_without_a_degree(degree):
    with pytest.raises(ValueError, match="a whole number from 1 on"):
        d.kid(torch.randn(5, 3), torch.randn(5, 3), degree=degree)
