from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.tsp.cities import CITIES_FILE, china, coordinates, load_cities
from tasks.tsp.distances import euclidean, great_circle_m
from tasks.tsp.projection import EARTH_RADIUS_M, project

HEADER = "id,name_zh,name,latitude,longitude,population,province"


def table(folder: Path, *lines: str) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_vendored_table_has_676_places_of_which_about_a_tenth_is_held_out() -> None:
    cities = china()

    assert len(cities) == 676 == len({city.id for city in cities})
    assert min(city.population for city in cities) >= 100_000
    assert (cities[1].name, cities[1].name_zh, cities[1].province) == ("Beijing", "北京", "Beijing")
    assert 0.08 < np.mean([city.held_out for city in cities]) < 0.12


def test_a_table_without_a_column_is_refused_by_its_name(tmp_path: Path) -> None:
    lines = CITIES_FILE.read_text(encoding="utf-8").splitlines()[:3]
    without = [",".join(line.split(",")[:3] + line.split(",")[4:]) for line in lines]

    with pytest.raises(ValueError, match=r"mine\.csv: no column 'latitude' among .*'longitude'"):
        load_cities(table(tmp_path, *without))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("7,西安,Xi'an,95,108.9,1,Shaanxi", r"line 3, column 'latitude': found '95'; expected degrees in -90\.\.90"),
        ("7,西安,Xi'an,nan,108.9,1,Shaanxi", "column 'latitude': found 'nan'"),
        ("7,西安,Xi'an,34.3,east,1,Shaanxi", "column 'longitude': found 'east'"),
        ("7,西安,Xi'an,34.3,108.9,-5,Shaanxi", "column 'population': found '-5'; expected a whole number >= 0"),
        ("7,西安,Xi'an,34.3", "column 'longitude': found None"),
        ("1,西安,Xi'an,34.3,108.9,1,Shaanxi", r"column 'id' holds \[1\] more than once"),
    ],
)
def test_a_bad_value_is_named_with_line_and_column(tmp_path: Path, row: str, message: str) -> None:
    path = table(tmp_path, HEADER, "1,北京,Beijing,39.9,116.4,2,Beijing", row)

    with pytest.raises(ValueError, match=message):
        load_cities(path)


def test_a_quarter_of_a_great_circle_is_a_quarter_of_the_earths_girth() -> None:
    distances_m = great_circle_m(np.array([(0.0, 10.0), (0.0, 100.0), (90.0, 0.0)]))

    assert distances_m.dtype == np.int64
    np.testing.assert_array_equal(
        distances_m + np.eye(3), np.rint(np.pi / 2 * EARTH_RADIUS_M) * (1 - np.eye(3)) + np.eye(3)
    )


def test_the_plane_keeps_distances_of_china_within_three_per_cent() -> None:
    degrees = coordinates(china())
    pairs = np.triu_indices(len(degrees), 1)

    ratio = euclidean(project(degrees), 1000)[pairs] / great_circle_m(degrees)[pairs]

    assert 0.97 < ratio.min() < ratio.max() < 1.03
