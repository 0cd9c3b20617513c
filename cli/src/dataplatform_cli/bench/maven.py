"""Java programs from Maven Central, for what is measured or tested beside the platform."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from dataplatform_cli.display import err
from dataplatform_cli.errors import PlatformError

_POM = """
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>peers</groupId><artifactId>peers</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>{dependencies}</dependencies>
</project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


class NoPeerError(PlatformError):
    """A program to compare or to test with can't be had here."""


def class_path(name: str, *coordinates: str) -> str:
    """Return the class path of a program, fetched by Maven where it isn't there yet.

    Args:
        name: what the program is called in messages.
        coordinates: `group:artifact:version` of the program, and of what it needs besides.

    Raises:
        NoPeerError: Java or Maven is missing, or it can't be fetched.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise NoPeerError(f"{program} is not on PATH, so there is no {name} here")
    dependencies = "".join(_DEPENDENCY.format(*each.split(":")) for each in coordinates)
    with tempfile.TemporaryDirectory(prefix="dp-maven-") as made:
        folder = Path(made)
        (folder / "pom.xml").write_text(_POM.format(dependencies=dependencies))
        err.print(f"[dim]fetching {name} by Maven: {', '.join(coordinates)}[/]")
        options = ["-q", "-B", "-Dstyle.color=never", "-Dmdep.outputFile=class-path"]
        command = ["mvn", *options, "dependency:build-classpath"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
        if done.returncode:
            reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), "no reason given")
            reason = reason.partition("[ERROR] ")[2].partition(" -> ")[0]
            raise NoPeerError(f"Maven can't fetch {name}: {reason}")
        return (folder / "class-path").read_text().strip()
