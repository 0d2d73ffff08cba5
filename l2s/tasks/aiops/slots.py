"""The names and numbers of a log: most are drawn once for an item, some anew for every entry."""

from __future__ import annotations

import random
from collections.abc import Callable

SERVICE_NOUNS = (
    "cart",
    "checkout",
    "inventory",
    "catalog",
    "search",
    "profile",
    "pricing",
    "shipping",
    "invoice",
    "notify",
    "review",
    "coupon",
    "refund",
    "media",
    "quota",
    "feed",
    "geo",
    "loyalty",
    "booking",
    "parcel",
    "claims",
    "rating",
    "voucher",
    "wallet",
    "roster",
    "fleet",
    "menu",
    "ticket",
)
SERVICE_KINDS = (
    "api",
    "worker",
    "core",
    "sync",
    "writer",
    "reader",
    "engine",
    "router",
    "hub",
    "store",
    "loader",
    "agent",
    "broker",
    "batch",
    "indexer",
    "cache",
    "relay",
    "planner",
    "monitor",
    "exporter",
)
HOST_KINDS = ("web", "app", "edge", "build", "batch", "mail", "proxy", "stage")
TABLES = (
    "orders",
    "payments",
    "shipments",
    "customers",
    "events",
    "prices",
    "invoices",
    "bookings",
    "ratings",
    "carts",
)
COLUMNS = ("customer_id", "status", "created_at", "sku", "region", "email", "batch_no", "due_date", "tenant", "carrier")
USERS = (
    "amelie",
    "bruno",
    "carmen",
    "deniz",
    "edith",
    "felipe",
    "gustav",
    "hedda",
    "ilias",
    "jolanta",
    "kenji",
    "lotte",
)
PAGES = ("offers", "basket", "gallery", "reports", "archive", "documents", "tickets", "products", "invoices", "forum")
CLASSES = (
    "OrderBook",
    "SessionStore",
    "AuditTrail",
    "PriceTable",
    "RouteMap",
    "StockLedger",
    "MailQueue",
    "ImageIndex",
    "TokenVault",
    "ReportCache",
    "BasketView",
    "FareRules",
)
LIBRARIES = ("jsonkit", "netwire", "fastxml", "cryptlib", "protolite", "yamlcore", "csvflow", "httpmini")
FIELDS = ("amount_v2", "tax_class", "gift_note", "origin_code", "loyalty_tier", "net_weight", "slot_id", "vat_rate")
MOUNTS = ("/data", "/srv/vol", "/mnt/wal", "/mnt/disk", "/export", "/pool")

Draw = Callable[[random.Random], str]


def _whole(low: int, high: int) -> Draw:
    return lambda rng: str(rng.randint(low, high))


def _one_of(values: tuple[str, ...], suffix: Callable[[random.Random], str] = lambda rng: "") -> Draw:
    return lambda rng: rng.choice(values) + suffix(rng)


def _hex(digits: int) -> Draw:
    return lambda rng: f"{rng.getrandbits(4 * digits):0{digits}x}"


def _digits(rng: random.Random) -> str:
    return f"{rng.randint(1, 60):02d}"


def _number_suffix(rng: random.Random) -> str:
    return f"-{_digits(rng)}"


def _service(rng: random.Random) -> str:
    return f"{rng.choice(SERVICE_NOUNS)}-{rng.choice(SERVICE_KINDS)}"


def _pod(rng: random.Random) -> str:
    return f"{_service(rng)}-{_hex(5)(rng)}"


def _address(rng: random.Random) -> str:
    return f"10.{rng.randint(1, 250)}.{rng.randint(0, 250)}.{rng.randint(2, 250)}"


def _version(rng: random.Random) -> str:
    return f"{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 20)}"


ONCE: dict[str, Draw] = {
    "svc": _service,
    "client": _service,
    "db": _one_of(TABLES, lambda rng: f"-db{_number_suffix(rng)}"),
    "host": _one_of(HOST_KINDS, _number_suffix),
    "peer": _one_of(HOST_KINDS, _number_suffix),
    "node": lambda rng: f"node{_number_suffix(rng)}",
    "ip": _address,
    "ip2": _address,
    "badip": _address,
    "port": _whole(20000, 39999),
    "port2": _whole(40000, 59999),
    "domain": _one_of(SERVICE_NOUNS, lambda rng: ".example.com"),
    "page": _one_of(PAGES, _digits),
    "mount": _one_of(MOUNTS, _digits),
    "disk": lambda rng: f"nvme{rng.randint(0, 31)}n1",
    "table": _one_of(TABLES, lambda rng: f"_{rng.randint(2015, 2024)}"),
    "column": _one_of(COLUMNS),
    "user": _one_of(USERS),
    "cls": _one_of(CLASSES[::2]),
    "cls2": _one_of(CLASSES[1::2]),
    "lib": _one_of(LIBRARIES),
    "field": _one_of(FIELDS),
    "topic": _one_of(TABLES, lambda rng: f".{rng.choice(SERVICE_NOUNS)}"),
    "tid": _whole(1, 40),
    "tid2": _whole(41, 80),
    "secret": lambda rng: f"{rng.choice(SERVICE_NOUNS)}-creds-{rng.randint(2, 40)}",
    "volume": lambda rng: f"pvc-{_hex(6)(rng)}",
    "spid": _whole(10000, 32000),
    "day": lambda rng: f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
    "pct": _whole(91, 99),
    "count": _whole(1200, 9800),
    "limit": _whole(96, 980),
    "size": _whole(1100, 9900),
    "secs": _whole(31, 590),
    "minutes": _whole(7, 58),
    "rev": _whole(100, 499),
    "rev2": _whole(500, 899),
    "version": _version,
    "version2": _version,
    "n1": _whole(200, 900),
    "big1": _whole(1_000_000, 9_999_999),
}

ANEW: dict[str, Draw] = {
    "other": _service,
    "otherpod": _pod,
    "anyip": _address,
    "pid": _whole(300, 9999),
    "ms": _whole(300, 9999),
    "n": _whole(2, 299),
    "hex": _hex(4),
    "big": _whole(10_000, 999_999),
}


class Slots(dict[str, str]):
    """What `{name}` stands for in one item. Use with `str.format_map`."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    def __missing__(self, name: str) -> str:
        if name in ANEW:
            return self._unused(ANEW[name])
        self[name] = f"{self['svc']}-{_hex(5)(self._rng)}" if name == "pod" else self._unused(ONCE[name])
        return self[name]

    def _unused(self, draw: Draw) -> str:
        """A value that no other name of the item has: a bystander must not be called like the culprit."""
        while (value := draw(self._rng)) in self.values():
            pass
        return value
