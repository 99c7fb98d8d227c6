# SPDX-License-Identifier: MIT
"""A real Chromium without a screen, and what it thought of the page."""

import contextlib
import json
import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from service import wait_for

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--force-device-scale-factor=1",
    "--no-proxy-server", "--disable-extensions",
)


class Browser:
    """One window; close() it."""

    def __init__(self, url, size=(1440, 1000), language="en-US"):
        self.url = url
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*FLAGS, f"--user-data-dir={self._profile.name}", f"--lang={language}",
                     f"--window-size={size[0]},{size[1]}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.requested = []  # every URL, whatever asked for it
        self.complaints = []  # console errors, CSP violations, exceptions

    def open(self):
        self.driver.get(self.url)
        return self

    def close(self):
        self.driver.quit()
        self._profile.cleanup()

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def attribute(self, selector, name):
        return self.run("return document.querySelector(arguments[0])?.getAttribute(arguments[1])",
                        selector, name)

    def style(self, selector, name):
        return self.run("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
                        selector, name)

    def choose(self, selector, value):
        self.run("const s = document.querySelector(arguments[0]); s.value = arguments[1];"
                 "s.dispatchEvent(new Event('change'))", selector, value)

    def click(self, selector):
        self.one(selector).click()

    def wait(self, condition, timeout=10, what=None):
        return wait_for(condition, timeout, what)

    def draws(self):
        return int(self.attribute("body", "data-draws") or 0)

    def wait_drawn(self, n=2):
        """n further polls have been drawn."""
        wanted = self.draws() + n
        self.wait(lambda: self.draws() >= wanted, 15 + 2 * n, "polls drawn")

    def collect(self):
        """Reads the logs so far into `requested` and `complaints`."""
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                self.requested.append(event["params"]["request"]["url"])
        self.complaints += [entry["message"] for entry in self.driver.get_log("browser")
                            if entry["level"] in ("SEVERE", "WARNING")]
        return self

    def save(self, path):
        self.driver.save_screenshot(str(path))


@contextlib.contextmanager
def browsing(url, **options):
    browser = Browser(url, **options)
    try:
        yield browser.open()
    finally:
        browser.close()
