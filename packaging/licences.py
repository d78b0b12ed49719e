#!/usr/bin/env python3
"""Writes data/licences.json.gz: what the binary is made of, with the licence texts that have to go along with it.

Rust packages come from `cargo metadata` (normal dependencies of every target that is shipped), those of the UI from what the bundle
imports. Texts are the files that the packages bring; equal ones are kept once. Run it when Cargo.lock or web/package-lock.json change;
a test says when. Needs the sources of all packages: `cargo fetch` and `npm ci`.
"""

import gzip
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "data/licences.json.gz"
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-musl"]
# What the bundle of the UI holds; everything else of package-lock.json is a tool.
WEB = ["svelte", "uplot", "lean-qr", "lucide-static", "clsx", "esm-env"]
FILES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.I)

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files \
(the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, \
publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, \
subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF \
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR \
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH \
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def linked() -> dict[str, dict]:
    """Packages whose code is in a binary, by id: proc macros and build scripts run elsewhere."""
    found: dict[str, dict] = {}
    for target in TARGETS:
        data = json.loads(run("cargo", "metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", target))
        packages = {package["id"]: package for package in data["packages"]}
        nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
        root = data["resolve"]["root"]
        todo, seen = [root], {root}
        while todo:
            for dep in nodes[todo.pop()]["deps"]:
                normal = any(kind["kind"] is None for kind in dep["dep_kinds"])
                macro = any("proc-macro" in t["kind"] for t in packages[dep["pkg"]]["targets"])
                if normal and not macro and dep["pkg"] not in seen:
                    seen.add(dep["pkg"])
                    todo.append(dep["pkg"])
                    found[dep["pkg"]] = packages[dep["pkg"]]
    return found


def locked() -> list[tuple[str, str]]:
    text = (ROOT / "Cargo.lock").read_text()
    pairs = re.findall(r'\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"', text)
    return [pair for pair in pairs if pair[0] != "lucid-node-management"]


def normal(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").strip().split("\n"))


def texts_of(folder: pathlib.Path, licence: str, authors: list[str]) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file() and FILES.match(path.name) and path.suffix != ".rs")
    # Of a choice, the licence that asks for its own text alone.
    mit = [path for path in files if re.search(r"mit", path.name, re.I)]
    if re.search(r"\bMIT\b", licence) and " AND " not in licence and len(mit) == 1:
        files = mit
    if files:
        return "\n\n".join(normal(path.read_text(errors="replace")) for path in files)
    if re.search(r"\bMIT\b", licence):
        holder = ", ".join(re.sub(r"\s*<[^>]*>", "", author) for author in authors) or "the authors"
        return f"The MIT License\n\nCopyright (c) {holder}\n\n{MIT}"
    return ""


def main() -> int:
    packages: list[tuple[str, str, str, str]] = []
    own = linked()
    for package in own.values():
        licence = (package["license"] or "").replace("/", " OR ")
        folder = pathlib.Path(package["manifest_path"]).parent
        packages.append((package["name"], package["version"], licence, texts_of(folder, licence, package["authors"])))
    lock = json.loads((ROOT / "web/package-lock.json").read_text())["packages"]
    for name in WEB:
        entry = lock[f"node_modules/{name}"]
        packages.append((f"npm:{name}", entry["version"], entry["license"], texts_of(ROOT / "web/node_modules" / name, entry["license"], [])))
    rust = f"The MIT License\n\nCopyright (c) The Rust Project Contributors\n\n{MIT}"
    packages.append(("Rust standard library", run("rustc", "--version").split()[1], "MIT OR Apache-2.0", rust))
    musl = f"The MIT License\n\nCopyright (c) 2005-2020 Rich Felker, et al.\n\n{MIT}"
    packages.append(("musl libc (ARM64 binary)", "as linked", "MIT", musl))

    # A package without a text of its own takes the one that others bring for the same licence.
    apache = next(text for _, _, licence, text in packages if licence == "Apache-2.0" and "Apache License" in text)
    packages = [(n, v, l, t or (apache if "Apache-2.0" in l else "")) for n, v, l, t in packages]
    missing = [f"{name} {version} ({licence})" for name, version, licence, text in packages if not text or not licence]
    if missing:
        print("no licence text for: " + ", ".join(missing), file=sys.stderr)
        return 1

    ids: dict[str, int] = {}
    listed = []
    for name, version, licence, text in sorted(packages, key=lambda p: (p[0].lower(), p[1])):
        text_id = ids.setdefault(text, len(ids))
        listed.append({"name": name, "version": version, "licence": licence, "text_id": text_id})
    inside = {(package["name"], package["version"]) for package in own.values()}
    elsewhere = [f"{name} {version}" for name, version in locked() if (name, version) not in inside]
    answer = {"packages": listed, "texts": list(ids), "not_in_binary": sorted(elsewhere)}
    body = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
    OUT.write_bytes(gzip.compress(body, 9, mtime=0))
    print(f"{len(listed)} packages, {len(ids)} texts, {len(body)} bytes, {OUT.stat().st_size} compressed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
