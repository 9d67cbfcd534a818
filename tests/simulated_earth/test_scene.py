"""A scene keeps its promises: one place, shaped by date, cloud, scale and latitude."""

import datetime

import numpy as np
import pytest

from rs_course import simulated_earth
from rs_course.simulated_earth import CLASSES, LANDCOVER, scene, tiles


@pytest.mark.parametrize("label", CLASSES)
def test_a_scene_has_everything(label):
    s = scene(label, 1)
    assert s.image.shape == (64, 64, 3) and s.image.dtype == np.uint8
    assert s.image_hr.shape == (256, 256, 3) and s.image_hr.dtype == np.uint8
    assert s.landcover.shape == (256, 256) and s.landcover.dtype == np.uint8
    assert set(np.unique(s.landcover)) <= {number for number, _ in LANDCOVER.values()}
    assert s.roads.shape == (256, 256) and s.roads.dtype == bool
    assert s.elevation.shape == (256, 256) and s.elevation.dtype == np.float32
    assert np.isfinite(s.elevation).all()
    assert set(s.metadata) == {"lon", "lat", "gsd", "cloud_cover", "year", "month", "day"}
    assert len(s.captions) >= 5 and len(set(s.captions)) == len(s.captions)
    assert s.label == label and label in repr(s)


def test_classes_are_eurosats_in_order():
    assert len(CLASSES) == 10 and list(CLASSES) == sorted(CLASSES)


def test_tiles_are_the_images_of_scenes():
    labels, seeds = ["River", "Industrial", "SeaLake"], [3, 4, 5]
    batch = tiles(labels, seeds)
    for image, label, seed in zip(batch, labels, seeds, strict=True):
        np.testing.assert_array_equal(image, scene(label, seed).image)
    np.testing.assert_array_equal(tiles("River", [9, 3])[1], batch[0])


def test_place_is_the_same_at_every_date_and_sky():
    one = scene("River", 5, date="2020-07-01", cloud_cover=0.0)
    two = scene("River", 5, date=(2020, 4, 2), cloud_cover=0.5)
    np.testing.assert_array_equal(one.landcover, two.landcover)
    np.testing.assert_array_equal(one.elevation, two.elevation)
    assert (one.image != two.image).mean() > 0.5


def test_dates_may_be_given_three_ways():
    forms = [datetime.date(2021, 5, 9), datetime.datetime(2021, 5, 9, 10), "2021-05-09", (2021, 5, 9)]
    images = [scene("Pasture", 2, date=form).image for form in forms]
    assert all((image == images[0]).all() for image in images)


@pytest.mark.parametrize("fraction", [0.0, 0.03, 0.3, 0.77, 1.0])
def test_cloud_cover_is_met_to_the_pixel(fraction):
    s = scene("Forest", 8, cloud_cover=fraction, date="2021-07-01")
    assert s.clouds.mean() == pytest.approx(fraction, abs=1 / 65536)
    if 0 < fraction < 1:
        assert s.image_hr[s.clouds].mean() > s.image_hr[~s.clouds].mean() + 20


def test_clouds_cast_shadows():
    clear = scene("Pasture", 8, cloud_cover=0.0, date="2021-06-01")
    cloudy = scene("Pasture", 8, cloud_cover=0.25, date="2021-06-01")
    darker = (cloudy.image_hr.astype(int).sum(-1) < clear.image_hr.astype(int).sum(-1) - 15) & ~cloudy.clouds
    assert darker.mean() > 0.03


def test_larger_gsd_shows_more_of_the_same_place():
    near, far = scene("River", 3, gsd=10), scene("River", 3, gsd=20)
    centre = far.landcover[64:192, 64:192]
    agreement = (near.landcover[::2, ::2] == centre) | (near.landcover[1::2, 1::2] == centre)
    assert agreement.mean() > 0.9


def test_latitude_turns_the_seasons_around():
    north = scene("Pasture", 4, date="2021-01-10", lat=60)
    south = scene("Pasture", 4, date="2021-01-10", lat=-40)
    assert north.facts["season"] == "winter" and south.facts["season"] == "summer"
    assert north.facts["snow"] and not south.facts["snow"]
    assert north.image.mean() > south.image.mean() + 40


def test_the_sun_and_shadows_follow_date_and_hemisphere():
    assert "south" in scene("Forest", 1, lat=50, date="2021-06-20").facts["sun"]
    assert "north" in scene("Forest", 1, lat=-40, date="2021-06-20").facts["sun"]


def test_towns_grow_with_the_years():
    old, new = (
        np.isin(scene("Residential", 6, date=(year, 6, 1)).landcover, [7]).sum() for year in (1995, 2024)
    )
    assert new > 1.1 * old


def test_summer_is_greener_than_late_autumn_for_deciduous_forest():
    def greenness(date):
        image = scene("Forest", 11, date=date, cloud_cover=0, lat=48).image.astype(float).mean((0, 1))
        return image[1] - image[0]

    assert greenness("2021-07-01") > greenness("2021-11-25")


BAD = [
    ({"label": "Desert"}, ValueError, "Unknown label 'Desert'"),
    ({"label": None}, ValueError, "Unknown label"),
    ({"seed": 1.5}, TypeError, "seed must be an integer"),
    ({"seed": -1}, ValueError, "seed is -1"),
    ({"date": (2020, 13, 1)}, ValueError, "month must be in 1..12"),
    ({"date": "2020-02-30"}, ValueError, "2020-02-30"),
    ({"date": 5}, ValueError, "YYYY-MM-DD"),
    ({"gsd": -10}, ValueError, "gsd is -10"),
    ({"gsd": float("nan")}, ValueError, "gsd is nan"),
    ({"gsd": "10"}, TypeError, "gsd must be a number"),
    ({"cloud_cover": 1.2}, ValueError, "cloud_cover is 1.2"),
    ({"lat": 91}, ValueError, "lat is 91"),
    ({"lon": 181}, ValueError, "lon is 181"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input_gets_one_clear_sentence(change, error, message):
    arguments = {"label": "River", "seed": 0, **change}
    with pytest.raises(error, match=message) as caught:
        scene(arguments.pop("label"), arguments.pop("seed"), **arguments)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_tiles_wants_as_many_labels_as_seeds():
    with pytest.raises(ValueError, match="2 labels for 3 seeds"):
        tiles(["River", "Forest"], [1, 2, 3])


def test_version_is_a_string():
    assert isinstance(simulated_earth.VERSION, str) and simulated_earth.VERSION
