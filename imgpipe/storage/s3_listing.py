"""Listings in key order, also from servers that list in another order.

S3 lists by key; S3 Express One Zone, s3rver, the gateway of JuiceFS and others list by hash or folder by
folder. The order shows in the listing itself: the first 50,000 objects are held back until they are seen to
be in order. Where they are not, everything is listed without ``StartAfter`` (whose meaning depends on the
order) into a temporary SQLite database, whose external merge sort needs little memory, and per object about
300 bytes of disk in the folder for temporary files (``TMPDIR``). That a server sorts otherwise is remembered
for the life of the process.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain, islice, pairwise

from imgpipe.errors import StoreUnavailable
from imgpipe.records import SourceObject

#: Lists everything whose key starts with the first argument, where the server can after the second.
Lister = Callable[[str, str | None], Iterator[SourceObject]]

#: Objects that are held back until their order is known.
AHEAD = 50_000
_LOG = logging.getLogger(__name__)
_unsorted: set[str] = set()


def lists_by_key(place: str, order: str) -> bool:
    """Whether listings of a bucket are in key order as far as is known."""
    return order == "sorted" or (order == "auto" and place not in _unsorted)


def in_key_order(
    lister: Lister,
    place: str,
    order: str,
    prefix: str,
    start_after: str | None,
    beginning_with: Callable[[str], Iterable[str]] = lambda start: (),
) -> Iterator[SourceObject]:
    """What ``lister`` lists below ``prefix`` after ``start_after``, by key.

    ``place``: one bucket of one server; ``order``: ``s3.listing_order``; ``beginning_with``: some of the
    names that begin with a text, each up to its next slash. Disorder that begins behind the
    first 50,000 objects is logged and yielded as it comes: whoever needs the order has to check it, and finds
    it sorted at the second try.
    """
    found_out = order == "auto" and place not in _unsorted
    if found_out and start_after and _passes_over(lister, beginning_with, start_after):
        _note(place)
    if not lists_by_key(place, order):
        yield from _sorted(_whole(lister, prefix, start_after), place)
        return
    listing = lister(prefix, start_after)
    if order == "sorted":
        yield from listing
        return
    first = list(islice(listing, AHEAD))
    names = [start_after or "", *(found.key for found in first)]
    if any(after < before for before, after in pairwise(names)):
        _note(place)
        # What StartAfter means to this server is not known.
        everything = chain(first, listing) if start_after is None else _whole(lister, prefix, start_after)
        yield from _sorted(everything, place)
        return
    yield from first
    last = names[-1]
    for found in listing:
        if found.key < last:
            _note(place)
        last = found.key
        yield found


def _passes_over(lister: Lister, beginning_with: Callable[[str], Iterable[str]], start_after: str) -> bool:
    """Whether a listing that goes on after this key has passed over others.

    A server that goes folder by folder lists ``a/1`` before ``a-1``, and after ``a/1`` only what is greater:
    ``a-1`` is never seen. It shows where names like ``a-1`` are there, and do not come first after ``a``.
    """
    for folder in (start_after[:end] for end, letter in enumerate(start_after) if letter == "/"):
        if any(folder < name < f"{folder}/" for name in beginning_with(folder)):
            first = next(lister(folder, folder), None)
            return first is None or first.key > f"{folder}/"
    return False


def _note(place: str) -> None:
    if place not in _unsorted:
        _unsorted.add(place)
        _LOG.warning(
            "%s does not list in key order: its listings are sorted on this machine, in TMPDIR; "
            "s3.listing_order=unsorted saves finding it out",
            place,
        )


def _whole(lister: Lister, prefix: str, start_after: str | None) -> Iterator[SourceObject]:
    # Directory buckets take only prefixes that end with a slash.
    folder = prefix[: prefix.rfind("/") + 1]
    for found in lister(folder, None):
        if found.key.startswith(prefix) and (start_after is None or found.key > start_after):
            yield found


def _sorted(listing: Iterator[SourceObject], place: str) -> Iterator[SourceObject]:
    rows = ((found.key, found.size_bytes, found.etag) for found in listing)
    try:
        # The empty name: a database in a temporary file, gone when it is closed.
        with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as database:
            database.execute("CREATE TABLE found (key TEXT, size INTEGER, etag TEXT)")
            database.execute("BEGIN")
            database.executemany("INSERT INTO found VALUES (?, ?, ?)", rows)
            # Compared as UTF-8, which sorts as code points do.
            for row in database.execute("SELECT key, size, etag FROM found ORDER BY key"):
                yield SourceObject(*row)
    except sqlite3.Error as exc:
        raise StoreUnavailable(
            f"{place}: its listing cannot be sorted on this machine: {exc}; expected about 300 bytes per "
            "object in the folder for temporary files: free some space or set TMPDIR"
        ) from exc
