"""The page finds cameras of the server's network, here an ONVIF device of our own, and fills in the suitable stream."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.support.onvif_device import OnvifServer, Stream, onvif_device
from tests.support.page_driver import opened

pytestmark = pytest.mark.slow

STREAMS = (Stream("main", 2560, 1440), Stream("sub", 640, 360))


def test_the_suitable_stream_of_a_found_camera_is_chosen_and_used(browser: Browser, url: str) -> None:
    with onvif_device(OnvifServer(STREAMS)) as device, opened(browser, f"{url}/#sessions", size="phone") as page:
        page.get_by_text("Find cameras").first.click()
        page.get_by_label("User name of the cameras").fill("admin")
        page.get_by_label("Password of the cameras").fill(device.password)
        page.get_by_label("Addresses, if").fill(f"127.0.0.1:{device.probe_port}")
        page.get_by_role("button", name="Find cameras").click()
        expect(page.locator("#cameras-status")).to_have_text("1 camera was found.")
        chosen = page.get_by_role("combobox", name="Stream of Hall & Door").locator("option:checked")
        expect(chosen).to_have_text("sub: 640 × 360, 25 frames per second, H264 (suits the model)")
        page.get_by_role("button", name="Use Hall & Door").click()
        expect(page.get_by_label("URL of a video")).to_have_value(
            "rtsp://admin:p%40ss%2Fword@127.0.0.1:8554/sub?unicast=true&proto=Onvif"
        )
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
