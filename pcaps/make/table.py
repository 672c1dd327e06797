#!/usr/bin/python3
"""Prints the table of captures for pcaps/README.md from the TOML files."""
import glob, os, tomllib

top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
print("| capture | made with | to be found |\n| --- | --- | --- |")
for f in (
    sorted(glob.glob(top + "/*.toml"))
    + sorted(glob.glob(top + "/malicious/*.toml"))
    + sorted(glob.glob(top + "/benign/*.toml"))
):
    t = tomllib.load(open(f, "rb"))
    fs = t.get("finding", [])
    what = "; ".join(
        f"`{x['detector']}` {'from' if x['direction'] == 'inbound' else 'to'} {x['peer']}{' port ' + str(x['port']) if 'port' in x else ''}"
        for x in fs[:1]
    ) + (f" and {len(fs) - 1} more" if len(fs) > 1 else "")
    print(
        f"| `{os.path.relpath(f[:-5], top)}` | {t['tool']} | {what or 'nothing'}{' (hard)' if t['hard'] else ''} |"
    )
