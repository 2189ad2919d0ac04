"""What only a folder has: links, odd names, crashes, the operating system's errors."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imgpipe.errors import ObjectChanged, ObjectExists, ObjectMissing, ObjectUnreadable, StoreUnavailable
from imgpipe.storage.links import BROKEN, CIRCLE, NESTED, OUTSIDE, SPECIAL
from imgpipe.storage.local import LocalStore
from imgpipe.storage.store import HIDDEN, LeftOut


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


def keys_of(store: LocalStore) -> list[str]:
    return [found.key for found in store.list()]


def left_out_of(store: LocalStore) -> dict[str, tuple[str, ...]]:
    """Reason -> names of what a listing leaves out, in order of the names."""
    left_out = LeftOut()
    list(store.list(left_out=left_out))
    return {reason: tuple(sorted(left_out.names(reason))) for reason in left_out.counts}


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(code: int) -> Callable[..., Any]:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


class TestNames:
    def test_name_that_is_not_utf8(self, store: LocalStore, root: Path) -> None:
        (root / os.fsdecode(b"caf\xe9.png")).write_bytes(b"latin")
        (root / "caf\ufffdE9.png").write_bytes(b"literal")
        first, second = store.list()
        assert {store.read(first.key, etag=first.etag), store.read(second.key, etag=second.etag)} == {
            b"latin",
            b"literal",
        }
        assert first.key != second.key
        store.write(first.key, b"new", overwrite=True)
        assert len(names_in(root)) == 2

    def test_longest_name(self, store: LocalStore) -> None:
        name = "x" * 251 + ".png"
        store.write(f"a/{name}", b"x")
        assert store.read(f"a/{name}") == b"x"
        with pytest.raises(ObjectExists):
            store.write(f"a/{name}", b"y")

    def test_name_that_is_too_long(self, store: LocalStore) -> None:
        key = "x" * 300 + ".png"
        with pytest.raises(ObjectUnreadable, match="name too long"):
            store.read(key)
        with pytest.raises(ObjectUnreadable, match="name too long"):
            store.write(key, b"x")
        assert not store.exists(key)

    def test_folder_named_like_an_image(self, store: LocalStore, root: Path) -> None:
        (root / "x.png").mkdir()
        (root / "x.png" / "inner.png").write_bytes(b"x")
        assert keys_of(store) == ["x.png/inner.png"]
        assert not store.exists("x.png")
        with pytest.raises(ObjectMissing, match="folder"):
            store.read("x.png")
        with pytest.raises(ObjectUnreadable):
            store.write("x.png", b"x", overwrite=True)

    def test_file_in_a_folders_place(self, store: LocalStore) -> None:
        store.write("a", b"x")
        with pytest.raises(ObjectUnreadable):
            store.write("a/b.png", b"x")
        with pytest.raises(ObjectMissing):
            store.read("a/b.png")
        assert not store.exists("a/b.png")
        store.delete("a/b.png")

    def test_pipes_and_sockets_are_no_objects(self, store: LocalStore, root: Path, monkeypatch: Any) -> None:
        os.mkfifo(root / "pipe.png")
        monkeypatch.chdir(root)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.png")
            assert keys_of(store) == []
            with pytest.raises(ObjectMissing):
                store.read("pipe.png")
            with pytest.raises(ObjectUnreadable):
                store.read("socket.png")

    def test_nested_deeper_than_python_recurses(
        self, store: LocalStore, root: Path, monkeypatch: Any
    ) -> None:
        depth = 1020
        monkeypatch.chdir(root)
        for _ in range(depth):
            Path("d").mkdir()
            os.chdir("d")
        Path("x.png").write_bytes(b"deep")
        try:
            (found,) = store.list()
            assert found.key == "d/" * depth + "x.png"
            assert store.read(found.key, etag=found.etag) == b"deep"
        finally:  # what removes temporary folders recurses
            Path("x.png").unlink()
            for _ in range(depth):
                os.chdir("..")
                Path("d").rmdir()


class TestLinks:
    def test_link_inside(self, store: LocalStore, root: Path) -> None:
        (root / "a.png").write_bytes(b"12345")
        (root / "b.png").symlink_to("a.png")
        a, b = store.list()
        assert (a.size_bytes, a.etag) == (b.size_bytes, b.etag)
        assert store.read("b.png", etag=b.etag) == b"12345"
        assert store.exists("b.png")

    def test_link_out_is_named_and_refused(self, store: LocalStore, root: Path, tmp_path: Path) -> None:
        (tmp_path / "secret.png").write_bytes(b"secret")
        (root / "x.png").symlink_to(tmp_path / "secret.png")
        assert left_out_of(store) == {OUTSIDE: (f"x.png -> {tmp_path / 'secret.png'}",)}
        assert not store.exists("x.png")
        with pytest.raises(ObjectUnreadable, match="out of"):
            store.read("x.png")
        store.write("x.png", b"own", overwrite=True)  # replaces the link, never its target
        assert (tmp_path / "secret.png").read_bytes() == b"secret"
        assert store.read("x.png") == b"own"

    def test_link_to_nothing_and_to_itself(self, store: LocalStore, root: Path) -> None:
        (root / "broken.png").symlink_to("nowhere.png")
        (root / "loop.png").symlink_to("loop.png")
        assert keys_of(store) == []
        assert left_out_of(store) == {
            BROKEN: ("broken.png -> nowhere.png",),
            CIRCLE: ("loop.png -> loop.png",),
        }
        with pytest.raises(ObjectMissing):
            store.read("broken.png")
        with pytest.raises(ObjectUnreadable, match="itself"):
            store.read("loop.png")

    def test_linked_folder_is_not_followed_but_named(
        self, store: LocalStore, root: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "x.png").write_bytes(b"x")
        (root / "link").symlink_to(tmp_path / "other")
        (root / "round").symlink_to(root)
        assert keys_of(store) == []
        assert left_out_of(store) == {
            OUTSIDE: (f"link -> {tmp_path / 'other'}",),
            CIRCLE: (f"round -> {root}",),
        }
        assert list(store.list("link/")) == []
        assert not store.exists("link")
        with pytest.raises(ObjectUnreadable, match="out of"):
            store.read("link/x.png")
        with pytest.raises(StoreUnavailable, match="out of"):
            store.write("link/y.png", b"y")
        with pytest.raises(StoreUnavailable):
            store.delete("link/x.png")
        assert names_in(tmp_path / "other") == ["x.png"]

    def test_caches_of_other_tools(self, tmp_path: Path) -> None:
        """Hugging Face's, DVC's and git-annex's layouts: taken with ``always``, named with ``inside``."""
        hub = tmp_path / "datasets--artist--set"
        blob = write(hub / "blobs" / ("0" * 40), b"picture 1")
        snapshot = hub / "snapshots" / "main"
        link(snapshot / "train" / "0001.png", Path("../../../blobs") / blob.name)
        cached = write(tmp_path / "repo" / ".dvc" / "cache" / "files" / "md5" / "ab" / "cdef", b"picture 2")
        link(tmp_path / "repo" / "data" / "a.png", cached)
        annex = tmp_path / "annex"
        annexed = write(annex / ".git/annex/objects/Xq/K/K.png", b"picture 3")
        link(annex / "b.png", Path(".git/annex/objects/Xq/K/K.png"))
        link(annex / "not-fetched.png", Path(".git/annex/objects/Zz/L/L.png"))

        for folder, key, data in (
            (snapshot, "train/0001.png", blob.read_bytes()),
            (tmp_path / "repo" / "data", "a.png", cached.read_bytes()),
            (annex, "b.png", annexed.read_bytes()),
        ):
            followed = LocalStore(folder, "always")
            (found,) = followed.list()
            assert (found.key, found.size_bytes) == (key, len(data))
            assert followed.read(key, etag=found.etag) == data
            assert followed.exists(key)
            none = LocalStore(folder, "never")
            assert (keys_of(none), none.exists(key)) == ([], False)
            with pytest.raises(ObjectUnreadable, match="never"):
                none.read(key)
        assert left_out_of(LocalStore(annex, "always"))[BROKEN] == (
            "not-fetched.png -> .git/annex/objects/Zz/L/L.png",
        )
        assert keys_of(LocalStore(annex)) == ["b.png"]
        for folder in (snapshot, tmp_path / "repo" / "data"):
            assert keys_of(LocalStore(folder)) == []
            assert list(left_out_of(LocalStore(folder))) == [OUTSIDE]

    def test_linked_folders(self, root: Path, tmp_path: Path) -> None:
        """Followed once, listed in key order from any place on, and never round in a circle."""
        write(tmp_path / "far" / "y.png", b"far")
        write(root / "a" / "1.png", b"1")
        write(root / "b" / "2.png", b"2")
        link(root / "a" / "to-b", Path("../b"))
        link(root / "b" / "to-a", Path("../a"))
        link(root / "b" / "up", Path(".."))
        link(root / "c", tmp_path / "far")
        inside, always = LocalStore(root), LocalStore(root, "always")
        own = ["a/1.png", "a/to-b/2.png", "b/2.png", "b/to-a/1.png"]
        assert keys_of(inside) == own
        assert keys_of(always) == [*own, "c/y.png"]
        reasons = left_out_of(always)
        assert set(reasons) == {NESTED, CIRCLE}
        assert len(reasons[NESTED]) == 2
        assert {name.partition(" ")[0] for name in reasons[CIRCLE]} == {"a/to-b/up", "b/up"}
        assert keys_of(LocalStore(root, "never")) == ["a/1.png", "b/2.png"]
        for key in keys_of(always):
            assert always.exists(key)
            assert always.read(key)
            assert [found.key for found in always.list(key)] == [key]
            behind = [one for one in keys_of(always) if one > key]
            assert [found.key for found in always.list(start_after=key)] == behind
        assert [found.key for found in always.list("c/")] == ["c/y.png"]
        assert list(inside.list("c/")) == []

    def test_everything_that_is_left_out_is_counted_and_named(self, root: Path) -> None:
        for name in ("a.png", ".hidden.png", ".git/x.png", "sub/.DS_Store", "sub/b.png"):
            write(root / name, b"x")
        os.mkfifo(root / "sub" / "pipe.png")
        assert keys_of(LocalStore(root)) == ["a.png", "sub/b.png"]
        assert left_out_of(LocalStore(root)) == {
            HIDDEN: (".git/", ".hidden.png", "sub/.DS_Store"),
            SPECIAL: ("sub/pipe.png",),
        }

    def test_root_may_be_a_link(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "alias").symlink_to(root)
        LocalStore(tmp_path / "alias").write("x.png", b"x")
        assert LocalStore(tmp_path / "alias").url == LocalStore(root).url
        assert LocalStore(root).read("x.png") == b"x"


class TestAtomicity:
    @pytest.mark.parametrize("hard_links", [True, False])
    def test_one_of_many_writers_wins(
        self, store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
    ) -> None:
        if not hard_links:
            looked = os.path.lexists

            def slowly(path: Any) -> bool:
                found = looked(path)
                time.sleep(0.001)  # time for the others to see the same
                return found

            monkeypatch.setattr(os.path, "lexists", slowly)
            monkeypatch.setattr(Path, "hardlink_to", failing(errno.EPERM))
        barrier = threading.Barrier(8)

        def attempt(number: int) -> bool:
            barrier.wait()
            try:
                store.write("a/x.png", b"%d" % number * 1000)
            except ObjectExists:
                return False
            return True

        for _ in range(20):
            with ThreadPoolExecutor(8) as pool:
                outcomes = list(pool.map(attempt, range(8)))
            assert outcomes.count(True) == 1
            assert store.read("a/x.png") == b"%d" % outcomes.index(True) * 1000
            store.delete("a/x.png")
        assert not [name for name in names_in(root / "a") if name.startswith(".imgpipe-tmp-")]

    def test_readers_see_old_or_new_never_half(self, store: LocalStore) -> None:
        old, new = b"o" * 300_000, b"n" * 300_000
        store.write("x.png", old)
        done = threading.Event()

        def write() -> None:
            for number in range(100):
                store.write("x.png", new if number % 2 else old, overwrite=True)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = set()
        while not done.is_set():
            seen.add(store.read("x.png"))
        writer.join()
        assert seen <= {old, new}

    def test_a_killed_writer_leaves_nothing_visible(self, store: LocalStore, root: Path) -> None:
        code = """
            import sys
            from imgpipe.storage.local import LocalStore
            store, number = LocalStore(sys.argv[1]), 0
            while True:
                store.write(f"{number}.png", b"x" * 2_000_000)
                number += 1
                if number == 3:
                    print("under way", flush=True)
        """
        worker = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(root)], stdout=subprocess.PIPE, text=True
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == "under way\n"
        time.sleep(0.02)
        worker.send_signal(signal.SIGKILL)
        worker.wait(timeout=10)
        worker.stdout.close()
        sizes = {found.size_bytes for found in store.list()}
        assert sizes == {2_000_000}

    def test_a_write_that_fails_half_way_leaves_nothing(self, root: Path) -> None:
        code = """
            import os, resource, sys
            from imgpipe.errors import ObjectUnreadable
            from imgpipe.storage.local import LocalStore
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            store = LocalStore(sys.argv[1])
            store.write("small.png", b"x" * 1000)
            try:
                store.write("large.png", b"x" * 1001)
            except ObjectUnreadable as exc:
                print(sorted(os.listdir(sys.argv[1])), "too large" in str(exc))
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(root)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout == "['small.png'] True\n", done.stderr

    def test_etags_differ_within_one_tick_of_the_clock(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written = Path.write_bytes

        def at_the_same_time(path: Path, data: bytes) -> int:
            size = written(path, data)
            os.utime(path, ns=(10**18, 10**18))
            return size

        monkeypatch.setattr(Path, "write_bytes", at_the_same_time)
        etags = []
        for data in (b"aa", b"bb", b"cc"):
            store.write("x.png", data, overwrite=True)
            etags += [found.etag for found in store.list()]
        assert len(set(etags)) == 3, etags

    def test_file_that_grows_while_it_is_read(
        self, store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.write("x.png", b"x" * 100)
        opened = os.fdopen

        def growing(*args: Any, **kwargs: Any) -> Any:
            with (root / "x.png").open("ab") as file:
                file.write(b"more")
            return opened(*args, **kwargs)

        monkeypatch.setattr(os, "fdopen", growing)
        with pytest.raises(ObjectChanged, match="while it was being read"):
            store.read("x.png")


class TestErrors:
    def test_root_that_has_gone(self, store: LocalStore, root: Path) -> None:
        store.write("x.png", b"x")
        root.rename(root.with_name("elsewhere"))
        attempts: list[Callable[[], object]] = [
            lambda: store.read("x.png"),
            lambda: store.exists("x.png"),
            lambda: list(store.list()),
        ]
        for attempt in attempts:
            with pytest.raises(StoreUnavailable):
                attempt()

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
    def test_writing_fails_for_the_whole_store(
        self, store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        monkeypatch.setattr(Path, "write_bytes", failing(code))
        with pytest.raises(StoreUnavailable, match=r"x\.png"):
            store.write("x.png", b"x")
        assert names_in(root) == []

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ELOOP])
    def test_reading_fails_for_one_object(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        store.write("x.png", b"x")
        monkeypatch.setattr(os, "open", failing(code))
        with pytest.raises(ObjectUnreadable, match=r"x\.png.*check"):
            store.read("x.png")

    def test_reading_fails_for_the_whole_store(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.write("x.png", b"x")
        monkeypatch.setattr(os, "open", failing(errno.EMFILE))
        with pytest.raises(StoreUnavailable, match="ulimit"):
            store.read("x.png")

    def test_folder_that_cannot_be_listed_stops_the_listing(
        self, store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.write("a/x.png", b"x")
        store.write("b/x.png", b"x")
        scan = os.scandir

        def guarded(path: Any) -> Any:
            if Path(path).name == "b":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", guarded)
        with pytest.raises(StoreUnavailable, match=r"/b: .*cannot be listed"):
            list(store.list())

    def test_permissions_for_real(self) -> None:
        code = """
            import os, sys
            from imgpipe.errors import ObjectUnreadable, StoreUnavailable
            from imgpipe.storage.local import LocalStore
            store, root = LocalStore(sys.argv[1]), sys.argv[1]
            store.write("x.png", b"x")
            store.write("closed/y.png", b"y")
            os.chmod(os.path.join(root, "x.png"), 0)
            if os.geteuid() == 0:
                os.setuid(65534)  # root may do everything
            try:
                store.read("x.png")
            except ObjectUnreadable as exc:
                print("x.png" in str(exc))
            os.chmod(root, 0o555) if os.access(root, os.W_OK) else None
            try:
                store.write("new.png", b"x")
            except StoreUnavailable as exc:
                print("permissions" in str(exc))
        """
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            command = [sys.executable, "-c", textwrap.dedent(code), folder]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            Path(folder).chmod(0o755)
        assert done.stdout == "True\nTrue\n", done.stderr
