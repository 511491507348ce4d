"""A software bill of materials (CycloneDX 1.6) from lock files, without a network.

python resources/sbom.py LOCKFILE... > sbom.json
"""

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> list[dict]:
    """Return the packages of a lock file, each with the hashes of its files."""
    found: list[dict] = []
    for line in lock.splitlines():
        if package := PACKAGE.match(line):
            name, version = package.groups()
            purl = f"pkg:pypi/{name}@{version}"
            facts = {"type": "library", "name": name, "version": version, "purl": purl}
            found.append({**facts, "bom-ref": purl, "hashes": []})
        for digest in HASH.findall(line):
            found[-1]["hashes"].append({"alg": "SHA-256", "content": digest})
    return found


def bill(locks: list[str]) -> dict:
    """Return the bill of the packages of lock files, each package once."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = re.search(r'"(.+)"', (ROOT / "holohisto" / "__init__.py").read_text().split("=")[1])
    assert version is not None
    subject: dict = {"type": "application", "name": project["name"], "version": version[1]}
    subject |= {"licenses": [{"license": {"id": project["license"]}}]}
    packages = {one["purl"]: one for lock in locks for one in components(lock)}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {**subject, "licenses": [{"license": {"id": project["license"]}}]}
        },
        "components": [packages[purl] for purl in sorted(packages)],
    }


if __name__ == "__main__":
    made = bill([Path(name).read_text() for name in sys.argv[1:]])
    sys.stdout.write(json.dumps(made, indent=1) + "\n")
