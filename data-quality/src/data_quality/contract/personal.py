"""What a column's name says of people: the one vocabulary for inferring contracts and for checking them."""

from __future__ import annotations

import re
import unicodedata

_SPELLED = str.maketrans({"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "ł": "l", "Ł": "L", "đ": "d"})

# Kind of data → groups of words; a name has all words of one of the groups.
_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("email", ("email", "mail", "e mail")),
    ("phone", ("phone", "telephone", "mobile", "cellphone", "fax", "phonenumber", "handy", "tel")),
    (
        "person_name",
        ("first name", "last name", "full name", "middle name", "firstname", "lastname", "fullname", "surname",
         "forename", "given name", "family name", "customer name", "contact name", "employee name", "patient name",
         "user name", "username", "person name", "vorname", "nachname", "owner name", "maiden name"),
    ),
    ("birth_date", ("birth", "birthday", "birthdate", "dob", "date of birth", "born")),
    ("ip_address", ("ip", "ip address", "ipaddress", "client ip", "remote addr")),
    ("device", ("mac address", "device id", "imei", "cookie id")),
    ("address", ("address", "street", "addr", "zip", "zipcode", "postcode", "postal code", "plz", "house number")),
    ("bank_account", ("iban", "account number", "bank account", "bic", "swift", "account no")),
    ("payment_card", ("card number", "credit card", "pan", "cardnumber", "card no")),
    (
        "official_number",
        ("ssn", "social security", "passport", "tax id", "national id", "driver license", "drivers license",
         "license plate", "steuernummer", "insurance number"),
    ),
    ("gender", ("gender", "sex")),
    (
        "person_id",
        ("customer id", "user id", "client id", "patient id", "employee id", "member id", "person id", "customer no",
         "customer number", "customer key", "contact id", "subscriber id", "passenger id"),
    ),
)  # fmt: skip
_NOT_PEOPLE = frozenset(
    {"product", "company", "file", "host", "server", "table", "column", "event", "image", "template"}
)
_PEOPLE = frozenset(
    {"customers", "users", "employees", "patients", "contacts", "members", "people", "persons", "passengers", "staff"}
)


def words(name: str) -> list[str]:
    """Split a name at what is no letter or digit and where lower case turns to upper: InvoiceNo → invoice, no."""
    plain = unicodedata.normalize("NFKD", name.translate(_SPELLED)).encode("ascii", "ignore").decode()
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", plain)
    apart = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", apart)
    return re.findall(r"[a-z0-9]+", apart.lower())


def personal_by_name(name: str, dataset: str = "") -> tuple[str, str] | None:
    """Return the kind of personal data that a column's name speaks of and the words that do, None if it does not.

    A column that is just called name is a person's in a dataset of people.
    """
    found = words(name)
    if found == ["name"] and not _PEOPLE.isdisjoint(words(dataset)):
        return "person_name", f"name, of {dataset}"
    if not _NOT_PEOPLE.isdisjoint(found):
        return None
    spelt = f" {' '.join(found)} "
    for kind, phrases in _NAMES:
        for phrase in phrases:
            if f" {phrase} " in spelt:
                return kind, phrase
    return None
