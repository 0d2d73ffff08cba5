"""The names in a log: services, hosts, addresses, tables, days. Quantities are in quantities.py."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

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


def whole(low: int, high: int) -> Draw:
    """A random whole number, both bounds included."""
    return lambda rng: str(rng.randint(low, high))


def hexadecimal(digits: int) -> Draw:
    """A random id with that many digits."""
    return lambda rng: f"{rng.getrandbits(4 * digits):0{digits}x}"


def _one_of(values: tuple[str, ...], suffix: Callable[[random.Random], str] = lambda rng: "") -> Draw:
    return lambda rng: rng.choice(values) + suffix(rng)


def _digits(rng: random.Random) -> str:
    return f"{rng.randint(1, 60):02d}"


def _number_suffix(rng: random.Random) -> str:
    return f"-{_digits(rng)}"


def service(rng: random.Random) -> str:
    """A service, such as `cart-api`."""
    return f"{rng.choice(SERVICE_NOUNS)}-{rng.choice(SERVICE_KINDS)}"


def _pod(rng: random.Random) -> str:
    return f"{service(rng)}-{hexadecimal(5)(rng)}"


def _address(rng: random.Random) -> str:
    return f"10.{rng.randint(1, 250)}.{rng.randint(0, 250)}.{rng.randint(2, 250)}"


def _version(rng: random.Random) -> str:
    return f"{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 20)}"


def _disk(rng: random.Random) -> str:
    return f"sd{rng.choice('abcdefgh')}{rng.choice('abcdefghijklmnopqrstuvwxyz')}"


ONCE: dict[str, Draw] = {
    "svc": service,
    "client": service,
    "bystander": service,
    "bystander_pod": _pod,
    "db": _one_of(TABLES, lambda rng: f"-db{_number_suffix(rng)}"),
    "host": _one_of(HOST_KINDS, _number_suffix),
    "peer": _one_of(HOST_KINDS, _number_suffix),
    "node": lambda rng: f"node{_number_suffix(rng)}",
    "ip": _address,
    "ip2": _address,
    "ip3": _address,
    "badip": _address,
    "hostip": _address,
    "visitor": _address,
    "port": whole(20000, 39999),
    "port2": whole(40000, 59999),
    "domain": _one_of(SERVICE_NOUNS, lambda rng: ".example.com"),
    "page": _one_of(PAGES, _digits),
    "mount": _one_of(MOUNTS, _digits),
    "disk": _disk,
    "table": _one_of(TABLES, lambda rng: f"_{rng.randint(2015, 2024)}"),
    "column": _one_of(COLUMNS),
    "user": _one_of(USERS),
    "cls": _one_of(CLASSES[::2]),
    "cls2": _one_of(CLASSES[1::2]),
    "lib": _one_of(LIBRARIES),
    "field": _one_of(FIELDS),
    "topic": _one_of(TABLES, lambda rng: f".{rng.choice(SERVICE_NOUNS)}"),
    "tid": whole(1, 40),
    "tid2": whole(41, 80),
    "secret": lambda rng: f"{rng.choice(SERVICE_NOUNS)}-creds-{rng.randint(2, 40)}",
    "volume": lambda rng: f"pvc-{hexadecimal(6)(rng)}",
    "ref": hexadecimal(4),
    "lock": hexadecimal(4),
    "lock2": hexadecimal(4),
    "version": _version,
    "version2": _version,
}

PER_ENTRY: dict[str, Draw] = {
    "other": service,
    "otherpod": _pod,
    "anyip": _address,
    "hex": hexadecimal(4),
}


def day_between(start: datetime, low: int, high: int, rng: random.Random) -> str:
    """A date `low` to `high` days after `start`; negative numbers are before it."""
    return f"{start + timedelta(days=rng.randint(low, high)):%Y-%m-%d}"
