from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tasks.tsp.answer import describe, write_answer
from tasks.tsp.projection import project_locally
from tasks.tsp.requests import read_request
from tasks.tsp.solver import solve_tour

CITIES = "name,latitude,longitude\nParis,48.86,2.35\nBerlin,52.52,13.41\nMadrid,40.42,-3.70\nRome,41.90,12.50\n"


def save(folder: Path, content: str, name: str = "places.csv") -> Path:
    path = folder / name
    path.write_text(content)
    return path


def tsplib(kind: str, rows: str, size: int = 3, section: str = "NODE_COORD_SECTION") -> str:
    return f"NAME : x\nDIMENSION : {size}\nEDGE_WEIGHT_TYPE : {kind}\n{section}\n{rows}\nEOF\n"


def test_cities_become_a_table_pictures_and_geojson(tmp_path: Path) -> None:
    request = read_request(save(tmp_path, CITIES))
    solution = solve_tour(request.distances)

    files = write_answer(tmp_path / "out", request, solution)

    assert [file.name for file in files] == ["order.csv", "tour.png", "tour.svg", "tour.geojson"]
    table = list(csv.DictReader((tmp_path / "out/order.csv").open()))
    assert {row["name"] for row in table} == {"Paris", "Berlin", "Madrid", "Rome"}
    assert sum(float(row["to_next_km"]) for row in table) == pytest.approx(solution.length / 1000, abs=0.1)
    (line, *stops) = json.loads((tmp_path / "out/tour.geojson").read_text())["features"]
    assert line["geometry"]["coordinates"][0] == line["geometry"]["coordinates"][-1] == [2.35, 48.86]
    assert len(stops) == 4
    assert "proven to be the shortest" in describe(request, solution)


def test_a_rectangle_is_walked_around(tmp_path: Path) -> None:
    request = read_request(save(tmp_path, "x,y\n0,0\n3,4\n3,0\n0,4\n"))
    solution = solve_tour(request.distances)

    assert request.names == ("1", "2", "3", "4")
    assert solution.length == 14 * request.per_unit


@pytest.mark.parametrize(
    ("kind", "rows", "expected"),
    [
        ("EUC_2D", "1 0 0\n2 1 1\n3 3 0", [1, 2, 3]),  # 1.41, 2.24, 3
        ("CEIL_2D", "1 0 0\n2 1 1\n3 3 0", [2, 3, 3]),
        ("ATT", "1 0 0\n2 10 0\n3 0 20", [4, 8, 7]),  # 3.16, 7.07, 6.32 by the root of ten
        ("GEO", "1 38.24 20.42\n2 39.57 26.15\n3 40.56 25.32", [509, 126, 501]),  # the first nodes of ulysses16
    ],
)
def test_tsplib_types_measure_as_they_are_defined(tmp_path: Path, kind: str, rows: str, expected: list[int]) -> None:
    distances = read_request(save(tmp_path, tsplib(kind, rows), "x.tsp")).distances

    assert [distances[0, 1], distances[1, 2], distances[0, 2]] == expected
    assert (distances == distances.T).all()


def test_explicit_matrices_are_read_in_all_their_forms(tmp_path: Path) -> None:
    forms = {
        "FULL_MATRIX": "0 1 2\n1 0 3\n2 3 0",
        "UPPER_ROW": "1 2 3",
        "LOWER_ROW": "1\n2 3",
        "UPPER_DIAG_ROW": "0 1 2\n0 3\n0",
        "LOWER_DIAG_ROW": "0 1 0 2 3 0",
    }
    for form, rows in forms.items():
        text = tsplib("EXPLICIT", rows, section=f"EDGE_WEIGHT_FORMAT : {form}\nEDGE_WEIGHT_SECTION")
        request = read_request(save(tmp_path, text, "x.tsp"))
        assert request.distances.tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]
        assert request.points is None


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            "name,latitude,longitude\nA,95,3\n",
            "a.csv",
            r"line 2, column 'latitude': found '95'; expected degrees in -90",
        ),
        ("x,y\n1,2\nnan,3\n", "a.csv", r"line 3, column 'x': found 'nan'; expected a finite number"),
        ("x,y\n1,2\n,3\n", "a.csv", r"line 3, column 'x': found ''"),
        ("x,y\n1,2\n3,4\n1,2\n", "a.csv", r"line 4: x 1 and y 2 stand in line 2 too"),
        ("x,y\n1,2\n3,4\n", "a.csv", r"found 2 places; expected 3 to"),
        ("a,b\n1,2\n", "a.csv", r"the header is a,b; expected name,latitude,longitude or x,y"),
        ("x,y\n0,0\n1e18,0\n0,1\n", "a.csv", r"measure in a larger unit"),
        (tsplib("MAN_2D", "1 0 0"), "a.tsp", r"line 3: EDGE_WEIGHT_TYPE is 'MAN_2D'; expected one of EUC_2D"),
        (tsplib("EUC_2D", "1 0 0\n2 a 3"), "a.tsp", r"line 6: found 'a'; expected a number"),
        (tsplib("EUC_2D", "1 0 0\n2 1 1"), "a.tsp", r"2 coordinates in NODE_COORD_SECTION; DIMENSION says 3"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path: Path, content: str, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_request(save(tmp_path, content, name))


def test_an_asymmetric_matrix_is_refused_by_its_nodes(tmp_path: Path) -> None:
    section = "EDGE_WEIGHT_FORMAT : FULL_MATRIX\nEDGE_WEIGHT_SECTION"
    request = read_request(save(tmp_path, tsplib("EXPLICIT", "0 1 2\n1 0 3\n2 4 0", section=section), "a.tsp"))

    with pytest.raises(ValueError, match="from node 1 to node 2 is 3 and back 4"):
        solve_tour(request.distances)


def test_the_local_plane_keeps_distances_from_the_middle_also_across_the_date_line() -> None:
    points = project_locally(np.array([[1.0, 179.0], [-1.0, -179.0], [1.0, -179.0], [-1.0, 179.0]]))

    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 157.2, atol=0.3)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-6)
