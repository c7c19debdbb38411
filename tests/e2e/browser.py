"""A headless Chromium for the tests of pages; skipped where none is installed, with what to install."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

axe_core = pytest.importorskip("axe_core_python", reason="scripts/setup --dev installs it")
selenium = pytest.importorskip("selenium", reason="scripts/setup --dev installs it")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402

AXE = Path(axe_core.__file__).with_name("axe.min.js")
FLAGS = (  # quiet: no calls to anywhere but the page's own server
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = (1280, 900), (390, 844)


@contextmanager
def browser(size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> Iterator[Any]:
    """Yield a driver with an empty profile."""
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        pytest.skip("no chromium or chromedriver: scripts/test installs them (apt-get install chromium-driver)")
    with tempfile.TemporaryDirectory(prefix="faceservice-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(programs[0])
        for flag in (*FLAGS, f"--window-size={size[0]},{size[1]}", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(str(programs[1])))
        try:
            theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
            metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            yield driver
        finally:
            driver.quit()


def serious_faults(driver: Any) -> list[str]:
    """Return what axe-core finds on the page that is serious or critical."""
    driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
    found = driver.execute_async_script(
        "const done = arguments[0]; axe.run(document).then(r => done(JSON.stringify(r.violations)))"
    )
    return [
        f"{v['id']}: {v['help']} ({v['nodes'][0]['html'][:120]})"
        for v in json.loads(found)
        if v["impact"] in ("serious", "critical")
    ]


def console_errors(driver: Any) -> list[str]:
    """Return what the page wrote to the console as an error since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
