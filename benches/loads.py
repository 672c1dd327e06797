#!/usr/bin/env python3
"""Measures `vethwatch replay` against libpcap's bare reader, side by side, and prints the table of
docs/performance.md.

    cargo build --release && benches/loads.py DIRECTORY [--runs 7] [--only mix,dns]

DIRECTORY holds the loads: mix.pcap, flows.pcap, dns.pcap, tls.pcap (any that is absent is left out).
Each round runs the reference, then vethwatch with findings only, the reference again, then vethwatch
with every record as EVE to a file; the ratio is taken against the mean of the reference runs around
it. The table gives the median of the ratios, and the peak resident memory of the worst run.
Wall-clock time, one thread, the file in the page cache. Needs a C compiler and libpcap for the
reference; standard library only.
"""
import argparse, os, pathlib, shutil, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
TARGETS = {"mix": (1.5, 2.5), "flows": (8, 16), "dns": (7, 20), "tls": (6, 10)}


def reference(folder: str) -> str:
    """Builds the bare reader."""
    binary = os.path.join(folder, "reference")
    compiler = shutil.which("cc") or shutil.which("gcc") or sys.exit("no C compiler for the reference")
    subprocess.run([compiler, "-O2", "-o", binary, HERE / "reference.c", "-lpcap"], check=True)
    return binary


def run(command: list) -> tuple:
    """Seconds, peak resident memory in MiB, and standard output's length of one run."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - start
    if status != 0:
        sys.exit(f"failed with status {status}: {' '.join(map(str, command))}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("directory", type=pathlib.Path)
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--only", default=",".join(TARGETS))
    options.add_argument("--binary", default=HERE.parent / "target/release/vethwatch")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare, eve = reference(folder), os.path.join(folder, "eve.json")
        print("| load | findings only | at most | every record | at most | peak MiB | reference s |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for load in options.only.split(","):
            capture = options.directory / f"{load}.pcap"
            if not capture.exists():
                print(f"| {load} | not measured: {capture} is absent | | | | | |")
                continue
            ours = [options.binary, "replay", "--no-progress", "--format", "eve"]
            modes = {
                "alert": [*ours, "--events", "alert", capture],
                "all": [*ours, "--output", eve, capture],
            }
            ratios, peak, floor = {mode: [] for mode in modes}, 0.0, []
            run([bare, capture])  # brings the file into the page cache
            for _ in range(options.runs):
                before, _ = run([bare, capture])
                for mode, command in modes.items():
                    pathlib.Path(eve).unlink(missing_ok=True)  # freeing the last one's pages is not ours
                    seconds, resident = run(command)
                    after, _ = run([bare, capture])
                    ratios[mode].append(seconds / ((before + after) / 2))
                    peak, before = max(peak, resident), after
                    floor.append(after)
            alert, every = (statistics.median(ratios[mode]) for mode in modes)
            most = TARGETS[load]
            print(f"| {load} | {alert:.2f} | {most[0]} | {every:.2f} | {most[1]} | {peak:.0f} | {statistics.median(floor):.2f} |", flush=True)


if __name__ == "__main__":
    main()
