# SPDX-License-Identifier: MIT
"""Holds the documents to what they speak of.

    check_docs.py packets    examples and values in docs/ against the transcripts; a page for each packet and frame
    check_docs.py links      relative links of all *.md, with their anchors
    check_docs.py man        mandoc -T lint over man/; exit 77 where there is no mandoc, an error with CI=true

An example is a fenced block whose first line is "```hex REFERENCE"; its lines are "offset  hex  meaning". The references:

    session NAME packet PACKET              a handshake packet
    session NAME agent|server I plaintext   the plaintext of the I-th record of that side
    session NAME agent|server I record      that record as it is on the wire
    input NAME                              the bytes of an invalid input
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
VECTORS = "etcp-sessions.json"
PLACES = [os.environ.get("ETCP_VECTORS"), ROOT / "tests" / "vectors", ROOT.parent / "shared" / "vectors"]
SKIPPED = 77
MANDOC_BROKE = 5  # from here on its status speaks of itself, not of the page

# Section 2 and section 4 of the protocol.
PAGES = {
    0x01: "encryption_request", 0x02: "encryption_response", 0x03: "stream_open", 0x04: "stream_close",
    0x05: "stream_data", 0x06: "stream_error", 0x07: "heartbeat", 0x08: "authentication", 0x09: "stream_credit",
    0x0A: "goodbye", 0x0B: "refusal",
}  # fmt: skip

FENCE = re.compile(r"^```(\S*)(?: +(.*))?$")
EXAMPLE_LINE = re.compile(r"^ *(\d+)  ([0-9a-f]+)(?:  +\S.*)?$")
HEX_VALUE = re.compile(r"`(?:0x)?([0-9a-f]{12,})`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OWN_REFERENCE = re.compile(r"^\.(?:.* )?Xr (etcp[\w.-]*|libetcp) (\d)", re.M)
HEADING = re.compile(r"^#+ +(.*)$")


def load_vectors():
    for place in PLACES:
        if place and (pathlib.Path(place) / VECTORS).exists():
            return json.loads((pathlib.Path(place) / VECTORS).read_text(encoding="utf-8"))
    sys.exit("no %s in any of %s" % (VECTORS, [str(place) for place in PLACES if place]))


def lookup(vectors, reference):
    """The hex that a reference means; None if it means nothing."""
    words = reference.split()
    if len(words) == 2 and words[0] == "input":
        return next((i["bytes"] for i in vectors["inputs"] if i["name"] == words[1]), None)
    session = next((s for s in vectors["sessions"] if words[0] == "session" and s["name"] == words[1]), None)
    if session and len(words) == 4 and words[2] == "packet":
        return next((p["bytes"] for p in session["packets"] if p["name"] == words[3]), None)
    field = {"plaintext": "plaintext", "record": "bytes"}.get(words[-1])
    if session and len(words) == 5 and words[3].isdigit() and field:
        records = [r for r in session["records"] if r["from"] == words[2]]
        return records[int(words[3])][field] if int(words[3]) < len(records) else None
    return None


def blocks(text):
    """The fenced blocks of a page: (number of the first line, language, reference, lines)."""
    open_at = None
    for number, line in enumerate(text.split("\n"), 1):
        fence = FENCE.match(line)
        if fence and open_at is None:
            open_at, language, reference, lines = number, fence.group(1), fence.group(2) or "", []
        elif fence:
            yield open_at, language, reference, lines
            open_at = None
        elif open_at is not None:
            lines.append(line)


def check_example(vectors, reference, lines):
    """What is wrong with an example, or None."""
    expected = lookup(vectors, reference)
    if expected is None:
        return "no such thing in %s: %s" % (VECTORS, reference)
    got = ""
    for line in lines:
        match = EXAMPLE_LINE.match(line)
        if not match:
            return "not a line of an example: %r" % line
        if int(match.group(1)) * 2 != len(got):
            return "offset %s should be %d" % (match.group(1), len(got) // 2)
        got += match.group(2)
    return None if got == expected else "differs from %s: %s" % (VECTORS, reference)


def known_values(vectors):
    """Everything in the vectors that a page may quote, as one text."""
    numbers = ["%016x" % s["verify_token_number"] for s in vectors["sessions"] if "verify_token_number" in s]
    return json.dumps(vectors) + " ".join(numbers)


def check_packets(root, vectors):
    """The mistakes in docs/packets and docs/protocols, one string each."""
    wrong = []
    known = known_values(vectors)
    for identifier, name in PAGES.items():
        page = root / "docs" / "packets" / ("0x%02X_%s.md" % (identifier, name))
        if not page.exists():
            wrong.append("%s is missing" % page.relative_to(root))
            continue
        title = "# 0x%02X %s" % (identifier, name.replace("_", " ").title())
        text = page.read_text(encoding="utf-8")
        if text.split("\n", 1)[0] != title:
            wrong.append("%s: the title should be %r" % (page.name, title))
        if not any(language == "hex" for _, language, _, _ in blocks(text)):
            wrong.append("%s: no example" % page.name)
    expected = {"0x%02X_%s.md" % item for item in PAGES.items()}
    wrong += ["%s: no such packet" % p.name for p in (root / "docs" / "packets").glob("*.md") if p.name not in expected]
    for page in sorted([*(root / "docs" / "packets").glob("*.md"), *(root / "docs" / "protocols").glob("*.md")]):
        text = page.read_text(encoding="utf-8")
        for number, language, reference, lines in blocks(text):
            mistake = check_example(vectors, reference, lines) if language == "hex" else None
            if mistake:
                wrong.append("%s:%d: %s" % (page.name, number, mistake))
        for value in HEX_VALUE.findall(text):
            if value not in known:
                wrong.append("%s: %s is not in %s" % (page.name, value, VECTORS))
    return wrong


def without_code(text):
    kept, fenced = [], False
    for line in text.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            kept.append(line)
    return "\n".join(kept)


def anchors(text):
    """The anchors that the headings of a page get when it is rendered."""
    found = set()
    for line in without_code(text).split("\n"):
        heading = HEADING.match(line)
        if heading:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).lower()
            found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found


def check_links(root, pages):
    wrong = []
    for page in pages:
        for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
            if re.match(r"^[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            where = "%s: %s" % (page.relative_to(root), target)
            if root not in there.parents and there != root:
                wrong.append("%s leads out of the tree" % where)
            elif not there.exists():
                wrong.append("%s does not exist" % where)
            elif anchor and (there.suffix != ".md" or anchor not in anchors(there.read_text(encoding="utf-8"))):
                wrong.append("%s: no such heading" % where)
    return wrong


def all_pages(root):
    rooms = [entry for entry in root.iterdir() if entry.is_dir() and entry.name not in ("build", ".git")]
    return sorted([*root.glob("*.md"), *(page for room in rooms for page in room.rglob("*.md"))])


def check_man(root):
    pages = sorted((root / "man").glob("*.[1-8]"))
    if not pages:
        return ["there are no man pages"]
    if not shutil.which("mandoc"):
        print("skipped: mandoc is not installed")
        if os.environ.get("CI") == "true":
            return ["with CI=true nothing is left out that could have run"]
        sys.exit(SKIPPED)
    wrong = []
    ours = {page.name for page in pages}
    for page in pages:
        lint = subprocess.run(["mandoc", "-T", "lint", str(page)], capture_output=True, text=True, check=False)
        # Which other programs' pages are installed here says nothing about ours.
        wrong += [line for line in lint.stdout.split("\n") if line and "referenced manual not found" not in line]
        if lint.returncode >= MANDOC_BROKE:
            wrong.append("%s: mandoc ended with %d: %s" % (page.name, lint.returncode, lint.stderr))
        for name, section in OWN_REFERENCE.findall(page.read_text(encoding="utf-8")):
            if "%s.%s" % (name, section) not in ours:
                wrong.append("%s: there is no %s(%s)" % (page.name, name, section))
    return wrong


def main():
    part = sys.argv[1] if len(sys.argv) == 2 else ""
    if part == "packets":
        wrong = check_packets(ROOT, load_vectors())
    elif part == "links":
        wrong = check_links(ROOT, all_pages(ROOT))
    elif part == "man":
        wrong = check_man(ROOT)
    else:
        sys.exit("usage: check_docs.py packets|links|man")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
