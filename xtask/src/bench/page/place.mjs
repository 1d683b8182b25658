// Pages at an address that no server has: files answer for it. Browsers give WebGPU to pages only at an address that they
// trust.

import { launch } from "../../../../tests/browser/browser.mjs";

const ADDRESS = "http://localhost/";

/**
 * Opens a page in a browser of its own, with WebGPU if that is the device. `file(path)` is what lies at a path, as
 * playwright's `fulfill` takes it; `place(address)` is where in it to go.
 */
export async function open(device, file, place = (address) => address) {
  const browser = await launch({ webgpu: device === "webgpu" });
  const page = await browser.newPage();
  await page.route(`${ADDRESS}**`, (route) => route.fulfill(file(new URL(route.request().url()).pathname.slice(1))));
  await page.goto(place(ADDRESS));
  return page;
}
