"""One contract for every store."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from imgpipe.errors import ObjectChanged, ObjectExists, ObjectMissing, ObjectUnreadable
from imgpipe.storage.store import ImageStore, LeftOut, check_key, is_hidden


def etag_of(store: ImageStore, key: str) -> str:
    return next(found.etag for found in store.list(key) if found.key == key)


def listed(store: ImageStore, prefix: str = "", start_after: str | None = None) -> list[str]:
    return [found.key for found in store.list(prefix, start_after=start_after)]


class TestContract:
    def test_missing(self, store: ImageStore) -> None:
        store.write("there.png", b"x")
        with pytest.raises(ObjectMissing, match=r"gone\.png"):
            store.read("gone.png")
        with pytest.raises(ObjectMissing):
            store.read("no/such/folder.png", etag="abc")
        assert not store.exists("gone.png")
        assert not store.exists("no/such/folder.png")

    def test_second_write_is_refused_unless_asked_for(self, store: ImageStore) -> None:
        store.write("k/x.png", b"first")
        with pytest.raises(ObjectExists, match=r"k/x\.png"):
            store.write("k/x.png", b"second")
        assert store.read("k/x.png") == b"first"
        store.write("k/x.png", b"third", overwrite=True)
        assert store.read("k/x.png") == b"third"
        store.write("k/new.png", b"fresh", overwrite=True)
        assert store.read("k/new.png") == b"fresh"

    def test_etag_guards_a_read(self, store: ImageStore) -> None:
        store.write("x.png", b"aaaa")
        etag = etag_of(store, "x.png")
        assert store.read("x.png", etag=etag) == b"aaaa"
        store.write("x.png", b"bbbb", overwrite=True)
        with pytest.raises(ObjectChanged, match=r"x\.png"):
            store.read("x.png", etag=etag)
        assert store.read("x.png", etag=etag_of(store, "x.png")) == b"bbbb"

    def test_etag_changes_with_every_rewrite(self, store: ImageStore) -> None:
        seen = set()
        for number in range(50):  # equal sizes, faster than a file system's clock ticks
            store.write("x.png", b"%04d" % number, overwrite=True)
            seen.add(etag_of(store, "x.png"))
        assert len(seen) == 50
        assert not any('"' in etag for etag in seen)

    def test_a_kept_digest_is_that_of_the_bytes(self, store: ImageStore) -> None:
        for data in (b"first", b"second"):
            store.write("x.png", data, overwrite=True)
            assert store.stored_sha256("x.png") in (None, hashlib.sha256(data).hexdigest())

    def test_exists_and_delete(self, store: ImageStore) -> None:
        store.write("d/x.png", b"x")
        assert store.exists("d/x.png")
        assert not store.exists("d")
        store.delete("d/x.png")
        assert not store.exists("d/x.png")
        assert listed(store) == []
        store.delete("d/x.png")
        store.delete("never/was.png")
        store.write("d/x.png", b"again")
        assert store.read("d/x.png") == b"again"

    def test_listing_is_sorted_by_whole_keys(self, store: ImageStore) -> None:
        names = [
            "b.png",
            "a.png",
            "a/z.png",
            "a/b/c.png",
            "a-b.png",
            "a0.png",
            "a/b.png",
            "A.png",
            "é.png",
            "a b.png",
        ]
        names += [
            "名前/絵.png",
            "a/b-c/d.png",
            "#1 100%.png",
            "x?y&z=1+2.png",
            "\U0001f600.png",
            "\ue000.png",
        ]
        for number, name in enumerate(names):
            store.write(name, b"x" * number)
        found = list(store.list())
        assert [item.key for item in found] == sorted(names)
        assert {item.key: item.size_bytes for item in found} == {name: n for n, name in enumerate(names)}
        assert all(store.read(item.key, etag=item.etag) == b"x" * item.size_bytes for item in found)

    def test_listing_by_prefix(self, store: ImageStore) -> None:
        for name in ("a/1.png", "a/2.png", "ab/3.png", "a.png", "b/a/4.png"):
            store.write(name, b"x")
        assert listed(store, "a/") == ["a/1.png", "a/2.png"]
        assert listed(store, "a") == ["a.png", "a/1.png", "a/2.png", "ab/3.png"]
        assert listed(store, "a/2") == ["a/2.png"]
        assert listed(store, "b/a/4.png") == ["b/a/4.png"]
        for nothing in ("c", "c/", "a/1.png/", "../", "/", "a//"):
            assert listed(store, nothing) == [], nothing

    def test_listing_goes_on_after_any_key(self, store: ImageStore) -> None:
        names = sorted(["a.png", "a/1.png", "a/b/2.png", "a/b/3.png", "a/c.png", "b.png", "c/d.png"])
        for name in names:
            store.write(name, b"x")
        for start in [*names, "", "a", "a/", "a/b", "a/b/", "a/b/25", "a0", "zzz"]:
            assert listed(store, start_after=start) == [name for name in names if name > start], start
        assert listed(store, "a/", start_after="a/b/2.png") == ["a/b/3.png", "a/c.png"]

    def test_more_than_a_page(self, store: ImageStore) -> None:
        names = [f"{number:04d}.png" for number in range(1005)]
        for name in names:
            store.write(name, b"")
        assert listed(store) == names
        assert [found.key for found in itertools.islice(store.list(), 3)] == names[:3]

    def test_hidden_names_are_never_listed(self, store: ImageStore) -> None:
        for name in (".DS_Store", ".git/x.png", "a/.thumbs/x.png", "a/.x.png", "a/x.png"):
            store.write(name, b"x")
        assert listed(store) == ["a/x.png"]
        assert listed(store, ".git/") == []
        assert listed(store, "a/.thumbs/") == []
        assert not store.exists(".git/x.png")
        assert store.read("a/.x.png") == b"x"

    def test_any_key(self, store: ImageStore) -> None:
        assert store.any_key() is None
        store.write(".hidden.png", b"x")
        assert store.any_key() is None
        store.write("a/x.png", b"x")
        assert store.any_key() == "a/x.png"

    @pytest.mark.parametrize(
        "key",
        ["", "/", "/etc/passwd", "../x.png", "a/../../x.png", "a//b.png", "a/", "./a.png", "a/.", "a\0b"],
    )
    def test_unsafe_keys_are_refused(self, store: ImageStore, key: str) -> None:
        with pytest.raises(ObjectUnreadable, match="expected"):
            store.write(key, b"x")
        with pytest.raises(ObjectUnreadable):
            store.delete(key)
        assert listed(store) == []

    def test_address(self, store: ImageStore) -> None:
        assert not store.url.endswith("/")
        assert store.uri("a/x.png") == f"{store.url}/a/x.png"


def test_what_is_left_out_is_told_with_the_first_names() -> None:
    left_out = LeftOut()
    for _ in range(65):
        left_out.add("files are results, below", "results/")
    for number in range(4):
        left_out.add("files are no images", f"{number}.txt")
    assert left_out.describe(shown=3) == [
        "files are results, below (65): results/",
        "files are no images (4): 0.txt, 1.txt, 2.txt, ...",
    ]


def test_check_key_gives_the_parts() -> None:
    assert check_key("a/b c/ä.png") == ("a", "b c", "ä.png")
    assert check_key("a/..b/c..") == ("a", "..b", "c..")


@pytest.mark.parametrize(
    ("key", "hidden"), [("a/b.png", False), ("a/.b", True), (".a/b", True), ("a./b", False)]
)
def test_is_hidden(key: str, hidden: bool) -> None:
    assert is_hidden(key) is hidden


def test_big_object(store: ImageStore) -> None:
    block = hashlib.sha256(b"seed").digest() * (1 << 18)  # 8 MiB
    store.write("big.bin", block)
    assert store.read("big.bin", etag=etag_of(store, "big.bin")) == block
