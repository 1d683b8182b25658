// Starts the page's code, or shows why it cannot run.
const boot = document.getElementById("boot");
// (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)
const simd = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]);

document.querySelector(".skip").addEventListener("click", (event) => {
  // The part after the # is the route, so the browser cannot follow the link itself.
  event.preventDefault();
  document.getElementById("main").focus();
});

if (!globalThis.WebAssembly || !WebAssembly.validate(simd)) {
  boot.className = "problem";
  boot.textContent = "This browser has no WebAssembly SIMD: open the page in Chrome or Edge 91, Firefox 89, Safari 16.4, or later.";
} else {
  try {
    const page = await import("./page.js");
    await page.default();
  } catch (error) {
    boot.className = "problem";
    boot.textContent = `The page could not be loaded (${error.message}): check the connection and reload it.`;
  }
}

if ("serviceWorker" in navigator) {
  // If this fails, the page only loses its offline mode.
  navigator.serviceWorker.register("sw.js").catch(() => {});
}
