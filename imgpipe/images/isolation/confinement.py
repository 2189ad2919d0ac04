"""What the kernel refuses a decoding worker: the network, programs, other processes and files.

Two mechanisms that need no privileges, both inherited and final. Landlock (landlock(7)) leaves the reading of
code, which decoders import late. seccomp (seccomp(2)) refuses system calls. What is open stays usable: the
channel to the owner and its memory files.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38

# seccomp(2), linux/audit.h
_SECCOMP, _SET_MODE_FILTER, _ALL_THREADS = {"x86_64": 317, "aarch64": 277}, 1, 1
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_KILL_PROCESS, _ALLOW, _ERRNO, _EPERM, _ENOSYS = 0x80000000, 0x7FFF0000, 0x00050000, 1, 38
#: The last system call that this table knows (mseal); later ones do not exist for a worker.
_LAST_KNOWN = 462

# linux/bpf_common.h: load a word of struct seccomp_data, jumps, return
_LOAD, _IF_EQUAL, _IF_GREATER, _IF_BITS, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENTS = 0, 4, 16

#: Refused whatever the arguments: name, number on x86_64, number on aarch64 (-1 where there is none).
_REFUSED = """
    network; sending on the open channel stays:
        socket 41 198, socketpair 53 199, connect 42 203, bind 49 200, listen 50 201, accept 43 202,
        accept4 288 242, sendmsg 46 211,
    programs and other processes:
        execve 59 221, execveat 322 281, fork 57 -1, vfork 58 -1, ptrace 101 117, process_vm_readv 310 270,
        process_vm_writev 311 271, tkill 200 130, pidfd_open 434 434, pidfd_getfd 438 438, setpgid 109 154,
        pidfd_send_signal 424 424, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240,
        setrlimit 160 164, prlimit64 302 261,
        kcmp 312 272, process_madvise 440 440,
    changes to the file system:
        creat 85 -1, truncate 76 45, rename 82 -1, renameat 264 38, renameat2 316 276, mkdir 83 -1,
        mkdirat 258 34, rmdir 84 -1, link 86 -1, linkat 265 37, unlink 87 -1, unlinkat 263 35,
        symlink 88 -1, symlinkat 266 36, mknod 133 -1, mknodat 259 33, chmod 90 -1, fchmod 91 52,
        fchmodat 268 53, fchmodat2 452 452, chown 92 -1, fchown 93 55, lchown 94 -1, fchownat 260 54,
        setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15,
        fremovexattr 199 16, utimensat 280 88, utime 132 -1, utimes 235 -1, futimesat 261 -1, chroot 161 51,
        pivot_root 155 41, mount 165 40, umount2 166 39, open_tree 428 428, move_mount 429 429,
        fsopen 430 430, fsconfig 431 431, fsmount 432 432, mount_setattr 442 442, name_to_handle_at 303 264,
        open_by_handle_at 304 265,
    kernel interfaces that decoders do not need and exploits like:
        io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, bpf 321 280,
        perf_event_open 298 241, userfaultfd 323 282, unshare 272 97, setns 308 268, add_key 248 217,
        request_key 249 218, keyctl 250 219, init_module 175 105, finit_module 313 273, kexec_load 246 104,
        shmget 29 194, msgget 68 186, semget 64 190, mq_open 240 180, personality 135 92, quotactl 179 60,
        acct 163 89, reboot 169 142,
"""

#: Refused by their arguments: numbers, argument (from 0), what to look for.
_OPEN_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x10000
#: Refused as unknown, upon which the C library uses the older call: their arguments lie in memory.
_UNKNOWN = {"clone3": (435, 435), "openat2": (437, 437)}

# linux/landlock.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
#: ABI of the kernel -> how many kinds of access to files it knows.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_LATER_FILE_RIGHTS = 16
_TCP_SINCE, _BIND_AND_CONNECT = 4, 3
_SCOPES_SINCE, _SIGNALS_AND_SOCKETS = 6, 3

#: Where shared libraries lie that decoders link to.
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")

_libc = ctypes.CDLL(None, use_errno=True)


def confine() -> tuple[str, ...]:
    """Give up for this process and its threads what decoding does not need; what the kernel cannot do.

    Landlock binds the calling thread and what it starts: call this while there is no other.
    """
    missing = []
    for name, apply in (
        ("no new privileges", _no_new_privileges),
        ("Landlock", _landlock),
        ("seccomp", _seccomp),
    ):
        try:
            apply()
        except OSError as exc:
            missing.append(f"{name}: {exc.strerror or exc}")
    return tuple(missing)


def _call(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _system_call(what: str, number: int, *arguments: object) -> int:
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _call(what, _libc.syscall(ctypes.c_long(number), *values))


def _no_new_privileges() -> None:
    _call("prctl", _libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))))


def _landlock() -> None:
    abi = _system_call("landlock_create_ruleset", _CREATE_RULESET, None, 0, 1)
    rights = (1 << _FILE_RIGHTS.get(abi, _LATER_FILE_RIGHTS)) - 1
    tcp = _BIND_AND_CONNECT if abi >= _TCP_SINCE else 0
    scopes = _SIGNALS_AND_SOCKETS if abi >= _SCOPES_SINCE else 0
    size = 24 if scopes else 16 if tcp else 8
    attributes = struct.pack("=QQQ", rights, tcp, scopes)[:size]
    ruleset = _system_call("landlock_create_ruleset", _CREATE_RULESET, attributes, size, 0)
    try:
        for path in _code():
            _allow_reading(ruleset, path)
        _system_call("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: Path) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # There is nothing there to read.
        return
    try:
        rights = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        _system_call("landlock_add_rule", _ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, beneath), 0)
    finally:
        os.close(beneath)


def _code() -> list[Path]:
    """Installed packages, the standard library, shared libraries, this package; no working folder."""
    packages = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    library = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    return [Path(path) for path in (*packages, *library, str(Path(__file__).parents[2]), *_LIBRARIES)]


def _seccomp() -> None:
    machine = platform.machine()
    if machine not in _ARCHITECTURE or sys.byteorder != "little" or sys.maxsize < 2**32:
        raise OSError(_ENOSYS, f"there is no table of system calls for {machine}")
    program = b"".join(_filter(machine))
    holder = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(holder))
    _system_call("seccomp", _SECCOMP[machine], _SET_MODE_FILTER, _ALL_THREADS, described)


def refused_calls() -> dict[str, tuple[int, int]]:
    """The system calls that are refused whatever their arguments: name -> number on x86_64 and aarch64."""
    found = re.findall(r"(\w+) (-?\d+) (-?\d+)", _REFUSED)
    return {name: (int(x86_64), int(aarch64)) for name, x86_64, aarch64 in found}


def _filter(machine: str) -> Iterable[bytes]:
    """The program (Documentation/userspace-api/seccomp_filter.rst): from the top, the first match decides."""
    column = list(_ARCHITECTURE).index(machine)
    yield _step(_LOAD, _AT_ARCHITECTURE)
    yield _step(_IF_EQUAL, _ARCHITECTURE[machine], 1, 0)
    yield _step(_RETURN, _KILL_PROCESS)
    yield _step(_LOAD, _AT_NUMBER)
    yield from _answer(_IF_GREATER, _LAST_KNOWN, _ERRNO | _ENOSYS)  # and those of x32, which have bit 30 set
    for numbers in _UNKNOWN.values():
        yield from _answer(_IF_EQUAL, numbers[column], _ERRNO | _ENOSYS)
    for numbers in refused_calls().values():
        if numbers[column] >= 0:
            yield from _answer(_IF_EQUAL, numbers[column], _ERRNO | _EPERM)
    own = os.getpid()
    for numbers, argument, test, value, answers in (
        ((2, -1), 1, _IF_BITS, _OPEN_TO_WRITE, (_ERRNO | _EPERM, _ALLOW)),  # open
        ((257, 56), 2, _IF_BITS, _OPEN_TO_WRITE, (_ERRNO | _EPERM, _ALLOW)),  # openat
        ((56, 220), 0, _IF_BITS, _CLONE_THREAD, (_ALLOW, _ERRNO | _EPERM)),  # clone: threads alone
        ((62, 129), 0, _IF_EQUAL, own, (_ALLOW, _ERRNO | _EPERM)),  # kill: itself alone, as abort does
        ((234, 131), 0, _IF_EQUAL, own, (_ALLOW, _ERRNO | _EPERM)),  # tgkill
    ):
        if numbers[column] >= 0:
            yield _step(_IF_EQUAL, numbers[column], 0, 4)
            yield _step(_LOAD, _AT_ARGUMENTS + 8 * argument)
            yield _step(test, value, 0, 1)
            yield _step(_RETURN, answers[0])
            yield _step(_RETURN, answers[1])
    yield _step(_RETURN, _ALLOW)


def _answer(test: int, value: int, answer: int) -> Iterable[bytes]:
    yield _step(test, value, 0, 1)
    yield _step(_RETURN, answer)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """struct sock_filter."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
