# SPDX-License-Identifier: MIT
"""What the comparison found: as text, Markdown, CSV and a plot."""
import statistics
from html import escape

GIB = 2**30
BEGIN, END = "<!-- written by tests/bench/compare: begin -->", "<!-- written by tests/bench/compare: end -->"

# Work: title, unit of the rate, its scale, whether time per GiB (else microseconds for each).
TITLES = {
    "up1": ("Bulk, 1 stream, to the server", "GB/s", 1e9, True),
    "down1": ("Bulk, 1 stream, from the server", "GB/s", 1e9, True),
    "up8": ("Bulk, 8 streams, to the server", "GB/s", 1e9, True),
    "down8": ("Bulk, 8 streams, from the server", "GB/s", 1e9, True),
    "down1000": ("Bulk, 1,000 streams, from the server", "GB/s", 1e9, True),
    "echo1": ("64-byte echo, one at a time", "round trips/s", 1, False),
    "echo64": ("64-byte echo, 64 connections", "messages/s", 1, False),
    "connect": ("Connect, one byte, close; 16 in flight", "connections/s", 1, False),
    "first": ("First connection through the tunnel, full handshake", "connections/s", 1, False),
    "handshake": ("Full handshake, server and its library's client; 16 in flight", "connections/s", 1, False),
    "idle": ("Idle connections", "KiB each", 1024, False),
}

# How many times as many rounds a work has: what takes turns with sleep depends on where the kernel wakes whom, and varies most.
ROUNDS_TIMES = {"echo1": 4, "first": 4}

# What must hold. Work, figure, at least or at most, times the best peer or one that is named; which etcp.
WANTED = [
    ("up1", "rate", ">=", 1.25, None, "etcp"),
    ("up1", "cpu", "<=", 0.72, None, "etcp"),
    ("down1", "rate", ">=", 1.25, None, "etcp"),
    ("down1", "cpu", "<=", 0.72, None, "etcp"),
    ("up8", "rate", ">=", 1.4, None, "etcp"),
    ("up8", "cpu", "<=", 0.72, None, "etcp"),
    ("down8", "rate", ">=", 1.4, None, "etcp"),
    ("down8", "cpu", "<=", 0.72, None, "etcp"),
    ("echo1", "rate", ">=", 1.1, None, "etcp"),
    ("echo1", "rate", ">=", 2.0, None, "etcp busy_poll"),
    ("echo64", "rate", ">=", 1.2, None, "etcp"),
    ("echo64", "cpu", "<=", 1.0, None, "etcp"),
    ("connect", "rate", ">=", 1.1, None, "etcp"),
    ("connect", "cpu", "<=", 0.95, None, "etcp"),
    ("connect", "rate", ">=", 1.0, "plain haproxy", "etcp"),
    ("first", "cpu", "<=", 0.4, "nginx", "etcp"),
]
IDLE_KIB = 1.0


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


class Figure:
    """A figure of one tunnel in one work over all rounds."""

    def __init__(self, values):
        self.values = values
        self.median, self.low, self.high = statistics.median(values), min(values), max(values)

    def spread(self):
        return f"{number(self.low)} – {number(self.high)}"


def figures(data):
    """{work: {tunnel: {name: Figure}}} for all works but idle."""
    found = {}
    for work, runs_of in data["results"].items():
        if work == "idle":
            continue
        _, _, scale, per_gib = TITLES[work]
        found[work] = {}
        for tunnel, runs in runs_of.items():

            def per(run, seconds):
                return seconds / run["done"] * (GIB if per_gib else 1e6)

            its = {"rate": Figure([run["done"] / run["seconds"] / scale for run in runs])}
            if runs[0]["cpu"]:
                its["cpu"] = Figure(
                    [per(run, sum(used["user"] + used["system"] for used in run["cpu"].values())) for run in runs]
                )
                for end in ("client", "server"):
                    for kind in ("user", "system"):
                        its[f"{end} {kind}"] = Figure([per(run, run["cpu"][end][kind]) for run in runs])
            if "p50_us" in runs[0] and not per_gib:
                its["p50"] = Figure([run["p50_us"] for run in runs])
                its["p99"] = Figure([run["p99_us"] for run in runs])
            found[work][tunnel] = its
    return found


def idle_kib(data, tunnel, field="Pss"):
    """{end: KiB for each connection}"""
    return {end: of[field] / 1024 for end, of in data["results"]["idle"][tunnel][0]["bytes"].items()}


def verdicts(data):
    """[(work, unit, value of etcp, the other's name, value, ratio, wanted, holds)] of what could be judged."""
    all_figures, rows = figures(data), []
    for work, what, way, bound, named, etcp in WANTED:
        by = all_figures.get(work, {})
        rivals = {
            name: its[what].median
            for name, its in by.items()
            if what in its and (name == named if named else name in data["best_of"])
        }
        rivals = {name: value for name, value in rivals.items() if value > 0}  # 0: too short a run to say
        if etcp not in by or not rivals:
            continue
        best = (max if way == ">=" else min)(rivals, key=rivals.get)
        mine = by[etcp][what].median
        ratio = mine / rivals[best]
        unit = TITLES[work][1] if what == "rate" else "s/GiB" if TITLES[work][3] else "µs each"
        holds = ratio >= bound if way == ">=" else ratio <= bound
        title = TITLES[work][0] + (" (busy_poll)" if "busy_poll" in etcp else "")
        rows.append(
            (
                title,
                unit,
                number(mine),
                best,
                number(rivals[best]),
                f"{ratio:.2f} ×",
                f"{'≥' if way == '>=' else '≤'} {bound} ×",
                holds,
            )
        )
    if "etcp" in data["results"].get("idle", {}):
        for end, kib in idle_kib(data, "etcp").items():
            rivals = {name: idle_kib(data, name)[end] for name in data["results"]["idle"] if name in data["best_of"]}
            best = min(rivals, key=rivals.get) if rivals else ""
            rows.append(
                (
                    f"{TITLES['idle'][0]}, {end} end",
                    "KiB each",
                    number(kib),
                    best,
                    number(rivals[best]) if rivals else "",
                    f"{kib / rivals[best]:.2f} ×" if rivals else "",
                    f"≤ {IDLE_KIB:.0f} KiB",
                    kib <= IDLE_KIB,
                )
            )
    return rows


def disturbance(data):
    """The share of the machine that others took in the middle of the runs, and in the worst; None: not known."""
    shares = [
        run["others"]
        for work in data["results"].values()
        for runs in work.values()
        for run in runs
        if run.get("others") is not None
    ]
    return (statistics.median(shares), max(shares)) if shares else None


def about(data):
    """Lines on the machine and the run."""
    m = data["machine"]
    lines = [
        f"{m['processors']} processors ({m['processor']}; {' '.join(m['extensions']) or 'no AES instructions'}), "
        f"{m['memory_gib']} GiB, "
        f"Linux {m['kernel']}, {m['system']}",
        f"{m['etcp']}",
        "; ".join(
            dict.fromkeys(
                f"{name.split()[-1 if 'plain' in name else 0]} {version}" for name, version in data["versions"].items()
            )
        ),
        f"{data['rounds']} rounds ({ROUNDS_TIMES['echo1'] * data['rounds']} of echo on 1 connection, "
        f"{ROUNDS_TIMES['first'] * data['rounds']} of first connection) of {data['seconds']:g} s "
        f"after {data['warm_up']:g} s, tunnels interleaved; "
        f"{'network namespace of its own' if m['own_network'] else 'loopback of the system'}, "
        f"congestion control {m['congestion_control']}; "
        + (f"{m['tcp_memory_gib']:g} GiB at most in TCP sockets; " if m.get("tcp_memory_gib") else "")
        + f"{data['took_s'] // 60} min {data['took_s'] % 60} s in all, {data['date']}",
    ]
    others = disturbance(data)
    if others:
        lines.append(
            f"others on the machine took {others[0]:.0%} of it in the middle run and {others[1]:.0%} in the worst"
            + ("; that is too much to trust any rate" if others[0] > 0.1 else "")
        )
    return lines


def holds_text(holds):
    return "yes" if holds else "**no**"


def rows_of(data, work):
    """Head and rows of the table of a work, the fastest first."""
    _, unit, _, per_gib = TITLES[work]
    by = figures(data)[work]
    best = max((its["rate"].median for name, its in by.items() if name in data["best_of"]), default=None)
    time_unit = "s/GiB" if per_gib else "µs each"
    head = [
        "tunnel",
        unit,
        "least – most",
        "of best peer",
        f"processor {time_unit}",
        "least – most",
        "client user + system",
        "server user + system",
    ] + (["p50 µs", "p99 µs"] if any("p50" in its for its in by.values()) else [])
    rows = []
    for name, its in sorted(by.items(), key=lambda item: -item[1]["rate"].median):
        row = [
            name,
            number(its["rate"].median),
            its["rate"].spread(),
            f"{its['rate'].median / best:.2f} ×" if best else "",
        ]
        if "cpu" in its:
            row += [number(its["cpu"].median), its["cpu"].spread()]
            row += [
                f"{number(its[end + ' user'].median)} + {number(its[end + ' system'].median)}"
                for end in ("client", "server")
            ]
        else:
            row += ["", "", "", ""]
        if "p50" in its:
            row += [number(its["p50"].median), number(its["p99"].median)]
        rows.append(row)
    return head, rows


def idle_rows(data):
    head = [
        "tunnel",
        "connections",
        "client end KiB each",
        "server end KiB each",
        "client end, private dirty",
        "server end, private dirty",
    ]
    rows = []
    for name, runs in sorted(data["results"]["idle"].items(), key=lambda item: sum(idle_kib(data, item[0]).values())):
        pss, private = idle_kib(data, name), idle_kib(data, name, "Private_Dirty")
        rows.append(
            [name, f"{runs[0]['connections']:,}"]
            + [number(of[end]) for of in (pss, private) for end in ("client", "server")]
        )
    return head, rows


def not_measured(data):
    lines = [f"{name} took no part: {why}" for name, why in data["left_out"].items()]
    for work, failed in data["failures"].items():
        lines += [f"{TITLES[work][0]}: {name} failed: {why[:200]}" for name, why in failed.items()]
    return lines


VERDICT_HEAD = ["work", "in", "etcp", "best peer", "its figure", "ratio", "wanted", "holds"]


# ---- Text ------------------------------------------------------------------------------------------------------------


def columns(head, rows):
    rows = [head] + rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    )


def text(data):
    parts = ["\n".join(about(data))]
    for work in data["results"]:
        if data["results"][work]:
            parts.append(
                f"{TITLES[work][0]}\n" + columns(*(idle_rows(data) if work == "idle" else rows_of(data, work)))
            )
    rows = [[*row[:-1], "yes" if row[-1] else "NO"] for row in verdicts(data)]
    parts.append("It must show\n" + columns(VERDICT_HEAD, rows))
    parts += not_measured(data)
    return "\n\n".join(parts)


# ---- Markdown --------------------------------------------------------------------------------------------------------


def grid(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def markdown(data):
    parts = [
        "\n".join(f"- {line}" for line in about(data)),
        grid(VERDICT_HEAD, [[*row[:-1], holds_text(row[-1])] for row in verdicts(data)]),
    ]
    for work in data["results"]:
        if data["results"][work]:
            parts.append(
                f"### {TITLES[work][0]}\n\n" + grid(*(idle_rows(data) if work == "idle" else rows_of(data, work)))
            )
    if not_measured(data):
        parts.append("### Not measured\n\n" + "\n".join(f"- {line}" for line in not_measured(data)))
    return "\n\n".join(parts) + "\n"


# ---- CSV -------------------------------------------------------------------------------------------------------------


def csv(data):
    lines = [
        "work,tunnel,round,done,seconds,client_user_s,client_system_s,server_user_s,server_system_s,"
        "p50_us,p99_us,others"
    ]
    for work, by in data["results"].items():
        for tunnel, runs in by.items():
            for i, run in enumerate(runs if work != "idle" else [], 1):
                cpu = [
                    f"{run['cpu'][end][kind]:.6f}" if run["cpu"] else ""
                    for end in ("client", "server")
                    for kind in ("user", "system")
                ]
                others = run.get("others")
                lines.append(
                    ",".join(
                        [
                            work,
                            tunnel,
                            str(i),
                            str(run["done"]),
                            f"{run['seconds']:.6f}",
                            *cpu,
                            str(run.get("p50_us", "")),
                            str(run.get("p99_us", "")),
                            "" if others is None else f"{others:.3f}",
                        ]
                    )
                )
    lines += [
        "",
        "work,tunnel,connections,client_pss_bytes,server_pss_bytes,client_private_dirty_bytes,"
        "server_private_dirty_bytes",
    ]
    for tunnel, runs in data["results"].get("idle", {}).items():
        of = runs[0]["bytes"]
        lines.append(
            ",".join(
                ["idle", tunnel, str(runs[0]["connections"])]
                + [f"{of[end][field]:.0f}" for field in ("Pss", "Private_Dirty") for end in ("client", "server")]
            )
        )
    return "\n".join(lines) + "\n"


# ---- Plot ------------------------------------------------------------------------------------------------------------

PANEL, NAME, BAR, STEP, TOP = 470, 105, 13, 18, 48
OURS, PEER, BASE = "#1d4ed8", "#94a3b8", "#d6dce5"


def panel(x, y, title, unit, bars, data):
    """Bars of (name, median, low, high); a far longer one is cut, if it is not etcp's. Returns its SVG and height."""
    room = PANEL - NAME - 75
    middle = statistics.median(bar[1] for bar in bars)
    top = max([bar[1] for bar in bars if bar[1] <= 3 * middle or bar[0].startswith("etcp")] or [middle]) or 1
    out = [
        f'<text x="{x}" y="{y + 16}" class="title">{escape(title)}</text>',
        f'<text x="{x}" y="{y + 32}" class="unit">{escape(unit)}</text>',
    ]
    for i, (name, value, low, high) in enumerate(bars):
        at = y + TOP + i * STEP
        width = min(value / top, 1.0) * room
        colour = OURS if name.startswith("etcp") else PEER if name in data["best_of"] else BASE
        out.append(f'<text x="{x + NAME - 6}" y="{at + BAR - 3}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<rect x="{x + NAME}" y="{at}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
        end = width
        if value > top:
            out.append(f'<path d="M{x + NAME + room - 14:.1f} {at + BAR} l6 -{BAR} h4 l-6 {BAR} z" fill="#ffffff"/>')
        elif high > low:
            a, b = x + NAME + low / top * room, x + NAME + min(high / top, 1.04) * room
            end = max(width, b - x - NAME)
            out.append(
                f'<path d="M{a:.1f} {at + BAR / 2} H{b:.1f} M{a:.1f} {at + 4} v{BAR - 8} M{b:.1f} {at + 4} v{BAR - 8}" '
                'class="spread"/>'
            )
        out.append(f'<text x="{x + NAME + end + 5:.1f}" y="{at + BAR - 3}">{number(value)}</text>')
    return "\n".join(out), TOP + len(bars) * STEP + 22


def svg(data):
    parts, y = [], 34
    all_figures = figures(data)
    for work in data["results"]:
        title, unit, _, per_gib = TITLES[work]
        if not data["results"][work]:
            continue
        if work == "idle":
            pair = []
            for end in ("client", "server"):
                bars = sorted(
                    ((name, value := idle_kib(data, name)[end], value, value) for name in data["results"]["idle"]),
                    key=lambda bar: bar[1],
                )
                pair.append((f"{title}: {end} end", "KiB in user space for each; less is better", bars))
        else:
            by = all_figures[work]
            pair = [
                (
                    title,
                    f"{unit}; more is better",
                    sorted(
                        ((n, f["rate"].median, f["rate"].low, f["rate"].high) for n, f in by.items()),
                        key=lambda bar: -bar[1],
                    ),
                ),
                (
                    "Processor time of both ends",
                    f"{'seconds per GiB' if per_gib else 'µs for each'}; less is better",
                    sorted(
                        ((n, f["cpu"].median, f["cpu"].low, f["cpu"].high) for n, f in by.items() if "cpu" in f),
                        key=lambda bar: bar[1],
                    ),
                ),
            ]
        heights = []
        for column, (head, what, bars) in enumerate(pair):
            if bars:
                drawn, height = panel(20 + column * (PANEL + 20), y, head, what, bars, data)
                parts.append(drawn)
                heights.append(height)
        y += max(heights, default=0)
    width = 2 * PANEL + 60
    style = (
        "text { font: 11px sans-serif; fill: #1f2937 } .title { font-weight: bold; font-size: 13px } "
        ".unit { fill: #6b7280 } "
        ".spread { stroke: #111827; stroke-width: 1; fill: none }"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" role="img">\n'
        "<title>etcp beside other tunnels</title>\n"
        f"<style>{style}</style>\n<rect width=\"{width}\" height=\"{y}\" fill=\"#ffffff\"/>\n"
        f'<text x="20" y="22" class="title">etcp beside other tunnels: medians, and a line from least to most</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def write_docs(folder, data):
    page = folder / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{markdown(data)}{END}{after}")
    (folder / "performance.svg").write_text(svg(data))
    (folder / "performance.csv").write_text(csv(data))
