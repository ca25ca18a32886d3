"""The optional parts of whet, as the installed package itself lists them, and what each one lacks."""

from __future__ import annotations

from importlib import metadata

from whet.doctor.finding import Finding


def findings() -> list[Finding]:
    """One row per extra."""
    return [_extra(name) for name in sorted(metadata.metadata("whet").get_all("Provides-Extra") or [])]


def lacks(extra: str) -> list[str]:
    """The requirements of an extra that are missing, or there in another version."""
    from packaging.requirements import Requirement

    lacking = []
    for requirement in map(Requirement, metadata.requires("whet") or []):
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra}):
            continue
        version = _version(requirement.name)
        if version is None:
            lacking.append(requirement.name)
        elif not requirement.specifier.contains(version, prereleases=True):
            lacking.append(f"{requirement.name}{requirement.specifier} (there is {version})")
    return lacking


def _extra(name: str) -> Finding:
    lacking = lacks(name)
    # Nobody needs every extra: one that is not there is said, and is no warning. One in the wrong version is.
    is_old = any("(" in text for text in lacking)
    return Finding(
        what=f"extra {name}",
        status="WARN" if is_old else "OK",
        found=f"lacks {', '.join(lacking)}" if lacking else "installed",
        next_step=f"to use it, in whet's folder: pip install '.[{name}]'" if lacking else "",
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
