#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_symbols.py exports LIBRARY HEADER...   the library exports what the headers declare ETCP_API, and nothing else
check_symbols.py imports OBJECT...           the core calls nothing that could do input or output, and has no mutable globals"""
import re
import subprocess
import sys

# What the core may call besides libsodium. snprintf writes to memory.
ALLOWED = re.compile(
    r"""crypto_\w+ | sodium_\w+ | randombytes_\w+ | EVP_\w+ | SHA256_(Init|Update|Final)
      | (alloc|free|init)_mb_mgr(_auto)? | imb_get_errno | pthread_once
      | lib25519_dh_x25519(_keypair)?
      | malloc | calloc | realloc | free
      | mem(cpy|move|set|cmp|chr) | strn?len | strn?cmp
      | __mem(cpy|move|set)_chk | (__)?v?snprintf(_chk)?
      | __assert_fail | __stack_chk_fail | _GLOBAL_OFFSET_TABLE_
      | __(asan|ubsan|tsan|sanitizer|sancov)_\w+ | __start___sancov\w+ | __stop___sancov\w+""",
    re.VERBOSE,
)

# libipsec-mb's code for this processor, which is chosen once in the life of a process, as libsodium's is in sodium_init().
CHOSEN_ONCE = "aead_ipsecmb.c"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def declared(header):
    """The names of the functions that a header declares ETCP_API."""
    with open(header, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    text = re.sub(r"^[ \t]*#.*$", "", text, flags=re.MULTILINE)
    for declaration in re.findall(r"\bETCP_API\b(.*?);", text, re.DOTALL):
        yield re.search(r"\b(etcp_\w+)\s*\(", declaration).group(1)


def check_exports(library, headers):
    want = {name for header in headers for name in declared(header)}
    got = set()
    for line in run("nm", "-D", "--defined-only", library).splitlines():
        _, kind, name = line.split()
        if kind != "A":  # the version's own symbol
            got.add(name.split("@")[0])
    for name in sorted(want - got):
        print(f"declared, but not exported: {name}")
    for name in sorted(got - want):
        print(f"exported, but not declared: {name}")
    print(f"{len(want)} functions declared, {len(got)} symbols exported")
    return want == got and len(want) > 0


def check_imports(objects):
    defined, used, fine = set(), {}, True
    for path in objects:
        for line in run("nm", path).splitlines():
            kind, name = line.split()[-2:]
            if kind in "Uw":
                used.setdefault(name, path)
            else:
                defined.add(name)
    for name, path in sorted(used.items()):
        if name not in defined and not ALLOWED.fullmatch(name):
            print(f"{path}: calls {name}")
            fine = False
    if not any(name.startswith("__asan_") or name.startswith("__tsan_") or "sancov" in name for name in used):
        for path in objects:
            for section, size in re.findall(r"^(\.t?data|\.t?bss)\s+(\d+)", run("size", "-A", path), re.MULTILINE):
                if int(size) > 0 and CHOSEN_ONCE not in path:
                    print(f"{path}: {size} bytes of mutable globals in {section}")
                    fine = False
    print(f"{len(objects)} objects, {len(used)} names used")
    return fine and len(objects) > 0


def main():
    if sys.argv[1] == "exports":
        fine = check_exports(sys.argv[2], sys.argv[3:])
    else:
        fine = check_imports(sys.argv[2:])
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
