"""Customers: a full export first, changes and new ones later. Made-up people with addresses at example.com."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from pipelines.ingestion.generator.delivery import Delivery, Table
from pipelines.ingestion.generator.manifest import ExpectedFile
from pipelines.ingestion.generator.sales import CUSTOMERS
from pipelines.ingestion.generator.writers import Kind, Row

FIELDS: dict[str, Kind] = {
    "customer_id": "text",
    "name": "text",
    "email": "text",
    "phone": "text",
    "street": "text",
    "postal_code": "text",
    "city": "text",
    "country": "text",
    "birth_date": "date",
    "segment": "text",
    "credit_limit": "money",
    "newsletter": "boolean",
    "created_at": "timestamp",
    "updated_at": "timestamp",
}
_FIRST = ("Anna", "Ben", "Chiara", "David", "Elif", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Klara", "Luca", "Mia",
          "Noah", "Olga", "Paul", "Rosa", "Samir", "Tilda", "Zoé")  # fmt: skip
_LAST = ("Berger", "Conti", "Dubois", "Ecker", "Fischer", "Gruber", "Hartmann", "Jansen", "Keller", "Lang", "Meier",
         "Novak", "Öztürk", "Peters", "Rossi", "Schulz", "Thomas", "Vogel", "Weiß", "Zimmer")  # fmt: skip
_STREETS = ("Bahnhofstraße", "Gartenweg", "Hauptstraße", "Lindenallee", "Rue de la Gare", "Via Roma", "Kerkstraat")
_PLACES = (("DE", "Berlin", "10115", "+49 30"), ("DE", "Köln", "50667", "+49 221"), ("AT", "Wien", "1010", "+43 1"),
           ("CH", "Zürich", "8001", "+41 44"), ("FR", "Lyon", "69001", "+33 4"), ("NL", "Utrecht", "3511", "+31 30"),
           ("DE", "Dresden", "01067", "+49 351"))  # fmt: skip
SEGMENTS = ("consumer", "small business", "corporate")
_CHANGED, _NEW, _LATE = 25, 12, 5


def write_customers(folder: Path, start: dt.date, days: int, seed: int) -> tuple[list[ExpectedFile], Table]:
    """Write the export and two files of changes; return what is expected of each, and the table."""
    rng = np.random.default_rng([seed, 1])
    table = Table("customers", "customer_id", FIELDS)
    export = Delivery(table)
    opening = dt.datetime.combine(start, dt.time(), dt.UTC)
    for number in range(1, CUSTOMERS + 1):
        row = _customer(rng, number, opening - dt.timedelta(days=int(rng.integers(30, 1500))))
        if number % 50 == 0:  # the export has some twice, before and after a change of address
            export.outdated(row)
            row = _moved(rng, row, opening - dt.timedelta(days=1))
        export.new(row)
    strangers = [_customer(rng, 9000 + number, opening - dt.timedelta(days=40)) for number in range(8)]
    export.bad({**strangers[0], "email": "no address"}, "email: format")
    export.bad({**strangers[1], "email": "anna at example.com"}, "email: format")
    export.bad({**strangers[2], "country": "Germany"}, "country: accepted")
    export.bad({**strangers[3], "birth_date": "1985-02-30"}, "birth_date: type")
    export.bad({**strangers[4], "name": ""}, "name: required")
    export.bad({**strangers[5], "credit_limit": "unlimited"}, "credit_limit: type")
    files = [export.write(folder, f"customers_{start}.csv", delimiter=";", decimal=",")]
    for part, extension in enumerate(("ndjson.zst", "csv.gz"), start=1):
        day = start + dt.timedelta(days=max(part, part * days // 2 - 1))
        files.append(
            _changes(rng, table, day, part).write(folder, f"customers_{day}.{extension}", delimiter=";", decimal=",")
        )
    return files, table


def _changes(rng: np.random.Generator, table: Table, day: dt.date, part: int) -> Delivery:
    changes = Delivery(table)
    noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
    picked = [f"C{number + 1:04d}" for number in rng.permutation(CUSTOMERS)]
    for position, customer in enumerate(picked[:_CHANGED]):
        changes.change(_moved(rng, table.rows[customer], noon + dt.timedelta(minutes=position)))
    for customer in picked[_CHANGED : _CHANGED + _LATE]:
        row = table.rows[customer]
        changes.known({**row, "segment": "corporate", "updated_at": row["updated_at"] - dt.timedelta(hours=1)})
    for number in range(_NEW):
        changes.new(_customer(rng, CUSTOMERS + (part - 1) * _NEW + number + 1, noon))
    changes.bad({**_customer(rng, 9100 + part, noon), "segment": "vip"}, "segment: accepted")
    return changes


def _customer(rng: np.random.Generator, number: int, created: dt.datetime) -> Row:
    first, last = _FIRST[rng.integers(len(_FIRST))], _LAST[rng.integers(len(_LAST))]
    country, city, postal_code, prefix = _PLACES[rng.integers(len(_PLACES))]
    created = created.replace(microsecond=0)
    return {
        "customer_id": f"C{number:04d}",
        "name": f"{first} {last}",
        "email": f"customer.{number}@example.com",
        "phone": None if rng.random() < 0.2 else f"{prefix} 555{rng.integers(1000, 9999)}",
        "street": f"{_STREETS[rng.integers(len(_STREETS))]} {rng.integers(1, 120)}",
        "postal_code": postal_code,
        "city": city,
        "country": country,
        "birth_date": f"{rng.integers(1945, 2006)}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}",
        "segment": SEGMENTS[rng.choice(3, p=[0.7, 0.2, 0.1])],
        "credit_limit": int(rng.integers(5, 200)) * 5000,
        "newsletter": bool(rng.random() < 0.4),
        "created_at": created,
        "updated_at": created,
    }


def _moved(rng: np.random.Generator, row: Row, when: dt.datetime) -> Row:
    street = f"{_STREETS[rng.integers(len(_STREETS))]} {rng.integers(121, 200)}"
    return {**row, "street": street, "updated_at": when}
