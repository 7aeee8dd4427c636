"""Prints a pip-audit report; exits with code 1 if a package has a known vulnerability.

python scripts/read_audit.py REPORT.json
"""

import json
import sys
from pathlib import Path


def main(report: Path) -> int:
    """Prints the vulnerabilities of a JSON report; returns the exit code."""
    packages = json.loads(report.read_text())["dependencies"]
    known = [package for package in packages if "vulns" in package]
    bad = [(package, found) for package in known for found in package["vulns"]]
    for package, found in bad:
        fixed = ", ".join(found["fix_versions"]) or "none yet"
        print(f"audit: {package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    print(f"audit: {len(bad)} known vulnerabilities in {len(known)} packages; "
          f"{len(packages) - len(known)} could not be looked up")  # fmt: skip
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
