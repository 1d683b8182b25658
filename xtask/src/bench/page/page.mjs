// Opens pages in Chromium without a server: their requests are answered from files. The address is localhost, because
// browsers offer WebGPU only in secure contexts.

import { launch } from "../../../../tests/browser/browser.mjs";

const ADDRESS = "http://localhost/";

/**
 * Opens a page in a new browser, which has WebGPU if that is the device. `file(path)` returns the response for a path,
 * as Playwright's `fulfill` takes it; `link(address)` returns the address to open.
 */
export async function open(device, file, link = (address) => address) {
  const browser = await launch({ webgpu: device === "webgpu" });
  const page = await browser.newPage();
  await page.route(`${ADDRESS}**`, (route) => route.fulfill(file(new URL(route.request().url()).pathname.slice(1))));
  await page.goto(link(ADDRESS));
  return page;
}
