"""Checkpoints that exist completely or not at all, are checked before use, and never run code when loaded.

    training_state/step_000010/                  after step 10
    training_state/step_000011_update_000003/    inside step 11, after its third update
    training_state/step_final, step_latest       relative links; step_latest is a hint that nothing relies on

A checkpoint is written under a temporary name, synced file by file, sealed by `manifest.json` and renamed.
The manifest holds the size and SHA-256 of every file, and its own digest: safetensors alone loads a flipped
bit without complaint. Discovery trusts no name: it verifies from the newest to the oldest.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.errors import RunError
from whet.runs.files import decode_json, encode_json, read_bytes, sha256, sync, write_json

FORMAT = 1
MANIFEST = "manifest.json"
_NAME = re.compile(r"step_(\d{6,})(?:_update_(\d{6,}))?")
_TEMPORARY = ".tmp-"
_SET_ASIDE = ".old"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BROKEN = {errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint says of itself."""

    step: int
    update: int
    """0 after a whole step; k means that k updates of the step are done."""
    about: Mapping[str, Any]
    """What the trainer wanted to be known: hash of the config, versions."""
    files: Mapping[str, Mapping[str, Any]]
    """Size and SHA-256 by path within the checkpoint."""


def name(step: int, update: int = 0) -> str:
    """The directory name of a checkpoint."""
    return f"step_{step:06d}" + (f"_update_{update:06d}" if update else "")


def save(
    root: Path,
    step: int,
    write: Callable[[Path], None],
    update: int = 0,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the checkpoint of a step, and returns its directory.

    `write` fills the directory it is given. An existing checkpoint of the same step is replaced; at every
    moment one of the two is there. Whatever fails, the checkpoints before it are untouched. Raises `RunError`
    when the disk is full or broken. `about` must be equal in equal runs: no time and no path.
    """
    final = root / name(step, update)
    temporary = root / f"{_TEMPORARY}{final.name}-{os.getpid()}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        _seal(temporary, Manifest(step=step, update=update, about=about or {}, files=_describe(temporary)))
        _publish(temporary, final)
    except BaseException as error:
        written = _size(temporary)
        shutil.rmtree(temporary, ignore_errors=True)
        if code := _disk_error(error):
            raise RunError(_cannot_save(final, code, written)) from error
        raise
    _tidy(root, final)
    return final


def manifest(path: Path) -> Manifest:
    """The manifest of a checkpoint, checked against its own digest and the name of its directory."""
    if not path.is_dir():
        raise RunError(f"there is no checkpoint {path}")
    file = path / MANIFEST
    raw = read_bytes(file)
    content = decode_json(raw, file)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunError(f"{file} is damaged, or of another version of whet: expected format {FORMAT}")
    digest = content.pop("digest", None)
    sealed = {**content, "digest": _digest(content)}
    if digest != sealed["digest"] or raw != encode_json(sealed):
        raise RunError(f"{file} is damaged: its digest does not fit its content")
    found = Manifest(**{key: content[key] for key in ("step", "update", "about", "files")})
    expected = path.resolve().name.removesuffix(_SET_ASIDE)
    if name(found.step, found.update) != expected:
        raise RunError(f"{file} belongs to {name(found.step, found.update)}, not to {expected}")
    return found


def verify(path: Path) -> None:
    """Reads every byte of a checkpoint; raises `RunError` naming the first file that is not as it was."""
    listed = manifest(path).files
    there = _files(path)
    for file in sorted(set(there) - set(listed) - {MANIFEST}):
        raise RunError(f"{path / file} does not belong to the checkpoint: its manifest does not list it")
    for file, expected in sorted(listed.items()):
        if file not in there:
            raise RunError(f"{path / file} is missing")
        try:
            found = _describe_file(path / file)
        except OSError as error:
            raise RunError(f"{path / file} cannot be read: {error.strerror}") from error
        for fact in ("size_bytes", "sha256"):
            if found[fact] != expected[fact]:
                raise RunError(
                    f"{path / file} is damaged: expected {fact} {expected[fact]}, found {found[fact]}"
                )


def steps(root: Path) -> list[Path]:
    """The checkpoints of a run by their names, oldest first, not verified."""
    return list(_by_place(root).values())


def newest_good(root: Path) -> Path | None:
    """The newest checkpoint that verifies; each damaged one on the way is named in a warning."""
    for path in reversed(steps(root)):
        try:
            verify(path)
        except RunError as error:
            _log.warning("%s; falling back to the checkpoint before it", error)
        else:
            return path
    return None


def find(root: Path, spec: int | str, best: int | None = None) -> Path:
    """The verified checkpoint behind `latest`, `final`, `best`, a step number or a directory name.

    Only `latest` falls back to an older one. Everything else was asked for by name, and is refused with a
    `RunError` when it is missing or damaged.
    """
    if spec == "latest":
        if (newest := newest_good(root)) is None:
            raise RunError(f"{root} holds no checkpoint that can be used. {_choices(root)}")
        return newest
    wanted = _wanted(root, spec, best)
    path = next((p for p in steps(root) if p.name.removesuffix(_SET_ASIDE) == wanted), None)
    if path is None:
        raise RunError(f"{root.parent} has no checkpoint {spec!r}. {_choices(root)}")
    try:
        verify(path)
    except RunError as error:
        raise RunError(f"{error}. `latest` is the newest one that is whole. {_choices(root)}") from error
    return path


def mark_final(root: Path, path: Path) -> None:
    """Makes `step_final` a relative link to a checkpoint."""
    _link(root, "step_final", path)


def clean(root: Path) -> None:
    """Removes what a killed process left behind. Only whoever holds the run's lock may do this."""
    for left in sorted(root.glob(f"{_TEMPORARY}*")):
        _delete(left)
    for aside in sorted(root.glob(f"step_*{_SET_ASIDE}")):
        original = aside.with_name(aside.name.removesuffix(_SET_ASIDE))
        if original.exists():
            _remove(aside)
        else:
            aside.rename(original)


def prune(root: Path, keep: int, best: int | None = None) -> list[Path]:
    """Removes all but the newest `keep` checkpoints that verify, the best one and the final one.

    A damaged checkpoint counts as none, so a good one always stays. Returns what was removed.
    """
    protected = {_wanted(root, "final", best), name(best) if best is not None else None}
    good = 0
    removed = []
    for path in reversed(steps(root)):
        if good < max(keep, 1):
            good += _is_good(path)
        elif path.name not in protected:
            try:
                _remove(path)
            except OSError as error:  # no reason to stop a run
                _log.warning("%s could not be removed: %s", path, error)
            else:
                removed.append(path)
    return removed


def discard_after(root: Path, path: Path) -> list[Path]:
    """Removes the checkpoints newer than one of them, newest first: a run goes another way from there.

    Returns what was removed. `step_final` goes with the checkpoint it points to.
    """
    everything = steps(root)
    later = everything[[p.name for p in everything].index(path.name) + 1 :]
    for newer in reversed(later):
        _remove(newer)
    for link in (root / "step_final", root / "step_latest"):
        if link.is_symlink() and not link.exists():
            link.unlink()
    return later


def _seal(directory: Path, content: Manifest) -> None:
    """Brings files and directories to the disk, the manifest after all that it speaks of."""
    for file in content.files:
        sync(directory / file)
    plain = {"format": FORMAT, **dataclasses.asdict(content)}
    write_json(directory / MANIFEST, {**plain, "digest": _digest(plain)})
    sync(directory / MANIFEST)
    for inner in sorted((p for p in directory.rglob("*") if p.is_dir()), reverse=True):
        sync(inner)
    sync(directory)


def _publish(temporary: Path, final: Path) -> None:
    """Gives a sealed directory its name. An older one of that name steps aside, and is found until then."""
    aside = final.with_name(final.name + _SET_ASIDE)
    if final.exists():
        _remove(aside)
        final.rename(aside)
    temporary.rename(final)
    sync(final.parent)


def _remove(path: Path) -> None:
    """Deletes a checkpoint; a crash in between leaves no directory that looks like one."""
    if path.exists():
        doomed = path.with_name(f"{_TEMPORARY}{path.name}-{os.getpid()}")
        _delete(doomed)
        path.rename(doomed)
        sync(path.parent)
        _delete(doomed)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _tidy(root: Path, final: Path) -> None:
    """What may fail once the checkpoint is complete; some file systems have no links."""
    try:
        _remove(final.with_name(final.name + _SET_ASIDE))
        _link(root, "step_latest", final)
    except OSError as error:
        _log.warning("%s is saved, but tidying up after it failed: %s", final, error)


def _link(root: Path, link: str, target: Path) -> None:
    temporary = root / f"{_TEMPORARY}{link}-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.name)
    temporary.replace(root / link)
    sync(root)


def _by_place(root: Path) -> dict[tuple[int, int], Path]:
    """Checkpoints in order of time: a whole step s is at (s, 0); before it come (s - 1, 1), (s - 1, 2)..."""
    found = {}
    for path in sorted(root.glob("step_*"), reverse=True):  # "x.old" before "x", which then wins
        match = _NAME.fullmatch(path.name.removesuffix(_SET_ASIDE))
        if match and path.is_dir() and not path.is_symlink():
            step, update = int(match[1]), int(match[2] or 0)
            found[(step - 1, update) if update else (step, 0)] = path
    return dict(sorted(found.items()))


def _wanted(root: Path, spec: int | str, best: int | None) -> str:
    """The directory name that a spec stands for."""
    if spec == "final":
        link = root / "step_final"
        return link.readlink().name if link.is_symlink() else link.name
    if spec == "best":
        if best is None:
            raise RunError(f"{root.parent} has no best checkpoint: no evaluation chose one. {_choices(root)}")
        return name(best)
    if str(spec).isdecimal():
        return name(int(spec))
    if not _NAME.fullmatch(str(spec)):
        raise RunError(f"expected latest, final, best or a step, found {spec!r}. {_choices(root)}")
    return str(spec)


def _choices(root: Path) -> str:
    there = (path.name if update else str(step) for (step, update), path in _by_place(root).items())
    return f"Checkpoints there: {', '.join(there) or 'none'}"


def _files(directory: Path) -> list[str]:
    """Everything in a directory that is not a directory, by relative path."""
    inside = (p for p in directory.rglob("*") if p.is_symlink() or not p.is_dir())
    return sorted(p.relative_to(directory).as_posix() for p in inside)


def _describe(directory: Path) -> dict[str, dict[str, Any]]:
    return {file: _describe_file(directory / file) for file in _files(directory)}


def _describe_file(path: Path) -> dict[str, Any]:
    return {"size_bytes": path.stat().st_size, "sha256": sha256(path)}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(encode_json(content)).hexdigest()


def _is_good(path: Path) -> bool:
    try:
        verify(path)
    except RunError as error:
        _log.warning("%s", error)
        return False
    return True


def _size(directory: Path) -> int:
    try:
        return sum((directory / file).stat().st_size for file in _files(directory))
    except OSError:
        return 0


def _disk_error(error: BaseException) -> int:
    """The errno of a failed write, 0 for anything else.

    safetensors has its own exception, which names the number in its text only.
    """
    match = re.search(r"\(os error (\d+)\)", str(error))
    code = int(match[1]) if match else getattr(error, "errno", 0)
    return code if code in _FULL | _BROKEN else 0


def _cannot_save(final: Path, code: int, written: int) -> str:
    older = [path for path in steps(final.parent) if path != final]
    needed = max(written, _size(older[-1]) if older else 0)
    message = f"{final} could not be written: {os.strerror(code)}."
    if code in _FULL:
        free = shutil.disk_usage(final.parent).free
        message += (
            f" It needs about {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free: make room, then resume."
        )
    return f"{message} {_choices(final.parent)}"
